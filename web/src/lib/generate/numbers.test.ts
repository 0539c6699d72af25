import { expect, test } from "vitest";

import { addToSeed, parseNumber, parseSeed, sliderRange, snapNumber } from "./numbers";
import { parameter } from "./samples";

test.each([
  [1000, { multiple_of: 16 }, { value: 1008, why: "multiple", limit: 16 }],
  [1008, { multiple_of: 16 }, { value: 1008, why: null, limit: 0 }],
  [3, { multiple_of: 16 }, { value: 16, why: "multiple", limit: 16 }],
  [5000, { max: 4096, multiple_of: 16 }, { value: 4096, why: "max", limit: 4096 }],
  [0, { min: 1 }, { value: 1, why: "min", limit: 1 }],
  [3.6, {}, { value: 4, why: "whole", limit: 1 }],
  [3.6, { type: "float" as const }, { value: 3.6, why: null, limit: 0 }],
  [30, { type: "float" as const, max: 20.5 }, { value: 20.5, why: "max", limit: 20.5 }],
])("%s within %o", (value, rule, snapped) => {
  expect(snapNumber(value, parameter(rule))).toEqual(snapped);
});

test("numbers are read with a comma too", () => {
  expect(parseNumber(" 3,5 ")).toBe(3.5);
  expect(parseNumber("")).toBeNull();
  expect(parseNumber("many")).toBeNull();
  expect(parseNumber("1e999")).toBeNull();
});

test("a seed keeps all its digits", () => {
  expect(parseSeed(" 42 ")).toBe(42);
  expect(parseSeed("18446744073709551615")).toBe("18446744073709551615");
  expect(parseSeed("18446744073709551616")).toBeNull();
  for (const text of ["-1", "1.5", "fog", ""]) expect(parseSeed(text)).toBeNull();
});

test("seeds count up, and begin again after the largest", () => {
  expect(addToSeed(7, 4)).toBe(11);
  expect(addToSeed("9007199254740991", 1)).toBe("9007199254740992");
  expect(addToSeed("18446744073709551615", 1)).toBe(0);
});

test("a slider needs both ends and a range that a hand can set", () => {
  expect(sliderRange(parameter({ min: 1, max: 50 }))).toEqual({ min: 1, max: 50, step: 1 });
  expect(sliderRange(parameter({ type: "float", min: 0, max: 1 }))?.step).toBe(0.01);
  expect(sliderRange(parameter({ min: 1 }))).toBeNull();
  expect(sliderRange(parameter({ min: 0, max: 2 ** 53 }))).toBeNull();
});
