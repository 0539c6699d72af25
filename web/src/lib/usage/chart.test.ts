import { describe, expect, test } from "vitest";

import type { BackendView, UsageGroupView } from "../api/schema";
import { assignColours, buildChart, mainCurrency, OTHERS, roundUp } from "./chart";

function backend(name: string, label: string): BackendView {
  return { name, label, kind: label.toLowerCase() } as BackendView;
}

function group(change: Partial<UsageGroupView>): UsageGroupView {
  return {
    generations: 1,
    images: 1,
    latency_seconds: 1,
    engine_seconds: 2,
    costs: [],
    estimates: [],
    unknown: 0,
    day: null,
    week: null,
    month: null,
    backend: null,
    model: null,
    caller: null,
    ...change,
  };
}

const two = [backend("flux", "ComfyUI"), backend("sd", "ComfyUI"), backend("rep", "Replicate")];

describe("colours", () => {
  test("are fixed to engines, in the order of the configuration", () => {
    const engines = [
      { name: "ComfyUI", colour: "c1" },
      { name: "Replicate", colour: "c2" },
    ];
    expect(assignColours(two, ["rep", "rep", "sd"])).toEqual(engines);
    expect(assignColours(two, [])).toEqual(engines);
  });

  test("are there for backends that are gone, and the rest share one", () => {
    expect(assignColours(two, ["old"]).at(-1)).toEqual({ name: "old", colour: "c3" });
    const many = ["a", "b", "c", "d", "e", "f"].map((name) => backend(name, name));
    expect(assignColours(many, []).map((one) => one.name)).toEqual(["a", "b", "c", "d", OTHERS]);
  });
});

describe("the chart", () => {
  const groups = [
    group({ day: "2026-11-01", backend: "flux", images: 3 }),
    group({ day: "2026-11-01", backend: "sd", images: 4 }),
    group({
      day: "2026-11-02",
      backend: "rep",
      images: 5,
      costs: [{ currency: "USD", amount: 0.13 }],
    }),
  ];
  const days = ["2026-11-01", "2026-11-02", "2026-11-03"];

  test("adds up the backends of an engine, and has days without usage", () => {
    expect(buildChart(groups, days, two, "images", "USD")).toEqual({
      engines: [
        { name: "ComfyUI", colour: "c1" },
        { name: "Replicate", colour: "c2" },
      ],
      bars: [
        { key: "2026-11-01", total: 7, parts: [7, 0] },
        { key: "2026-11-02", total: 5, parts: [0, 5] },
        { key: "2026-11-03", total: 0, parts: [0, 0] },
      ],
      top: 8,
    });
  });

  test("keeps the colour of an engine that is the only one", () => {
    const chart = buildChart(groups, days, two, "cost", "USD");
    expect(chart.engines).toEqual([{ name: "Replicate", colour: "c2" }]);
    expect(chart.bars.map((bar) => bar.parts)).toEqual([[0], [0.13], [0]]);
    expect(chart.top).toBe(0.16);
  });

  test("counts no money of another currency", () => {
    expect(buildChart(groups, days, two, "cost", "EUR").top).toBe(0);
  });
});

test.each([
  [0, 0],
  [1, 1],
  [7, 8],
  [97, 100],
  [101, 120],
  [0.13, 0.16],
  [3601, 4000],
])("%d is drawn up to %d", (value, top) => {
  expect(roundUp(value)).toBe(top);
});

test("the currency is that of most money", () => {
  const costs = [
    { currency: "EUR", amount: 2 },
    { currency: "USD", amount: 1 },
  ];
  expect(mainCurrency(group({ costs }))).toBe("EUR");
  expect(mainCurrency(group({ costs: [{ currency: "EUR", amount: 0 }] }))).toBe("USD");
  expect(mainCurrency(null)).toBe("USD");
});

test("half of a whole number of images is whole", () => {
  expect([1, 3, 5, 7, 97, 101].map((value) => roundUp(value, true))).toEqual([
    2, 4, 6, 8, 100, 120,
  ]);
});
