import { beforeEach, expect, test, vi } from "vitest";

import { createApi } from "./api/client";
import type { JobView } from "./api/schema";
import { fractionOf, isExpected, isLive, isRunning, JobStore, secondsLeft } from "./jobs";

const NOON = "2026-11-05T12:00:00Z";
let server: Map<string, JobView>;
let requests: string[];
let isDown: boolean;
/** Runs before an answer is sent. */
let meanwhile: (url: URL) => Promise<void> | void;

function job(id: string, more: Partial<JobView> = {}): JobView {
  return {
    id,
    kind: "image",
    name: `prompt ${id}`,
    state: "queued",
    parent: null,
    number: 0,
    pool: "mock",
    backend: null,
    worker: null,
    priority: 0,
    caller: "",
    created: NOON,
    due: NOON,
    started: null,
    ended: null,
    after: null,
    attempt: 0,
    failures: 0,
    position: null,
    expected_start: null,
    expected_end: null,
    progress: null,
    counts: null,
    error: null,
    ...more,
  } as JobView;
}

function add(...jobs: JobView[]): void {
  for (const one of jobs) server.set(one.id, one);
}

async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url);
  requests.push(url.pathname + url.search);
  if (isDown) throw new TypeError("down");
  const id = url.pathname.split("/jobs/")[1];
  if (id) {
    const found = server.get(id);
    await meanwhile(url);
    return found ? Response.json(found) : Response.json({ detail: "gone" }, { status: 404 });
  }
  const states = url.searchParams.getAll("state");
  const parent = url.searchParams.get("parent");
  const jobs = [...server.values()].filter(
    (one) => states.includes(one.state) && one.parent === parent,
  );
  await meanwhile(url);
  return Response.json({ jobs, after: null });
}

function open(): JobStore {
  const api = createApi(new URL("http://host/"), answer as typeof fetch);
  return new JobStore(api, () => new Date(NOON));
}

function state(id: string) {
  return { seq: 1, job: id, at: NOON, kind: "state" as const, data: {} };
}

function ids(jobs: JobView[]): string[] {
  return jobs.map((one) => one.id);
}

beforeEach(() => {
  server = new Map();
  requests = [];
  isDown = false;
  meanwhile = () => undefined;
});

test("it reads what waits, runs and ended today, and no plain job", async () => {
  add(
    job("b", { created: "2026-11-05T11:00:00Z" }),
    job("a", { state: "running", started: NOON }),
    job("old", { state: "done", ended: "2026-11-03T11:00:00Z" }),
    job("new", { state: "failed", ended: "2026-11-05T11:59:00Z" }),
    { ...job("p", { state: "running" }), kind: "plain" } as unknown as JobView,
  );
  const store = open();
  expect(store.isLoaded).toBe(false);
  await store.resync();
  expect([store.isLoaded, ids(store.listLive()), ids(store.listEnded())]).toEqual([
    true,
    ["a", "b"],
    ["new"],
  ]);
});

test("of a parent it reads the jobs too, those of its parents as well, and its failures", async () => {
  const counts = { queued: 1, running: 1, failed: 1 } as JobView["counts"];
  add(
    job("top", { kind: "batch", counts }),
    job("mid", { kind: "request", parent: "top", counts: { queued: 1 } as JobView["counts"] }),
    job("deep", { parent: "mid" }),
    job("run", { parent: "top", state: "running", started: NOON, number: 1 }),
    job("bad", { parent: "top", state: "failed", number: 2, ended: NOON }),
    job("good", { parent: "top", state: "done", number: 3, ended: NOON }),
  );
  const store = open();
  await store.resync();
  expect(ids(store.listLive())).toEqual(["run", "deep"]);
  expect(ids(store.listTop())).toEqual(["top"]);
  expect(ids(store.listChildren("top"))).toEqual(["mid", "run", "bad"]);
  expect(ids(store.listEnded())).toEqual([]);
});

test("a job that was submitted elsewhere appears with its jobs", async () => {
  const store = open();
  await store.resync();
  add(job("top", { kind: "request", counts: { queued: 2 } as JobView["counts"] }));
  add(job("c1", { parent: "top" }), job("c2", { parent: "top", number: 1 }));
  store.receive(state("top"));
  await vi.waitFor(() => expect(ids(store.listLive())).toEqual(["c1", "c2"]));
});

test("when a job of a parent ends, the counts of the parent are read, once for all", async () => {
  const store = open();
  add(job("top", { kind: "request", counts: { queued: 2 } as JobView["counts"] }));
  add(job("c1", { parent: "top" }), job("c2", { parent: "top", number: 1 }));
  await store.resync();
  add(job("top", { kind: "request", counts: { done: 2 } as JobView["counts"] }));
  for (const id of ["c1", "c2"]) {
    add(job(id, { parent: "top", state: "done", ended: NOON }));
    store.receive(state(id));
  }
  requests = [];
  await vi.waitFor(() => expect(store.jobs.get("top")?.counts).toEqual({ done: 2 }));
  expect(requests.filter((one) => one.endsWith("/top"))).toHaveLength(1);
  expect(store.listLive()).toEqual([]);
});

test("many changes at once are read in one list", async () => {
  const store = open();
  for (let number = 0; number < 100; number += 1) add(job(`j${number}`, { number }));
  for (const id of server.keys()) store.receive(state(id));
  await vi.waitFor(() => expect(store.listLive()).toHaveLength(100));
  expect(requests).toHaveLength(2);
});

test("progress needs no request, and none changes a job that has ended", async () => {
  const store = open();
  add(job("a", { state: "running", started: NOON }));
  await store.resync();
  requests = [];
  const changes = vi.fn();
  store.subscribe(changes);
  const progress = { seq: 2, job: "a", at: NOON, kind: "progress" as const };
  store.receive({ ...progress, data: { stage: "running", step: 3, steps: 8, fraction: 0.4 } });
  store.receivePreview({ job: "a", image: "data:x" });
  expect(fractionOf(store.jobs.get("a") as JobView)).toBe(0.4);
  expect([requests.length, changes.mock.calls.length, store.previews.get("a")]).toEqual([
    0,
    2,
    "data:x",
  ]);
  add(job("a", { state: "done", ended: NOON }));
  store.receive(state("a"));
  await vi.waitFor(() => expect(store.listLive()).toEqual([]));
  store.receive({ ...progress, data: { fraction: 0.1 } });
  store.receivePreview({ job: "a", image: "data:late" });
  expect([store.jobs.get("a")?.progress, store.previews.size]).toEqual([null, 0]);
});

test("a list that was read before an event does not undo it", async () => {
  const store = open();
  add(job("a"));
  await store.resync();
  meanwhile = async (url) => {
    if (url.pathname.endsWith("/a") || !url.search.includes("queued")) return;
    meanwhile = () => undefined;
    add(job("a", { state: "done", ended: NOON }));
    store.receive(state("a"));
    await vi.waitFor(() => expect(store.jobs.get("a")?.state).toBe("done"));
  };
  await store.resync();
  expect(store.jobs.get("a")?.state).toBe("done");
});

test("what is gone from the server is gone here, also after the connection was away", async () => {
  const store = open();
  add(job("a"), job("b"));
  await store.resync();
  isDown = true;
  await expect(store.resync()).rejects.toThrow("does not answer");
  expect(ids(store.listLive())).toEqual(["a", "b"]);
  isDown = false;
  server.delete("a");
  await store.resync();
  expect(ids(store.listLive())).toEqual(["b"]);
});

test("two calls to read everything share the work, and the second one sees what came late", async () => {
  const store = open();
  meanwhile = () => {
    meanwhile = () => undefined;
    add(job("late"));
  };
  await Promise.all([store.resync(), store.resync()]);
  expect(ids(store.listLive())).toEqual(["late"]);
});

test("a job stays when the server is away amid its change, and goes when it is deleted", async () => {
  const store = open();
  add(job("a"), job("b"));
  await store.resync();
  server.delete("b");
  store.receive(state("b"));
  await vi.waitFor(() => expect(ids(store.listLive())).toEqual(["a"]));
  isDown = true;
  requests = [];
  store.receive(state("a"));
  await vi.waitFor(() => expect(requests).toEqual(["/api/v1/jobs/a"]));
  await new Promise((resolve) => setTimeout(resolve));
  expect(ids(store.listLive())).toEqual(["a"]);
});

test("of the jobs that are done it keeps the latest, and all that failed", async () => {
  const store = open();
  const at = (n: number): string => new Date(Date.parse(NOON) + n * 1000).toISOString();
  for (let n = 0; n < 250; n += 1) {
    store.put(job(`done${n}`, { state: "done", ended: at(n) }));
    if (n % 50 === 0) store.put(job(`bad${n}`, { state: "failed", ended: at(n) }));
  }
  add(job("new"));
  store.receive(state("new"));
  await vi.waitFor(() => expect(store.jobs.size).toBe(106));
  expect([store.jobs.has("done150"), store.jobs.has("done149")]).toEqual([true, false]);
  expect(store.jobs.has("bad0")).toBe(true);
});

const FOX = { prompt: "a fox", backend: "mock", width: 768, height: 512 };

test("an expected job is shown at once, and becomes the one of the server, none twice", async () => {
  const store = open();
  const expectation = store.expect({ ...FOX, count: 2 });
  expect(store.listLive()).toMatchObject([{ name: "a fox", width: 768, image_count: 2 }]);
  await store.resync();
  expect(store.listLive()).toHaveLength(1);
  add(job("top", { kind: "request", counts: { queued: 2 } as JobView["counts"] }));
  add(job("c1", { parent: "top", state: "running", started: NOON }));
  add(job("c2", { parent: "top", number: 1 }));
  store.receive(state("top"));
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(store.listLive().map(isExpected)).toEqual([true]);
  expectation.confirm({ job: "top", jobs: ["c1", "c2"], warnings: [] });
  expect(store.listLive()).toMatchObject([
    { id: "c1", state: "queued", width: 768 },
    { id: "c2", parent: "top" },
  ]);
  await vi.waitFor(() => expect(store.listLive()).toMatchObject([{ state: "running" }, {}]));
  await vi.waitFor(() => expect(ids(store.listTop())).toEqual(["top"]));
});

test.each([
  [4, ["a", "b", "c", "d"], [1, 1, 1, 1]],
  [4, ["a"], [4]],
  [5, ["a", "b"], [3, 2]],
])("%i images in jobs %j", (count, names, counts) => {
  const store = open();
  store.expect({ ...FOX, count }).confirm({ job: "parent", jobs: names, warnings: [] });
  expect(store.listLive().map((one) => [one.id, one.image_count])).toEqual(
    names.map((id, number) => [id, counts[number]]),
  );
});

test("a refused job vanishes", () => {
  const store = open();
  store.expect(FOX).withdraw();
  expect([store.listLive(), store.listTop()]).toEqual([[], []]);
});

test("what others submitted meanwhile is shown after the answer", async () => {
  const store = open();
  const expectation = store.expect(FOX);
  add(job("other"));
  store.receive(state("other"));
  await new Promise((resolve) => setTimeout(resolve, 60));
  expectation.withdraw();
  await vi.waitFor(() => expect(ids(store.listLive())).toEqual(["other"]));
});

test("the order is that in which they run, and what is expected comes last", async () => {
  const store = open();
  add(
    job("late", { created: "2026-11-05T12:00:02Z" }),
    job("early", { created: "2026-11-05T12:00:01Z" }),
    job("first", { created: "2026-11-05T12:00:03Z", priority: 5 }),
    job("runs", { created: "2026-11-05T12:00:04Z", state: "running", started: NOON }),
  );
  await store.resync();
  store.expect(FOX);
  expect(ids(store.listLive())).toEqual(["runs", "first", "early", "late", "expected-1"]);
});

test("jobs of one request are in their order, whatever the zone of a moment", async () => {
  add(
    job("b", { number: 1, parent: "p", created: "2026-11-05T13:00:00.100+01:00" }),
    job("a", { number: 0, parent: "p", created: "2026-11-05T12:00:00.100Z" }),
    job("c", { created: "2026-11-05T12:00:00.200Z" }),
    job("runs", { state: "running", started: "2026-11-05T12:00:09.000Z" }),
    job("ran", { state: "running", started: "2026-11-05T12:00:08.000Z" }),
    job("p", { kind: "request", counts: { queued: 2 } as JobView["counts"] }),
  );
  const store = open();
  await store.resync();
  expect(ids(store.listLive())).toEqual(["ran", "runs", "a", "b", "c"]);
});

test.each([
  [{ progress: { fraction: 0.25 }, started: "2026-11-05T11:59:50Z" }, 30],
  [{ progress: { fraction: 0.01 }, started: "2026-11-05T11:59:50Z" }, null],
  [{ started: "2026-11-05T11:59:50Z", expected_end: "2026-11-05T12:00:05Z" }, 5],
  [{}, null],
] as [Partial<JobView>, number | null][])("the time that is left of %j is %s", (change, left) => {
  expect(secondsLeft(job("a", change), Date.parse(NOON))).toBe(left);
});

test("it is settled once the jobs were read or could not be", async () => {
  const store = open();
  const seen: boolean[] = [];
  store.subscribe(() => seen.push(store.isSettled));
  isDown = true;
  await expect(store.resync()).rejects.toThrow("does not answer");
  expect([seen.at(-1), store.isLoaded]).toEqual([true, false]);
});

test("the progress of all counts what is done, and parts of what runs", async () => {
  const store = open();
  expect(store.progress).toBe(0);
  add(
    job("a", { state: "running", progress: { fraction: 0.5 } }),
    job("top", { kind: "grid", counts: { done: 2, queued: 1 } as JobView["counts"] }),
  );
  await store.resync();
  expect(store.progress).toBeCloseTo(2.5 / 4);
  expect(store.numbers).toEqual({ running: 1, waiting: 1 });
});

test("states", () => {
  const counts = { done: 1, failed: 1, queued: 2 } as JobView["counts"];
  expect(fractionOf(job("a", { counts }))).toBe(0.5);
  expect(fractionOf(job("a"))).toBe(null);
  expect(isRunning(job("a", { counts: { running: 1 } as JobView["counts"] }))).toBe(true);
  expect([isRunning(job("a")), isLive(job("a", { state: "lost" }))]).toEqual([false, false]);
});
