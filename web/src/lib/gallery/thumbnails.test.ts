import { expect, test } from "vitest";

import { thumbnailSize } from "./thumbnails";

test.each([
  [{ width: 210, height: 210 }, false, 1, 1, 320],
  [{ width: 210, height: 336 }, false, 1.6, 1, 320],
  [{ width: 210, height: 210 }, false, 1, 2, 640],
  [{ width: 210, height: 210 }, true, 1.75, 1, 640],
  [{ width: 360, height: 200 }, false, 0.55, 1, 640],
  [{ width: 95, height: 95 }, true, 1, 3, 320],
] as const)("%j", (tile, isSquare, ratio, pixelRatio, size) => {
  expect(thumbnailSize(tile, isSquare, ratio, pixelRatio)).toBe(size);
});
