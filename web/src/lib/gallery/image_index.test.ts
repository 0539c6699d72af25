import { expect, test } from "vitest";

import { ImageIndex } from "./image_index";

/** An index of one image, written byte by byte as docs/reference/image-index.md says. */
function writeIndex(): ArrayBuffer {
  const buffer = new ArrayBuffer(32 + 33);
  const view = new DataView(buffer);
  [0x49, 0x4d, 0x47, 0x58].forEach((byte, i) => view.setUint8(i, byte));
  view.setUint16(4, 1, true);
  view.setUint32(24, 1, true);
  view.setBigInt64(32, (1_700_000_000_000n << 20n) | 2n, true);
  for (let i = 0; i < 16; i += 1) view.setUint8(40 + i, i);
  view.setUint32(56, 0x0badcafe, true);
  view.setUint16(60, 768, true);
  view.setUint16(62, 512, true);
  view.setUint8(64, 5 | 16 | (1 << 5));
  return buffer;
}

test("an image has its id, size, time and marks", () => {
  const index = new ImageIndex(writeIndex());
  const uid = "00010203-0405-0607-0809-0a0b0c0d0e0f.3";
  expect(index.length).toBe(1);
  expect(index.at(0)).toEqual({
    uid,
    width: 768,
    height: 512,
    version: "0badcafe",
    created: 1_700_000_000_000,
    rating: 5,
    isTrashed: false,
    isMissing: true,
  });
  expect(index.find(uid)).toBe(0);
  expect(index.find(uid.replace(/3$/, "4"))).toBe(-1);
});

test("something else than an index is refused", () => {
  expect(() => new ImageIndex(new ArrayBuffer(64))).toThrow(RangeError);
});

test("an empty index has no images", () => {
  expect(ImageIndex.empty().length).toBe(0);
});
