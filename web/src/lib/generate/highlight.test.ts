import { expect, test } from "vitest";

import { findMarks, typedWildcard } from "./highlight";

const marks = (text: string, wildcards: string[] = ["animals/cats"], hasWeights = true) =>
  findMarks(text, { wildcards, hasWeights }).map(
    (mark) => `${mark.kind} ${text.slice(mark.start, mark.end)}`,
  );

test.each([
  ["a __animals/cats__ in __snow__", ["wildcard __animals/cats__", "unknown __snow__"]],
  ["__animals/*__", ["wildcard __animals/*__"]],
  ["{red|{dark |}blue} fox", ["choice {red|{dark |}blue}"]],
  ["a (fox:1.2) at (16:9) (10:30)", ["weight (fox:1.2)"]],
  ["\\(fox:1.2\\) \\{a|b\\}", []],
  ['{"a": 1}', []],
  ["<lora:ink:0.8> __init__", ["lora <lora:ink:0.8>", "unknown __init__"]],
  ["{a|b", []],
  ["({a|b}:1.2)", ["weight ({a|b}:1.2)"]],
])("%s", (text, found) => {
  expect(marks(text)).toEqual(found);
});

test("weights are marked only where they are read", () => {
  expect(marks("(fox:1.2)", [], false)).toEqual([]);
});

test("the wildcard that is typed", () => {
  expect(typedWildcard("a __ani", 7)).toEqual({ start: 2, name: "ani" });
  expect(typedWildcard("__", 2)).toEqual({ start: 0, name: "" });
  expect(typedWildcard("a __cats__ and", 14)).toBeNull();
  expect(typedWildcard("snake__case", 11)).toBeNull();
});

test("a long prompt full of braces is read in no time", () => {
  const text = "{a|".repeat(5000) + "(b:1)".repeat(2000) + "__x".repeat(3000);
  const start = performance.now();
  marks(text);
  expect(performance.now() - start).toBeLessThan(500);
});
