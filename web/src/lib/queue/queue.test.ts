import { describe, expect, test } from "vitest";

import type { JobView, StatusView } from "../api/schema";
import {
  countsOf,
  describeJob,
  dropIndex,
  errorOf,
  hasFailed,
  moveTo,
  pausedBackends,
  secondsOf,
  sortJobs,
  type Surroundings,
} from "./queue";

const NOW = Date.parse("2026-11-05T12:00:00Z");

function job(id: string, more: Record<string, unknown> = {}): JobView {
  return {
    id,
    name: `prompt ${id}`,
    state: "queued",
    pool: "mock",
    created: "2026-11-05T11:00:00Z",
    due: "2026-11-05T11:00:00Z",
    counts: null,
    progress: null,
    error: null,
    position: null,
    after: null,
    ...more,
  } as unknown as JobView;
}

const AROUND: Surroundings = {
  nameOf: (id) => `name of ${id}`,
  unserved: { away: 2 },
  paused: new Set(["asleep"]),
  cancelled: new Set(["gone"]),
};

test("a job is not scheduled because this clock is behind that of the server", () => {
  const moment = "2026-11-05T12:05:00Z";
  const submitted = job("waits", { created: moment, due: moment });
  expect(sortJobs([submitted], [], NOW)).toMatchObject({ waiting: [submitted], scheduled: [] });
});

test("jobs are in one section each", () => {
  const live = [
    job("runs", { state: "running" }),
    job("part", { counts: { running: 1, queued: 2 } }),
    job("waits"),
    job("held", { state: "held" }),
    job("later", { due: "2026-11-05T18:00:00Z" }),
  ];
  const ended = [
    job("done", { state: "done" }),
    job("failed", { state: "failed" }),
    job("some", { state: "done", counts: { done: 3, failed: 1 } }),
    job("lost", { state: "lost" }),
    job("cancelled", { state: "cancelled" }),
  ];
  const sections = Object.entries(sortJobs(live, ended, NOW));
  expect(
    Object.fromEntries(sections.map(([name, jobs]) => [name, jobs.map((j: JobView) => j.id)])),
  ).toEqual({
    running: ["runs", "part"],
    waiting: ["waits", "held"],
    scheduled: ["later"],
    failed: ["failed", "some", "lost"],
    finished: ["done", "cancelled"],
  });
});

test.each([
  ["c", 0, { first: true }],
  ["c", 1, { behind: "a" }],
  ["a", 1, { behind: "b" }],
  ["a", 9, { behind: "d" }],
  ["d", -3, { first: true }],
  ["b", 1, null],
  ["x", 1, null],
])("moving %s to %i asks for %j", (id, index, move) => {
  const waiting = ["a", "b", "c", "d"].map((one) => job(one));
  expect(moveTo(waiting, id, index)).toEqual(move);
});

test.each([
  [0, 0],
  [60, 0],
  [80, 1],
  [140, 1],
  [180, 2],
  [999, 3],
])("a row dropped at %i has index %i", (y, index) => {
  expect(dropIndex([36, 108, 180, 252], y)).toBe(index);
});

describe("what a row says", () => {
  test.each<[Record<string, unknown>, Record<string, unknown>]>([
    [
      { state: "running", progress: { step: 3, steps: 8 } },
      { key: "queue.step", step: 3, steps: 8 },
    ],
    [
      { state: "running", progress: { image: 2, images: 4 } },
      { key: "queue.image", image: 2, images: 4 },
    ],
    [{ state: "running", progress: { stage: "fetching" } }, { key: "queue.fetching" }],
    [{ state: "running", progress: { stage: "queued" } }, { key: "queue.atEngine" }],
    [
      { state: "running", progress: { fraction: 0.3 } },
      { key: "queue.percent", share: 0.3 },
    ],
    [{ state: "running" }, { key: "queue.runs" }],
    [{ state: "cancelling" }, { key: "queue.cancelling" }],
    [{ id: "gone", state: "running" }, { key: "queue.cancelling" }],
    [{ counts: { done: 9, running: 1, queued: 3 } }, { key: "queue.counts", done: 9, all: 13 }],
    [
      { counts: { queued: 3 }, position: 1 },
      { key: "queue.next", pool: "mock" },
    ],
    [
      { pool: "away", position: 1 },
      { key: "queue.unserved", pool: "away" },
    ],
    [
      { pool: "asleep", position: 1 },
      { key: "queue.paused", pool: "asleep" },
    ],
    [
      { state: "held", after: "b" },
      { key: "queue.after", name: "name of b" },
    ],
    [{ position: 4 }, { key: "queue.position", position: 4, pool: "mock" }],
    [{}, { key: "queue.waits" }],
    [{ state: "done" }, { key: "queue.done" }],
    [{ state: "cancelled" }, { key: "queue.cancelled" }],
    [
      { state: "failed", error: { code: "oom", message: "Out of memory.", remedy: "Less." } },
      { key: "queue.error", text: "Out of memory." },
    ],
    [{ state: "lost" }, { key: "queue.failedUnknown" }],
    [
      { state: "failed", counts: { done: 3, failed: 1, lost: 1 } },
      { key: "queue.failedSome", failed: 2, all: 5 },
    ],
  ])("%j: %j", (more, text) => {
    expect(describeJob(job("a", more), AROUND)).toEqual(text);
  });
});

test("a comparison counts its cells, not its sheet", () => {
  const counts = { done: 3, failed: 1, queued: 1 };
  expect(countsOf(job("a", { kind: "grid", counts }))).toEqual({ done: 4, all: 4 });
  const text = describeJob(job("a", { kind: "grid", state: "done", counts }), AROUND);
  expect(text).toEqual({ key: "queue.failedSome", failed: 1, all: 4 });
});

test("facts of jobs", () => {
  expect(countsOf(job("a"))).toBe(null);
  expect(hasFailed(job("a", { counts: { done: 2 } }))).toBe(false);
  expect(errorOf(job("a", { error: { message: 5 } }))).toBe(null);
  expect(errorOf(job("a", { error: { code: "x", message: "m" } }))).toEqual({
    code: "x",
    message: "m",
    remedy: "",
  });
  const times = { started: "2026-11-05T12:00:00Z", ended: "2026-11-05T12:00:11Z" };
  expect([secondsOf(times), secondsOf({ started: null, ended: times.ended })]).toEqual([11, null]);
});

test("backends whose engine is paused", () => {
  const status = {
    engines: [
      { name: "gpu", backends: ["a", "b"], paused: { until: "", error: null } },
      { name: "cpu", backends: ["c"], paused: null },
    ],
  } as unknown as StatusView;
  expect(pausedBackends(status)).toEqual(new Set(["a", "b"]));
});
