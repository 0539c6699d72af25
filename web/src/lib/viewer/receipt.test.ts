import { expect, test } from "vitest";

import { readReceipt } from "./receipt";
import { asSentence, describeValue, plainName } from "./values";

test("what was dropped comes first, then clamped, then mapped; applied apart", () => {
  const { changed, applied } = readReceipt({
    sampler: { outcome: "mapped", asked: "dpmpp_2m", used: "DPM++ 2M", why: "its name here" },
    prompt: { outcome: "applied", asked: "fog", used: null, why: "" },
    steps: { outcome: "clamped", asked: 60, used: 50, why: "at most 50" },
    cfg: { outcome: "dropped", asked: 7, used: null, why: "no CFG" },
    scheduler: { outcome: "dropped", asked: "karras", used: null, why: "no scheduler" },
  });
  expect(changed.map((line) => line.name)).toEqual(["cfg", "scheduler", "steps", "sampler"]);
  expect(changed[0]?.used).toBeUndefined();
  expect(changed[2]).toMatchObject({ asked: 60, used: 50, why: "at most 50" });
  expect(applied).toEqual([
    { name: "prompt", outcome: "applied", asked: "fog", used: "fog", why: "" },
  ]);
});

test("an image of another program has a receipt without lines", () => {
  expect(readReceipt({})).toEqual({ changed: [], applied: [] });
  expect(readReceipt({ steps: 4, cfg: null, seed: { outcome: "eaten" } })).toEqual({
    changed: [],
    applied: [],
  });
});

test.each([
  [12, "12"],
  [0, "0"],
  [false, "false"],
  [null, ""],
  ["霧", "霧"],
  [[{ name: "sepia", strength: 0.85 }, { name: "ink" }], "sepia · 0.85, ink"],
  [{ left: 64, top: 0, method: null }, "left 64, top 0"],
  [[{ kind: "canny", name: "a", strength: 1 }], "kind canny, name a, strength 1"],
])("the value %j", (value, words) => {
  expect(describeValue(value)).toBe(words);
});

test("a reason becomes a sentence once", () => {
  expect(asSentence("at least 1, at most 200")).toBe("At least 1, at most 200.");
  expect(asSentence("It is gone.")).toBe("It is gone.");
  expect(asSentence("  ")).toBe("");
});

test("an unknown parameter is named in plain letters", () => {
  expect(plainName("clip_skip")).toBe("Clip skip");
  expect(plainName("")).toBe("");
});
