import { expect, test } from "vitest";

import type { BackendCapabilitiesView, ParameterView } from "../api/schema";
import { listChanged, planRequest } from "./capabilities";
import { parameter } from "./samples";

function backend(tasks: Record<string, Record<string, ParameterView>>): BackendCapabilitiesView {
  return {
    name: "lab",
    kind: "mock",
    title: "",
    tasks: Object.entries(tasks).map(([task, parameters]) => ({ task, parameters, without: {} })),
    controls: [],
    preprocessors: [],
    prompt_syntax: null,
    health: null,
  };
}

const painter = backend({
  "text-to-image": { prompt: parameter(), steps: parameter({ default: 8 }) },
  "image-to-image": { prompt: parameter(), image: parameter(), strength: parameter() },
});

test("values that the model lacks are kept back, and named", () => {
  const plan = planRequest(
    { prompt: "fog", steps: 4, cfg: 7, extra: { quality: "high" } },
    painter,
  );
  expect(plan.sent).toEqual({ prompt: "fog", steps: 4 });
  expect(plan.unused).toEqual(["cfg", "quality"]);
});

test("an engine's own value is sent in extra", () => {
  const own = backend({ "text-to-image": { quality: parameter() } });
  const plan = planRequest({ cfg: 7, extra: { quality: "high", tone: 1 } }, own);
  expect(plan.sent).toEqual({ extra: { quality: "high" } });
});

test("an input image that the model lacks does not change the task", () => {
  const plan = planRequest({ prompt: "fog", mask: "blob:1/m", references: ["blob:2/r"] }, painter);
  expect(plan.task).toBe("text-to-image");
  expect(plan.sent).toEqual({ prompt: "fog" });
  expect(plan.slots).toEqual([
    { name: "image", parameter: expect.anything(), isFilled: false },
    { name: "mask", parameter: null, isFilled: true },
    { name: "references", parameter: null, isFilled: true },
    { name: "controls", parameter: null, isFilled: false },
  ]);
});

test("what belongs to an input image waits for it, and is not called unused", () => {
  const request = { prompt: "fog", strength: 0.4 };
  expect(planRequest(request, painter)).toMatchObject({ sent: { prompt: "fog" }, unused: [] });
  const filled = planRequest({ ...request, image: "image:last" }, painter);
  expect(filled.task).toBe("image-to-image");
  expect(filled.sent).toEqual({ ...request, image: "image:last" });
});

test("a task that the backend cannot do is said to be impossible", () => {
  const plan = planRequest({ prompt: "fog", variation_strength: 0.5 }, painter);
  expect(plan).toMatchObject({ task: "variation", isPossible: false });
});

test("a style and an aspect are the server's matter", () => {
  const plan = planRequest({ style: "ink", aspect: "16:9" }, painter);
  expect(plan.sent).toEqual({ style: "ink", aspect: "16:9" });
});

test("changed values are those that differ from the model's defaults", () => {
  const { parameters } = planRequest({}, painter);
  expect(listChanged({ steps: 8 }, parameters, ["steps"])).toEqual([]);
  expect(listChanged({ steps: 9 }, parameters, ["steps", "prompt"])).toEqual(["steps"]);
});
