import { beforeEach, expect, test } from "vitest";

import { ImageIndex } from "./image_index";
import { Selection } from "./selection";

/** An index of so many images, each of a generation of its own. */
function indexOf(count: number): ImageIndex {
  const buffer = new ArrayBuffer(32 + 33 * count);
  const view = new DataView(buffer);
  view.setUint32(0, 0x58474d49, true);
  view.setUint16(4, 1, true);
  view.setUint32(24, count, true);
  for (let i = 0; i < count; i += 1) {
    view.setBigInt64(32 + 8 * i, BigInt(count - i) << 20n, true);
    view.setUint32(32 + 8 * count + 16 * i, i, false);
  }
  return new ImageIndex(buffer);
}

let selection: Selection;
let changes: number;
const ten = indexOf(10);
const uid = (i: number): string => ten.uid(i);

beforeEach(() => {
  selection = new Selection();
  changes = 0;
  selection.subscribe(() => (changes += 1));
});

test("a toggled image is selected, and the last one taken out ends the selection", () => {
  selection.toggle(uid(3));
  expect([selection.has(uid(3)), selection.size, selection.isActive]).toEqual([true, 1, true]);
  selection.toggle(uid(3));
  expect([selection.has(uid(3)), selection.size, selection.isActive]).toEqual([false, 0, false]);
  expect(changes).toBe(2);
});

test("a range goes from the image selected last, in either direction", () => {
  selection.toggle(uid(5));
  selection.extend(ten, uid(7));
  expect(selection.uids).toEqual([uid(5), uid(6), uid(7)]);
  selection.extend(ten, uid(3));
  expect(new Set(selection.uids)).toEqual(new Set([3, 4, 5, 6, 7].map(uid)));
});

test("without an image before, a range is one image", () => {
  selection.extend(ten, uid(4));
  expect(selection.uids).toEqual([uid(4)]);
  selection.extend(ten, uid(6));
  expect(selection.size).toBe(3);
});

test("an image that is not shown extends nothing", () => {
  selection.extend(indexOf(2), uid(9));
  expect(selection.isActive).toBe(false);
});

test("all are selected", () => {
  selection.selectAll(ten);
  expect(selection.size).toBe(10);
  selection.clear();
  expect([selection.size, selection.isActive]).toEqual([0, false]);
});

test("it may begin without an image", () => {
  selection.start();
  expect([selection.size, selection.isActive]).toEqual([0, true]);
});

test("images that the gallery does not show any more are forgotten", () => {
  selection.add([uid(1), uid(8)]);
  selection.keep(indexOf(5));
  expect(selection.uids).toEqual([uid(1)]);
  selection.keep(indexOf(1));
  expect(selection.isActive).toBe(false);
});

test("many selected images are compared in one pass", () => {
  const many = indexOf(200);
  selection.selectAll(many);
  selection.keep(indexOf(120));
  expect(selection.size).toBe(120);
  changes = 0;
  selection.keep(many);
  expect(changes).toBe(0);
});
