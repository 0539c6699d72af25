import { expect, test } from "vitest";

import type { JobView } from "../api/schema";
import { ImageIndex } from "./image_index";
import { indexOf, uidOf } from "./index_samples";
import { listJobTiles } from "./job_tiles";

const NOW = Date.parse("2026-11-27T12:00:00Z");

function job(number: number, change: Partial<JobView> = {}): JobView {
  return {
    id: `job${number}`,
    kind: "image",
    state: "queued",
    generation: uidOf(number).slice(0, -2),
    width: 1024,
    height: 512,
    image_count: 1,
    number: 0,
    parent: null,
    priority: 0,
    position: number,
    started: null,
    ended: null,
    due: "2026-11-27T11:59:00Z",
    created: `2026-11-27T11:59:${String(number).padStart(2, "0")}Z`,
    ...change,
  } as JobView;
}

function started(seconds: number): Partial<JobView> {
  const moment = new Date(NOW - seconds * 1000).toISOString();
  return { state: "running", started: moment, position: null };
}

function list(jobs: JobView[], index = ImageIndex.empty(), known: string[] = [], isNew = true) {
  const isKnown = (id: string): boolean => known.includes(id);
  return listJobTiles(jobs, { index, isKnown, wasLive: () => isNew, now: NOW });
}

test("the job that ends first is last, before the images", () => {
  const tiles = list([job(2), job(1), job(7, started(5)), job(6, started(20))]);
  expect(tiles.map((tile) => [tile.job.id, tile.kind])).toEqual([
    ["job2", "waiting"],
    ["job1", "waiting"],
    ["job7", "running"],
    ["job6", "running"],
  ]);
  expect(tiles.map((tile) => tile.time)).toEqual([NOW, NOW, NOW - 5000, NOW - 20_000]);
  expect(tiles[0]?.ratio).toBe(0.5);
});

test("a job of four images has four tiles, with the ids of its images", () => {
  const tiles = list([job(1, { image_count: 4 })]);
  expect(tiles.map((tile) => tile.key)).toEqual([3, 2, 1, 0].map((n) => uidOf(1, n)));
});

test("images that are here have no tile", () => {
  const index = indexOf([{ generation: 1, number: 1, created: NOW }]);
  const tiles = list([job(1, { image_count: 2, ...started(3) })], index);
  expect(tiles.map((tile) => tile.key)).toEqual([uidOf(1)]);
});

test("a done job keeps its tile until its images are known", () => {
  const done = job(1, { ...started(3), state: "done", ended: new Date(NOW).toISOString() });
  expect(list([done])).toHaveLength(1);
  expect(list([done], ImageIndex.empty(), [done.generation])).toEqual([]);
  const longAgo = { ...done, ended: new Date(NOW - 10_000).toISOString() };
  expect(list([longAgo])).toEqual([]);
  const endedBefore = list([done], ImageIndex.empty(), [], false);
  expect(endedBefore).toEqual([]);
});

test("a failed job has one tile, a cancelled one none", () => {
  const failed = job(1, { ...started(3), state: "failed", image_count: 4 });
  expect(list([failed, job(2, { state: "cancelled" })])).toMatchObject([{ kind: "failed" }]);
});

test("parents, sheets and jobs for later have none", () => {
  const later = { due: "2026-11-28T11:59:00Z" };
  expect(list([job(1, { image_count: 0 }), job(2, { kind: "sheet" }), job(3, later)])).toEqual([]);
});

test("many images that wait are one tile, before those that are next", () => {
  const tiles = list(Array.from({ length: 30 }, (_, n) => job(n + 1)));
  expect(tiles).toHaveLength(9);
  expect(tiles[0]).toMatchObject({ kind: "more", count: 22 });
  expect(tiles.at(-1)?.job.id).toBe("job1");
});

test("a failed cell is shown by its comparison alone, once its parents are known", () => {
  const grid = job(1, { kind: "grid", image_count: 0 });
  const failed: Partial<JobView> = { ...started(3), state: "failed" };
  const request = job(2, { kind: "request", parent: "job1", image_count: 0 });
  const cells = [job(3, { ...failed, parent: "job1" }), job(4, { ...failed, parent: "job2" })];
  const other = job(6, { kind: "request", image_count: 0 });
  expect(list([grid, request, ...cells])).toEqual([]);
  expect(list([job(5, { ...failed, parent: "job6" })])).toEqual([]);
  expect(list([job(5, { ...failed, parent: "job6" }), other])).toHaveLength(1);
  const running = job(7, { ...started(3), parent: "job1" });
  expect(list([grid, running])).toHaveLength(1);
});
