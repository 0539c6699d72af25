import { describe, expect, test } from "vitest";

import type { JobView } from "../api/schema";
import { GridModel } from "./grid_model";
import { indexOf, type SampleImage, uidOf } from "./index_samples";
import type { JobTile } from "./job_tiles";
import type { LayoutOptions } from "./layout";

const DAY = 86_400_000;
const NOON = new Date(2026, 10, 27, 12).getTime();
const OPTIONS: LayoutOptions = { width: 848, columns: 4, gap: 8, kind: "masonry", header: 40 };
const TOP = { top: 0, height: 700 };

/** Three days with 40 images each of two shapes. */
const images: SampleImage[] = Array.from({ length: 120 }, (_, i) => ({
  generation: i + 1,
  created: NOON - Math.floor(i / 40) * DAY - (i % 40) * 1000,
  width: 512,
  height: i % 3 ? 512 : 768,
}));
const index = indexOf(images);

function tile(number: number, time: number, ratio = 1): JobTile {
  const key = uidOf(number);
  return { key, job: {} as JobView, kind: "running", ratio, time, count: 1 };
}

function open(): GridModel {
  const model = new GridModel(OPTIONS);
  model.update({ index, tiles: [], arrivals: [] }, TOP);
  return model;
}

/** Where images are on a screen at this offset, by their ids. */
function screenOf(model: GridModel, top: number): Map<string, string> {
  return new Map(
    model.layout.itemsBetween(top, top + 700).map((i) => {
      const { x, y } = model.layout.boxOf(i);
      return [model.items.keyAt(i), `${x} ${y - top}`];
    }),
  );
}

const fresh = [
  { generation: 500, created: NOON + 1000 },
  { generation: 501, created: NOON + 2000 },
];
const arrivals = [uidOf(501), uidOf(500)];
const grown = index.merge(indexOf(fresh));

test("at the top, new images appear at once", () => {
  const model = open();
  expect(model.update({ index: grown, tiles: [], arrivals }, TOP)).toBe(0);
  expect(model.items.keyAt(0)).toBe(uidOf(501));
  expect(model.news).toBe(0);
});

describe("scrolled down", () => {
  test("among images of another day, all is shifted and nothing moves", () => {
    const model = open();
    const top = model.layout.sectionTop(1) + 300;
    const before = screenOf(model, top);
    const shift = model.update({ index: grown, tiles: [], arrivals }, { top, height: 700 });
    expect(shift).not.toBe(0);
    expect(screenOf(model, top + shift)).toEqual(before);
    expect(model.items.length).toBe(122);
    expect(model.news).toBe(2);
  });

  test("among images of the same day, new ones wait, until the top is reached", () => {
    const model = open();
    const before = screenOf(model, 500);
    const shift = model.update({ index: grown, tiles: [], arrivals }, { top: 500, height: 700 });
    expect(shift).toBe(0);
    expect(screenOf(model, 500)).toEqual(before);
    expect(model.items.length).toBe(120);
    expect(model.news).toBe(2);
    expect(model.release()).toBe(true);
    expect(model.items.keyAt(0)).toBe(uidOf(501));
    expect(model.news).toBe(0);
  });

  test("marks of images that are shown change meanwhile", () => {
    const model = open();
    model.update({ index: grown, tiles: [], arrivals }, { top: 500, height: 700 });
    const rated = grown.remark([uidOf(10)], () => 5);
    model.update({ index: rated, tiles: [], arrivals: [] }, { top: 500, height: 700 });
    const at = model.items.imageAt(model.items.find(uidOf(10)));
    expect(model.items.index.at(at).rating).toBe(5);
    expect(model.items.length).toBe(120);
  });

  test("a job that begins waits too", () => {
    const model = open();
    const view = { top: 500, height: 700 };
    const before = screenOf(model, 500);
    model.update({ index, tiles: [tile(500, NOON + 1000)], arrivals: [] }, view);
    expect(screenOf(model, 500)).toEqual(before);
    model.update({ index: grown, tiles: [], arrivals }, view);
    expect(screenOf(model, 500)).toEqual(before);
    expect(model.news).toBe(2);
  });

  test("after a delete above, what is seen stays", () => {
    const model = open();
    const top = model.layout.sectionTop(2) + 100;
    const before = screenOf(model, top);
    const less = index.merge(indexOf([]), [uidOf(1), uidOf(2), uidOf(3), uidOf(4), uidOf(5)]);
    const view = { top, height: 700 };
    const shift = model.update({ index: less, tiles: [], arrivals: [] }, view);
    expect(screenOf(model, top + shift)).toEqual(before);
  });
});

test("the tile of a job becomes its image in the same place", () => {
  const model = open();
  const tiles = [tile(501, NOON + 2000), tile(500, NOON + 1000)];
  model.update({ index, tiles, arrivals: [] }, TOP);
  const boxes = [0, 1, 2, 3].map((i) => model.layout.boxOf(i));
  model.update({ index: grown, tiles: [], arrivals }, TOP);
  expect([0, 1, 2, 3].map((i) => model.layout.boxOf(i))).toEqual(boxes);
  expect(model.items.tileAt(0)).toBeNull();
});

test("progress of a job lays nothing out", () => {
  const model = open();
  model.update({ index, tiles: [tile(500, NOON + 1000)], arrivals: [] }, TOP);
  const { layout } = model;
  const next = tile(500, NOON + 1000);
  model.update({ index, tiles: [next], arrivals: [] }, TOP);
  expect(model.layout).toBe(layout);
  expect(model.items.tileAt(0)).toBe(next);
});

test("with other columns, the first image on the screen stays there", () => {
  const model = open();
  const top = 1500;
  const [first] = model.layout.itemsBetween(top, top + 700);
  const before = model.layout.boxOf(first as number).y - top;
  const shift = model.arrange({ ...OPTIONS, columns: 3 }, { top, height: 700 });
  expect(model.layout.boxOf(first as number).y - (top + shift)).toBe(before);
});
