import { describe, expect, test } from "vitest";

import { addValues, type AxisParameter, chosen, parseValues, suggestChips } from "./values";

function parameter(change: Partial<AxisParameter>): AxisParameter {
  return { name: "steps", label: "Steps", type: "int", choices: [], suggestions: [], ...change };
}

const int = parameter({ min: 1, max: 50 });
const float = parameter({ name: "guidance", type: "float", min: 0, max: 30 });
const sampler = parameter({ name: "sampler", type: "string", choices: ["euler", "DPM++ 2M"] });

describe("the values that a text names", () => {
  test.each([
    ["2..8", int, [2, 3, 4, 5, 6, 7, 8]],
    ["8..2", int, [8, 7, 6, 5, 4, 3, 2]],
    ["2..8/2", int, [2, 4, 6, 8]],
    ["4, 8;12", int, [4, 8, 12]],
    ["4,4, 4", int, [4]],
    ["1 .. 3", int, [1, 2, 3]],
    ["2..7", float, [2, 3, 4, 5, 6, 7]],
    ["0.2..1/0.2", float, [0.2, 0.4, 0.6, 0.8, 1]],
    ["0.5..1.5", float, [0.5, 0.75, 1, 1.25, 1.5]],
    ["3.5", float, [3.5]],
    ["5..5", int, [5]],
    ["EULER, dpm++ 2m", sampler, ["euler", "DPM++ 2M"]],
    ["yes, off", parameter({ type: "bool" }), [true, false]],
    [
      "a fox, at night\nan owl",
      parameter({ name: "prompt", type: "string" }),
      ["a fox, at night", "an owl"],
    ],
    ["512x512, 768x512", parameter({ name: "size", type: "string" }), ["512x512", "768x512"]],
  ])("%s", (text, given, values) => {
    expect(parseValues(text, given)).toEqual({ values, wrong: [] });
  });

  test.each([
    ["2.5", int],
    ["many", int],
    ["0", int],
    ["51", int],
    ["heun", sampler],
    ["perhaps", parameter({ type: "bool" })],
  ])("%s is not a value", (text, given) => {
    expect(parseValues(text, given)).toEqual({ values: [], wrong: [text] });
  });

  test("a range ends where the parameter does", () => {
    expect(parseValues("48..52", int)).toEqual({ values: [48, 49, 50], wrong: ["48..52"] });
  });

  test("a huge range has no more values than a grid can show", () => {
    const { values } = parseValues("0..100000", parameter({}));
    expect(values.length).toBeLessThanOrEqual(50);
    expect(values[0]).toBe(0);
  });
});

test("a value that was left out is taken in again", () => {
  const chips = [
    { value: 2, isOut: true },
    { value: 3, isOut: false },
  ];
  expect(chosen(chips)).toEqual([3]);
  expect(chosen(addValues(chips, [2, 5]))).toEqual([2, 3, 5]);
});

describe("suggestions", () => {
  test("are around the default", () => {
    expect(chosen(suggestChips(int, 20))).toEqual([10, 20, 30]);
    expect(chosen(suggestChips(int, 40))).toEqual([20, 40]);
    expect(chosen(suggestChips(float, 3.5))).toEqual([1.75, 3.5, 5.25]);
  });

  test("are the first choices; the others are there, left out", () => {
    const chips = suggestChips(parameter({ type: "string", choices: ["a", "b", "c", "d"] }), "a");
    expect(chips.map((chip) => chip.value)).toEqual(["a", "b", "c", "d"]);
    expect(chosen(chips)).toEqual(["a", "b", "c"]);
  });

  test("are missing where nothing is known", () => {
    expect(suggestChips(float, null)).toEqual([]);
  });
});
