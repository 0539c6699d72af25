import { expect, test } from "vitest";

import { frameWidth, framesNear } from "./filmstrip";

test("a thumbnail has the shape of its image, within bounds", () => {
  expect(frameWidth(1000, 1000)).toBe(64);
  expect(frameWidth(1344, 1000)).toBe(86);
  expect(frameWidth(100, 4000)).toBe(44);
  expect(frameWidth(4000, 100)).toBe(96);
  expect(frameWidth(0, 0)).toBe(64);
});

test("only the images near the current one are in the strip", () => {
  const sides = new Uint16Array(100_000).fill(512);
  const frames = framesNear(50_000, sides, sides, 3);
  expect(frames.map((frame) => frame.at)).toEqual([
    49_997, 49_998, 49_999, 50_000, 50_001, 50_002, 50_003,
  ]);
});

test("it ends where the index does", () => {
  const sides = [512, 512, 512];
  expect(framesNear(0, sides, sides).map((frame) => frame.at)).toEqual([0, 1, 2]);
  expect(framesNear(2, sides, sides, 1).map((frame) => frame.at)).toEqual([1, 2]);
  expect(framesNear(-1, sides, sides)).toEqual([]);
  expect(framesNear(0, [], [])).toEqual([]);
});
