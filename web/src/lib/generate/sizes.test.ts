import { expect, test } from "vitest";

import { parameter } from "./samples";
import { chooseChip, currentChip, currentSize, readRatio, sizeChips, swapSize } from "./sizes";

const side = (values = {}) => parameter({ default: 1024, min: 16, max: 4096, ...values });
const pixels = { width: side(), height: side() };
const ratios = { aspect_ratio: parameter({ choices: ["1:1", "16:9", "21:9", "9:16", "custom"] }) };
const sizes = (parameters: Parameters<typeof sizeChips>[0]) =>
  sizeChips(parameters).map((one) => `${one.ratio} ${one.width}x${one.height}`);

test("six ratios have about as many pixels as the default, on a grid that models like", () => {
  expect(sizes(pixels)).toEqual([
    "1:1 1024x1024",
    "4:3 1152x896",
    "3:2 1280x832",
    "16:9 1344x768",
    "3:4 896x1152",
    "9:16 768x1344",
  ]);
});

test("the grid and the limits of the model are kept", () => {
  const wide = { width: side({ max: 1200, multiple_of: 48 }), height: side({ multiple_of: 48 }) };
  for (const chip of sizeChips(wide).filter((one) => one.ratio !== "1:1")) {
    expect(chip.width % 48 === 0 || chip.width === 1200).toBe(true);
    expect(chip.height % 48).toBe(0);
  }
  const small = { width: side({ default: 64 }), height: side({ default: 48 }) };
  expect(sizes(small)[1]).toBe("4:3 64x48");
  expect(sizes(small)[0]).toBe("1:1 56x56");
});

test("a model without pixels has the ratios that it knows, the usual ones first", () => {
  expect(sizeChips(ratios).map((one) => one.ratio)).toEqual(["1:1", "16:9", "9:16", "21:9"]);
  expect(sizeChips({})).toEqual([]);
});

test("a chip sets the pixels, and the ratio where the model has no other size", () => {
  const chip = { ratio: "16:9", width: 1344, height: 768 };
  const values = { width: 1344, height: 768, aspect: null };
  expect(chooseChip(chip, pixels)).toEqual({ ...values, aspect_ratio: null });
  expect(chooseChip(chip, ratios)).toEqual({ ...values, aspect_ratio: "16:9" });
});

test("the chip of a request is that of its size, also on a model without pixels", () => {
  const request = { width: 1344, height: 768 };
  expect(currentChip(request, pixels, sizeChips(pixels))?.ratio).toBe("16:9");
  expect(currentChip(request, ratios, sizeChips(ratios))?.ratio).toBe("16:9");
  expect(currentChip({}, pixels, sizeChips(pixels))?.ratio).toBe("1:1");
  expect(currentChip({ width: 100, height: 70 }, pixels, sizeChips(pixels))).toBeUndefined();
  const own = { ...request, extra: { aspect_ratio: "9:16" } };
  expect(currentChip(own, ratios, sizeChips(ratios))?.ratio).toBe("9:16");
});

test("an aspect gives the size that is missing", () => {
  expect(currentSize({ aspect: "16:9" }, pixels)).toEqual({ width: 1344, height: 768 });
  expect(currentSize({ aspect: "2:1", width: 512 }, pixels)).toEqual({ width: 512, height: 256 });
  expect(currentSize({ height: 512 }, pixels)).toEqual({ width: 1024, height: 512 });
});

test("a swapped size is one that the model accepts", () => {
  const rules = { width: side({ max: 1024 }), height: side() };
  expect(swapSize({ width: 640, height: 1536 }, rules)).toEqual({ width: 1024, height: 640 });
});

test("a ratio is two numbers", () => {
  expect(readRatio("16:9")).toBeCloseTo(1.78, 2);
  for (const text of ["custom", "16", "1:0", ""]) expect(readRatio(text)).toBe(0);
});
