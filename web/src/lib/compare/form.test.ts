import { describe, expect, test } from "vitest";

import type {
  BackendCapabilitiesView,
  ComparisonEstimateView,
  ComparisonView,
} from "../api/schema";
import {
  buildBody,
  type CompareForm,
  defaultOf,
  EMPTY_FORM,
  formOf,
  listParameters,
  listTakenOver,
  partOf,
} from "./form";

function backend(parameters: Record<string, object>): BackendCapabilitiesView {
  const known = Object.entries(parameters).map(([name, own]) => [
    name,
    { type: "int", kind: "int", label: name, choices: null, default: null, ...own },
  ]);
  return {
    name: "x",
    tasks: [{ task: "text-to-image", parameters: Object.fromEntries(known), without: {} }],
  } as unknown as BackendCapabilitiesView;
}

const form: CompareForm = {
  ...EMPTY_FORM,
  prompt: "a fox",
  models: ["one", "two"],
  axes: [
    {
      name: "steps",
      chips: [
        { value: 4, isOut: false },
        { value: 8, isOut: true },
      ],
    },
    { name: "", chips: [] },
  ],
};

describe("the parameters of an axis", () => {
  test("are those of any backend, but no lists and files", () => {
    const found = listParameters(
      [
        backend({
          steps: { default: 20, max: 50 },
          width: {},
          height: {},
          image: { kind: "image" },
        }),
        backend({ loras: { kind: "lora-list" }, sampler: { type: "string", kind: "enum" } }),
      ],
      { lora: ["ink"] },
    );
    expect(found.map((one) => one.name)).toEqual([
      "steps",
      "size",
      "sampler",
      "lora",
      "lora_strength",
    ]);
    expect(found[3]?.suggestions).toEqual(["ink", "none"]);
    expect(defaultOf("steps", [backend({}), backend({ steps: { default: 20 } })])).toBe(20);
  });

  test("have the choices of all backends, and none if one takes anything", () => {
    const some = backend({ sampler: { type: "string", kind: "enum", choices: ["euler", "heun"] } });
    const more = backend({ sampler: { type: "string", kind: "enum", choices: ["euler", "lcm"] } });
    const any = backend({ sampler: { type: "string", kind: "string" } });
    expect(listParameters([some, more])[0]?.choices).toEqual(["euler", "heun", "lcm"]);
    expect(listParameters([some, any])[0]?.choices).toEqual([]);
  });
});

describe("what is sent", () => {
  test("has the values of the generate form, except those that vary", () => {
    const draft = { prompt: "an owl", seed: 3, steps: 20, width: 512, cfg: 4, count: 4 };
    expect(listTakenOver(draft, form)).toEqual(["width", "cfg"]);
    expect(buildBody(form, draft)).toEqual({
      request: { prompt: "a fox", width: 512, cfg: 4 },
      models: ["one", "two"],
      vary: [{ name: "steps", values: [4] }],
    });
    expect(buildBody({ ...form, usesDraft: false }, draft).request).toEqual({ prompt: "a fox" });
  });

  test("has no size of the form where the size varies", () => {
    const sizes = { ...form, axes: [{ name: "size", chips: [] }] };
    expect(listTakenOver({ width: 1, height: 2, cfg: 3 }, sizes)).toEqual(["cfg"]);
  });

  test("keeps every digit of a seed", () => {
    expect(buildBody({ ...form, seed: "7" }, {}).request["seed"]).toBe(7);
    const seed = "18446744073709551615";
    expect(buildBody({ ...form, seed }, {}).request["seed"]).toBe(seed);
  });
});

test("the form for more of a comparison has all that is there", () => {
  const known = {
    request: { prompt: "a", seed: 3 },
    models: ["m"],
    axes: [{ name: "x", values: [1, 2] }],
  };
  const found = formOf(known as unknown as ComparisonView);
  expect(buildBody(found, { cfg: 3 })).toEqual({
    request: { prompt: "a", seed: 3 },
    models: ["m"],
    vary: [{ name: "x", values: [1, 2] }],
  });
});

test("a backend without the parameter counts once, and says what it lacks", () => {
  const cell = (model: string, state: string, change: object = {}): object => ({
    model,
    state,
    values: { cfg: 1 },
    images: state === "planned" ? 2 : 0,
    usual_seconds: 6,
    cost_usd: 0.04,
    is_free: false,
    dropped: [],
    error: null,
    ...change,
  });
  const estimate = {
    cells: [
      cell("a", "planned"),
      cell("a", "planned"),
      cell("b", "planned", { dropped: ["cfg"], cost_usd: null }),
      cell("b", "same", { dropped: ["cfg"] }),
      cell("c", "failed", { error: { code: "request", message: "No such model." } }),
    ],
  } as unknown as ComparisonEstimateView;
  expect(partOf(estimate, "a")).toEqual({
    images: 4,
    seconds: 3,
    cost: 0.02,
    isFree: false,
    lacks: [],
    error: "",
  });
  expect(partOf(estimate, "b")).toMatchObject({ images: 2, cost: null, lacks: ["cfg"] });
  expect(partOf(estimate, "c")).toMatchObject({ images: 0, error: "No such model." });
});
