import { expect, test } from "vitest";

import type { BackendView } from "../api/schema";
import { GUIDES, listEngines, needsWelcome } from "./engines";

function backend(kind: string, more: Partial<BackendView> = {}): BackendView {
  return {
    name: kind,
    kind,
    ok: null,
    summary: "configured",
    remedies: [],
    ...more,
  } as BackendView;
}

const KINDS = { mock: "Paints.", comfyui: "Runs workflows.", own: "Of a package." };

test("each kind has a row, those that come with imagen first, and the demo none", () => {
  expect(
    listEngines([], KINDS).map(({ kind, name, state, about }) => [kind, name, state, about]),
  ).toEqual([
    ["comfyui", "ComfyUI", "absent", "Runs workflows."],
    ["own", "own", "absent", "Of a package."],
  ]);
});

test("of several backends the best one says how it is", () => {
  const broken = backend("comfyui", { ok: false, summary: "No answer.", remedies: ["Start it."] });
  const [row] = listEngines([broken], KINDS);
  expect(row).toMatchObject({ state: "broken", about: "No answer.", remedies: ["Start it."] });
  const [ready] = listEngines([broken, backend("comfyui", { ok: true })], KINDS);
  expect(ready).toMatchObject({ state: "ready", about: "Runs workflows.", remedies: [] });
});

test("what runs and is not configured is found, and else there is a reason", () => {
  const engine = { kind: "comfyui", place: "http://127.0.0.1:8188", backends: ["sdxl"] };
  const detection = {
    engines: [{ ...engine, configured: [] }],
    left_out: { own: [{ what: "own", why: "its key is not set.", remedy: "Set it." }] },
    silent: [],
  };
  const [comfyui, own] = listEngines([], KINDS, detection);
  expect(comfyui).toMatchObject({ state: "found", found: [{ backends: ["sdxl"] }] });
  expect(own).toMatchObject({ state: "absent", remedies: ["own: its key is not set. Set it."] });
  const known = { ...detection, engines: [{ ...engine, configured: ["sdxl"] }] };
  expect(listEngines([], KINDS, known)[0]).toMatchObject({ state: "added", found: [] });
});

test("every guide has a command that can be copied", () => {
  for (const { commands } of Object.values(GUIDES)) {
    expect(commands.some((one) => one.startsWith("imagen config init"))).toBe(true);
  }
});

test("the first run is for who has neither an engine nor an image", () => {
  const demo = backend("mock", { is_configured: false });
  expect(needsWelcome([demo], 0)).toBe(true);
  expect(needsWelcome([demo], 1)).toBe(false);
  expect(needsWelcome([backend("mock", { is_configured: true })], 0)).toBe(false);
  expect(needsWelcome([demo, backend("comfyui", { ok: false })], 0)).toBe(false);
});
