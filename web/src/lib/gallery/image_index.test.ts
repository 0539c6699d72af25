import { describe, expect, test } from "vitest";

import { ImageIndex } from "./image_index";
import { indexOf, type SampleImage, uidOf } from "./index_samples";

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

function uidsOf(index: ImageIndex): string[] {
  return Array.from({ length: index.length }, (_, i) => index.uid(i));
}

const many: SampleImage[] = Array.from({ length: 10 }, (_, i) => ({
  generation: i + 1,
  created: 1_000_000 + 1000 * i,
}));

describe("merge", () => {
  test("new images get the place of their time", () => {
    const old = indexOf(many);
    const fresh = indexOf([
      { generation: 20, created: 1_100_000 },
      { generation: 21, created: 1_004_500 },
      { generation: 22, created: 1 },
    ]);
    const all = old.merge(fresh);
    expect(all.length).toBe(13);
    expect(uidsOf(all)).toEqual(uidsOf(indexOf([...many, ...sampled(fresh)])));
    expect(all.at(all.find(uidOf(21))).version).toBe("00000015");
  });

  test("a known image gets its new marks and keeps its place", () => {
    const old = indexOf(many);
    const changed = indexOf([{ ...(many[4] as SampleImage), rating: 3 }]);
    const all = old.merge(changed);
    expect(uidsOf(all)).toEqual(uidsOf(old));
    expect(all.at(all.find(uidOf(5))).rating).toBe(3);
    expect(old.at(old.find(uidOf(5))).rating).toBe(0);
  });

  test("removed images are gone, also the first, the last and neighbours", () => {
    const gone = [1, 2, 5, 10].map((n) => uidOf(n));
    const all = indexOf(many).merge(ImageIndex.empty(), [...gone, uidOf(77)]);
    expect(uidsOf(all)).toEqual([9, 8, 7, 6, 4, 3].map((n) => uidOf(n)));
  });

  test("at once, any of these", () => {
    const fresh = indexOf([
      { ...(many[2] as SampleImage), rating: 1 },
      { generation: 30, created: 1_002_500 },
      { generation: 31, created: 1_002_400 },
    ]);
    const all = indexOf(many).merge(fresh, [uidOf(4), uidOf(1)]);
    expect(uidsOf(all)).toEqual([10, 9, 8, 7, 6, 5, 30, 31, 3, 2].map((n) => uidOf(n)));
  });

  test("into an empty index", () => {
    expect(uidsOf(ImageIndex.empty().merge(indexOf(many)))).toEqual(uidsOf(indexOf(many)));
  });

  function sampled(index: ImageIndex): SampleImage[] {
    return Array.from({ length: index.length }, (_, i) => ({
      generation: Number.parseInt(index.uid(i).slice(0, 8), 16),
      created: index.created(i),
    }));
  }
});

test("images of one batch are told apart", () => {
  const index = indexOf([0, 1, 2].map((number) => ({ generation: 7, number, created: 5000 })));
  expect(uidsOf(index)).toEqual([uidOf(7, 2), uidOf(7, 1), uidOf(7)]);
  expect(index.findAll([uidOf(7), uidOf(7, 2)])).toEqual([0, 2]);
});

test("marks change without a copy of the rest", () => {
  const index = indexOf(many).remark([uidOf(3)], (marks) => marks | 5);
  expect(index.at(index.find(uidOf(3))).rating).toBe(5);
  expect(index.at(index.find(uidOf(4))).rating).toBe(0);
});

test("images since a moment are counted", () => {
  const index = indexOf(many);
  expect(index.countBefore(0)).toBe(10);
  expect(index.countBefore(1_007_000)).toBe(2);
  expect(index.countBefore(2_000_000)).toBe(0);
});

test("the oldest image comes first on request, also of what is merged", () => {
  const oldest = indexOf(many).reversed();
  expect(uidsOf(oldest)).toEqual(many.map((one) => uidOf(one.generation)));
  expect(oldest.at(0)).toEqual(indexOf(many).at(9));
  expect(oldest.countBefore(1_007_000)).toBe(7);
  const fresh = indexOf([
    { generation: 20, created: 1_100_000 },
    { generation: 21, created: 1_004_500 },
  ]).reversed();
  const merged = oldest.merge(fresh, [uidOf(1)]);
  expect(uidsOf(merged)).toEqual([2, 3, 4, 5, 21, 6, 7, 8, 9, 10, 20].map((n) => uidOf(n)));
  expect(uidsOf(merged.remark([uidOf(2)], () => 3).reversed()).at(0)).toBe(uidOf(20));
});
