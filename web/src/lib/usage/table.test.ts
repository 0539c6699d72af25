import { describe, expect, test } from "vitest";

import type { UsageGroupView } from "../api/schema";
import { buildRows, type Column, costOf, sortRows } from "./table";

function group(model: string, change: Partial<UsageGroupView>): UsageGroupView {
  return {
    generations: 2,
    images: 4,
    latency_seconds: 8,
    engine_seconds: 8,
    costs: [],
    estimates: [],
    unknown: 0,
    day: null,
    week: null,
    month: null,
    backend: "b",
    model,
    caller: null,
    ...change,
  };
}

const usd = (amount: number): UsageGroupView["costs"] => [{ currency: "USD", amount }];
const groups = [
  group("free", { engine_seconds: 1 }),
  group("paid", { costs: usd(2), images: 8 }),
  group("partly", { costs: usd(1), unknown: 1, images: 1 }),
  group("unknown", { unknown: 2, images: 2 }),
];

test("a cost is free, known, known in part, or unknown", () => {
  expect(groups.map(costOf)).toEqual([
    { kind: "free" },
    { kind: "known", isWhole: true },
    { kind: "known", isWhole: false },
    { kind: "unknown" },
  ]);
  expect(costOf(group("zero", { costs: usd(0) }))).toEqual({ kind: "free" });
});

test("the price of an image is unknown where a part of the cost is", () => {
  const rows = buildRows(groups, "model", "USD");
  expect(rows.map((row) => row.cost)).toEqual([0, 2, 1, null]);
  expect(rows.map((row) => row.each)).toEqual([0, 0.25, null, null]);
});

describe("sorting", () => {
  const names = (column: Column, isDescending: boolean): string[] =>
    sortRows(buildRows(groups, "model", "USD"), column, isDescending).map((row) => row.name);

  test("by cost has what is unknown last, in both directions", () => {
    expect(names("cost", true)).toEqual(["paid", "partly", "free", "unknown"]);
    expect(names("cost", false)).toEqual(["free", "partly", "paid", "unknown"]);
  });

  test("by images and by name", () => {
    expect(names("images", true)).toEqual(["paid", "free", "unknown", "partly"]);
    expect(names("name", false)).toEqual(["free", "paid", "partly", "unknown"]);
    expect(names("time", false)[0]).toBe("free");
  });
});
