import { describe, expect, test } from "vitest";

import {
  clampView,
  fit,
  FITTED,
  frame,
  isZoomed,
  magnification,
  pan,
  toggleZoom,
  wheelFactor,
  zoomAt,
} from "./zoom";

const STAGE = { width: 400, height: 800 };
const WIDE = { width: 2000, height: 1000 };

describe("fit", () => {
  test.each([
    [WIDE, { width: 400, height: 200 }],
    [
      { width: 500, height: 2000 },
      { width: 200, height: 800 },
    ],
    [
      { width: 100, height: 100 },
      { width: 200, height: 200 },
    ], // at most twice its pixels
    [{ width: 0, height: 0 }, STAGE], // unknown
  ])("%o", (image, box) => {
    expect(fit(image, STAGE)).toEqual(box);
  });
});

describe("clampView", () => {
  const limits = frame(WIDE, STAGE);
  test("an image that fits stays in the middle", () => {
    expect(clampView({ scale: 1, x: 50, y: -50 }, limits)).toEqual(FITTED);
    expect(clampView({ scale: 0.2, x: 0, y: 0 }, limits).scale).toBe(1);
  });
  test("a larger image leaves no gap", () => {
    // 4 times: 1600 x 800 on 400 x 800, so it moves sideways by 600 at most, and not up.
    expect(clampView({ scale: 4, x: 900, y: 10 }, limits)).toEqual({ scale: 4, x: 600, y: 0 });
    expect(clampView({ scale: 4, x: -900, y: 10 }, limits)).toEqual({ scale: 4, x: -600, y: 0 });
  });
  test("it is never larger than its largest scale", () => {
    expect(clampView({ scale: 1e9, x: 0, y: 0 }, limits).scale).toBe(limits.most);
  });
});

describe("zoomAt", () => {
  const limits = frame(WIDE, STAGE);
  test("what is at the pointer stays there", () => {
    const point = { x: 120, y: 40 };
    const before = { scale: 4, x: 30, y: 0 };
    const after = zoomAt(before, 1.5, point, limits);
    const place = (view: typeof before): number => (point.x - view.x) / view.scale;
    expect(place(after)).toBeCloseTo(place(before));
    expect(after.scale).toBe(6);
  });
  test("out to the whole image, however far", () => {
    expect(zoomAt({ scale: 4, x: 300, y: 0 }, 0.01, { x: 5, y: 5 }, limits)).toEqual(FITTED);
  });
});

test("panning stops at the edge", () => {
  const limits = frame(WIDE, STAGE);
  expect(pan({ scale: 2, x: 0, y: 0 }, 5000, 5000, limits)).toEqual({ scale: 2, x: 200, y: 0 });
});

test("a double tap magnifies and then shows the whole image", () => {
  const limits = frame(WIDE, STAGE);
  const near = toggleZoom(FITTED, { x: 100, y: 0 }, limits);
  expect(isZoomed(near)).toBe(true);
  expect(near.x).toBeLessThan(0);
  expect(toggleZoom(near, { x: 0, y: 0 }, limits)).toEqual(FITTED);
});

test("the wheel magnifies upwards, alike in pixels and lines, and within bounds", () => {
  expect(wheelFactor(-100, 0)).toBeGreaterThan(1);
  expect(wheelFactor(100, 0)).toBeCloseTo(1 / wheelFactor(-100, 0));
  expect(wheelFactor(3, 1)).toBeCloseTo(wheelFactor(48, 0));
  expect(wheelFactor(-1e6, 0)).toBe(wheelFactor(-200, 0));
});

test("the magnification is that of the image's pixels", () => {
  expect(magnification({ scale: 5, x: 0, y: 0 }, WIDE, fit(WIDE, STAGE))).toBe(1);
});
