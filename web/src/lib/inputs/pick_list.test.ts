import { describe, expect, it } from "vitest";

import { numberOptions, type PickRow, rowForKey } from "./pick_list";

const option = (id: string, isDisabled = false): PickRow<null, null> => ({
  kind: "option",
  id,
  value: null,
  isDisabled,
});
const heading: PickRow<null, null> = { kind: "heading", id: "h", height: 30, value: null };
const rows = [heading, option("a"), option("b"), heading, option("c"), option("d", true)];

describe("rowForKey", () => {
  it.each([
    ["ArrowDown", -1, 1],
    ["ArrowDown", 2, 4],
    ["ArrowDown", 4, 4],
    ["ArrowUp", 4, 2],
    ["ArrowUp", 1, 1],
    ["ArrowUp", -1, 4],
    ["Home", 4, 1],
    ["End", 1, 4],
    ["PageDown", 1, 4],
    ["PageUp", 4, 1],
    ["a", 1, null],
  ])("%s from %d", (key, from, expected) => {
    expect(rowForKey(key, from, rows, 10)).toBe(expected);
  });

  it("stays where nothing can be picked", () => {
    expect(rowForKey("ArrowDown", -1, [heading, option("x", true)], 5)).toBe(-1);
    expect(rowForKey("End", -1, [], 5)).toBe(-1);
  });
});

it("numbers options without the headings", () => {
  expect(numberOptions(rows)).toEqual([0, 1, 2, 0, 3, 4]);
});
