import { expect, test, vi } from "vitest";

import type { Client } from "./api/client";
import type { JobView } from "./api/schema";
import { JobStore } from "./jobs";

/** A client that answers with these jobs; `reads` holds the ids that were asked for. */
function clientOf(jobs: Record<string, Partial<JobView>>) {
  const reads: string[] = [];
  const GET = vi.fn(async (_: string, { params }: { params: { path: { id: string } } }) => {
    const { id } = params.path;
    reads.push(id);
    if (!(id in jobs)) throw new Error("not found");
    return { data: { id, created: "2026-11-01T00:00:00Z", number: 0, counts: null, ...jobs[id] } };
  });
  return { api: { GET } as unknown as Client, reads };
}

const FOX = { prompt: "a fox", backend: "mock", width: 768, height: 512 };

test("an expected job is shown at once, and becomes the one of the server", async () => {
  const running = { state: "running", started: "2026-11-01T00:00:01Z" } as const;
  const { api, reads } = clientOf({ abc: running });
  const store = new JobStore(api);
  const expectation = store.expect(FOX);
  expect(store.listLive()).toMatchObject([{ name: "a fox", width: 768, image_count: 1 }]);
  expectation.confirm({ job: "abc", jobs: ["abc"], warnings: [] });
  expect(store.listLive()).toMatchObject([{ id: "abc", state: "queued", width: 768 }]);
  await vi.waitFor(() => expect(store.listLive()).toMatchObject([running]));
  expect(reads).toEqual(["abc"]);
});

test.each([
  [4, ["a", "b", "c", "d"], [1, 1, 1, 1]],
  [4, ["a"], [4]],
  [5, ["a", "b"], [3, 2]],
])("%i images in jobs %j", (count, ids, counts) => {
  const { api } = clientOf({});
  const store = new JobStore(api);
  store.expect({ ...FOX, count }).confirm({ job: "parent", jobs: ids, warnings: [] });
  expect(store.listLive().map((job) => [job.id, job.image_count])).toEqual(
    ids.map((id, i) => [id, counts[i]]),
  );
});

test("a refused job vanishes", () => {
  const store = new JobStore(clientOf({}).api);
  store.expect(FOX).withdraw();
  expect(store.listLive()).toEqual([]);
});

test("what an event has said before the answer stays", async () => {
  const { api } = clientOf({ abc: { state: "running", name: "read" } });
  const store = new JobStore(api);
  const expectation = store.expect(FOX);
  store.receive({ seq: 1, job: "abc", at: "", kind: "state", data: {} });
  await vi.waitFor(() => expect(store.jobs.has("abc")).toBe(true));
  expectation.confirm({ job: "abc", jobs: ["abc"], warnings: [] });
  expect(store.listLive()).toMatchObject([{ id: "abc", name: "read" }]);
});
