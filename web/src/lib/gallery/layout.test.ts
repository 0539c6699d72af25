import { describe, expect, test } from "vitest";

import { ImageIndex } from "./image_index";
import { indexOf, type SampleImage } from "./index_samples";
import { Items } from "./items";
import { Layout, type LayoutOptions } from "./layout";

const DAY = 86_400_000;
const NOON = new Date(2026, 10, 27, 12).getTime();
const OPTIONS: LayoutOptions = { width: 848, columns: 4, gap: 8, kind: "masonry", header: 40 };
const SHAPES = [
  [1024, 1024],
  [1344, 768],
  [832, 1216],
  [1216, 832],
  [768, 1344],
  [0, 0],
] as const;

/** So many images of several shapes, a minute apart; `perDay` of them on each day. */
function samples(count: number, perDay = count): SampleImage[] {
  return Array.from({ length: count }, (_, i) => {
    const [width, height] = SHAPES[(i * 7) % SHAPES.length] as readonly [number, number];
    const created = NOON - Math.floor(i / perDay) * DAY - (i % perDay) * 60;
    return { generation: count - i, created, width, height };
  });
}

/** A large index without an object for each image. */
function largeIndex(count: number): ImageIndex {
  const keys = new BigInt64Array(count);
  const widths = new Uint16Array(count);
  const heights = new Uint16Array(count);
  const generations = new Uint32Array(4 * count);
  for (let i = 0; i < count; i += 1) {
    keys[i] = BigInt(NOON - i * 300_000) << 20n;
    [widths[i], heights[i]] = SHAPES[(i * 7) % SHAPES.length] as readonly [number, number];
    generations[4 * i] = i;
  }
  const [versions, marks] = [new Uint32Array(count), new Uint8Array(count)];
  return new ImageIndex({ keys, generations, versions, widths, heights, marks });
}

function layOut(images: SampleImage[], options: Partial<LayoutOptions> = {}): Layout {
  return new Layout(new Items(indexOf(images), [], [], NOON), { ...OPTIONS, ...options });
}

function all(layout: Layout): number[] {
  return Array.from({ length: layout.items.length }, (_, i) => i);
}

describe("masonry", () => {
  test("no two tiles overlap, and all are within the width", () => {
    const layout = layOut(samples(200, 37));
    const boxes = all(layout).map((i) => layout.boxOf(i));
    for (const [i, a] of boxes.entries()) {
      expect(a.x).toBeGreaterThanOrEqual(0);
      expect(a.x + a.width).toBeLessThanOrEqual(848);
      for (const b of boxes.slice(i + 1)) {
        const isApart =
          a.x + a.width <= b.x ||
          b.x + b.width <= a.x ||
          a.y + a.height <= b.y ||
          b.y + b.height <= a.y;
        expect(isApart).toBe(true);
      }
    }
  });

  test("the newest are at the top, from left to right", () => {
    const layout = layOut(samples(4).map((one) => ({ ...one, width: 512, height: 512 })));
    expect(all(layout).map((i) => layout.boxOf(i).x)).toEqual([0, 214, 428, 642]);
    expect(new Set(all(layout).map((i) => layout.boxOf(i).y))).toEqual(new Set([40]));
  });

  test("columns that differ little are filled from left to right", () => {
    const heights = [520, 500, 510, 512, 512, 512, 512, 512];
    const images = samples(8).map((one, i) => ({ ...one, width: 512, height: heights[i] }));
    const layout = layOut(images as SampleImage[]);
    expect([4, 5, 6, 7].map((i) => layout.boxOf(i).x)).toEqual([0, 214, 428, 642]);
  });

  test("a column that is much shorter is filled first", () => {
    const heights = [1024, 512, 1024, 1024, 512];
    const images = samples(5).map((one, i) => ({ ...one, width: 1024, height: heights[i] }));
    expect(layOut(images as SampleImage[]).boxOf(4).x).toBe(214);
  });

  test("no tile is higher than 1.6 of its width, or lower than half", () => {
    const layout = layOut([
      { generation: 1, created: NOON, width: 100, height: 1000 },
      { generation: 2, created: NOON, width: 1000, height: 100 },
    ]);
    expect(all(layout).map((i) => layout.boxOf(i).height)).toEqual([103, 330].sort());
  });
});

test("in a page from right to left the first column is at the right", () => {
  const [ltr, rtl] = [false, true].map((isMirrored) => layOut(samples(9, 4), { isMirrored }));
  for (let i = 0; i < 9; i += 1) {
    const [a, b] = [ltr?.boxOf(i), rtl?.boxOf(i)];
    expect(b).toEqual({ ...a, x: OPTIONS.width - (a?.width ?? 0) - (a?.x ?? 0) });
  }
  expect(rtl?.neighbour(0, "left")).toBe(ltr?.neighbour(0, "right"));
  expect(rtl?.neighbour(4, "right")).toBe(ltr?.neighbour(4, "left"));
  expect(rtl?.neighbour(0, "down")).toBe(ltr?.neighbour(0, "down"));
});

test("squares are in rows", () => {
  const layout = layOut(samples(9), { kind: "squares" });
  expect(layout.boxOf(0)).toEqual({ x: 0, y: 40, width: 206, height: 206 });
  expect(layout.boxOf(5)).toEqual({ x: 214, y: 254, width: 206, height: 206 });
});

test("each day has a section with its images", () => {
  const { items } = layOut(samples(100, 40));
  expect(items.sections.map((one) => [one.from, one.to, one.images])).toEqual([
    [0, 40, 40],
    [40, 80, 40],
    [80, 100, 20],
  ]);
  expect(new Date((items.sections[1] as { day: number }).day).getDate()).toBe(26);
});

test("a past month with few images is one section", () => {
  const images = Array.from({ length: 30 }, (_, i) => ({
    generation: i + 1,
    created: NOON - i * 2 * DAY,
  }));
  const { sections } = new Items(indexOf(images), [], [], NOON);
  const names = sections.map(({ day, isMonth }) => {
    const date = new Date(day);
    return isMonth ? `month ${date.getMonth() + 1}` : date.getDate();
  });
  const days = [27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1];
  expect(names).toEqual([...days, "month 10", "month 9"]);
  expect(sections.at(-2)).toMatchObject({ from: 14, to: 29, images: 15 });
});

describe("what is between two heights", () => {
  test.each([
    [0, 300],
    [1000, 1900],
    [2500, 2501],
    [-500, -1],
    [999_999, 1_000_900],
  ])("%i to %i: as a look at each tile says", (from, to) => {
    const layout = layOut(samples(400, 70));
    const expected = all(layout).filter((i) => {
      const { y, height } = layout.boxOf(i);
      return y < to && y + height > from;
    });
    expect(layout.itemsBetween(from, to)).toEqual(expected);
  });

  test("and in a box", () => {
    const layout = layOut(samples(60));
    const found = layout.itemsIn({ x: 300, y: 200, width: 10, height: 100 });
    expect(found.length).toBeGreaterThan(0);
    for (const i of found) expect(layout.boxOf(i).x).toBe(214);
  });

  test("the sections of the day headers", () => {
    const layout = layOut(samples(100, 10));
    const [first, end] = layout.sectionsBetween(layout.sectionTop(3) + 1, layout.sectionTop(5) + 1);
    expect([first, end]).toEqual([3, 6]);
    expect(layout.sectionAt(layout.sectionTop(4) + 5)).toBe(4);
  });
});

describe("neighbours", () => {
  test("left and right are beside, up and down above one another", () => {
    const layout = layOut(samples(300, 90));
    for (const i of all(layout)) {
      const box = layout.boxOf(i);
      const right = layout.neighbour(i, "right");
      if (box.x < 642 && right !== i + 1 && right >= 0) {
        const other = layout.boxOf(right);
        expect(other.x).toBe(box.x + 214);
      }
      const down = layout.neighbour(i, "down");
      if (down >= 0) {
        expect(layout.boxOf(down).y).toBeGreaterThan(box.y);
        expect(down).toBeGreaterThan(i);
      }
      const up = layout.neighbour(i, "up");
      if (up >= 0) expect(layout.boxOf(up).y).toBeLessThan(box.y);
    }
  });

  test("all images are reached with the right key alone in squares", () => {
    const layout = layOut(samples(50, 13), { kind: "squares" });
    let at = 0;
    const reached = new Set([0]);
    for (let k = 0; k < 100 && at >= 0; k += 1) {
      at = layout.neighbour(at, "right");
      if (at >= 0) reached.add(at);
    }
    expect(reached.size).toBe(50);
  });

  test("down leads into the next day, up back, and at the ends nowhere", () => {
    const layout = layOut(samples(8, 4), { kind: "squares" });
    expect(layout.neighbour(2, "down")).toBe(6);
    expect(layout.neighbour(6, "up")).toBe(2);
    expect(layout.neighbour(2, "up")).toBe(-1);
    expect(layout.neighbour(6, "down")).toBe(-1);
    expect(layout.neighbour(0, "left")).toBe(-1);
    expect(layout.neighbour(7, "right")).toBe(-1);
  });

  test("down into a day with fewer images than columns", () => {
    const images = [...samples(4), { generation: 99, created: NOON - DAY }];
    const layout = layOut(images, { kind: "squares" });
    expect(layout.neighbour(3, "down")).toBe(4);
  });
});

describe("100,000 images", () => {
  const index = largeIndex(100_000);
  const layout = new Layout(new Items(index, [], [], NOON), {
    ...OPTIONS,
    columns: 5,
    width: 1000,
  });

  test("each is placed once", () => {
    expect(layout.placed).toBe(100_000);
    expect(layout.height).toBeGreaterThan(4_000_000);
  });

  test("after a new one, only its day is placed again", () => {
    const fresh = indexOf([{ generation: 500_000, created: NOON + 1000 }]);
    const next = new Layout(new Items(index.merge(fresh), [], [], NOON), layout.options, layout);
    expect(next.placed).toBe(layout.items.sections[0]?.to === undefined ? 0 : 1 + 145);
    for (const i of [1000, 50_000, 99_999]) {
      const [before, after] = [layout.boxOf(i), next.boxOf(i + 1)];
      expect(after.x).toBe(before.x);
      expect(after.y - before.y).toBe(next.height - layout.height);
    }
  });

  test("with another width, all are", () => {
    const next = new Layout(layout.items, { ...layout.options, width: 900 }, layout);
    expect(next.placed).toBe(100_000);
  });

  test("what is on a screen in the middle is found", () => {
    const middle = layout.height / 2;
    const found = layout.itemsBetween(middle, middle + 900);
    expect(found.length).toBeGreaterThan(15);
    expect(found.length).toBeLessThan(60);
  });
});
