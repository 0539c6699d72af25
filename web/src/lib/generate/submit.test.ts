import { expect, test, vi } from "vitest";

import { createApi } from "../api/client";
import type { JobView } from "../api/schema";
import { JobStore } from "../jobs";
import { type Order, Submitter } from "./submit";

const order: Order = { request: { prompt: "fog", seed: 5, count: 2 }, backend: "lab", size: null };

/** A server whose connections fail as given: "" works, "before" the request, "after" it. */
function make(failures: string[] = []) {
  const received = new Map<string, Record<string, unknown>>();
  const keys: string[] = [];
  const ended = new Set<string>();
  const api = createApi(new URL("http://lab/"), async (input) => {
    const request = input as Request;
    if (request.method === "GET") {
      const id = new URL(request.url).pathname.split("/").at(-1) ?? "";
      const state = ended.has(id) ? "done" : "queued";
      return Response.json({ id, state, kind: "single", counts: null });
    }
    const failure = failures.shift() ?? "";
    if (failure === "before") throw new TypeError("Failed to fetch");
    const key = request.headers.get("idempotency-key") ?? "";
    keys.push(key);
    if (!received.has(key)) received.set(key, (await request.json()) as Record<string, unknown>);
    if (failure === "after") throw new TypeError("Failed to fetch");
    const job = `job-${[...received.keys()].indexOf(key)}`;
    return Response.json({ job, jobs: [job], warnings: [] }, { status: 202 });
  });
  const jobs = new JobStore(api);
  return {
    submitter: new Submitter(api, jobs, async () => undefined),
    jobs,
    received,
    keys,
    ended,
  };
}

test("each order has a key of its own; it is shown at once", async () => {
  const { submitter, jobs, received } = make();
  const sent = submitter.submit(order);
  expect(jobs.listLive()).toHaveLength(1);
  expect(submitter.pending).toBe(1);
  await Promise.all([sent, submitter.submit(order)]);
  expect(received.size).toBe(2);
  expect([...received.values()][0]).toMatchObject({ request: order.request, backend: "lab" });
  expect(submitter.pending).toBe(0);
});

test.each([[["before"]], [["after"]], [["after", "before"]]])(
  "after a network failure (%s) the same order is sent again, as one job",
  async (failures) => {
    const { submitter, received, keys } = make(failures);
    await submitter.submit(order);
    expect(received.size).toBe(1);
    expect(new Set(keys).size).toBe(1);
  },
);

test("an order that never got an answer has the same key when the user gives it again", async () => {
  const { submitter, jobs, received } = make(["after", "before", "before"]);
  await expect(submitter.submit(order)).rejects.toMatchObject({ status: 0 });
  expect(jobs.listLive()).toHaveLength(0);
  await submitter.submit(order);
  expect(received.size).toBe(1);
  await submitter.submit(order);
  expect(received.size).toBe(2);
});

test("a repeated order keeps two rounds in line, whose seeds go on, until it is stopped", async () => {
  const { submitter, jobs, received, ended } = make();
  const end = async (id: string): Promise<void> => {
    ended.add(id);
    jobs.receive({ seq: 1, job: id, at: "", kind: "state", data: {} });
    await vi.waitFor(() => expect(jobs.jobs.get(id)?.state).toBe("done"));
  };
  await submitter.start(order);
  const seeds = (): unknown[] =>
    [...received.values()].map((one) => (one.request as { seed: number }).seed);
  expect(seeds()).toEqual([5, 7]);
  await end("job-0");
  await vi.waitFor(() => expect(seeds()).toEqual([5, 7, 9]));
  expect(submitter.repeated?.images).toBe(6);
  submitter.stop();
  await end("job-1");
  expect(seeds()).toHaveLength(3);
});

test("a repeated order stops after a failure, and says why", async () => {
  const { submitter, jobs, received } = make();
  await submitter.start(order);
  const failed = { ...(jobs.jobs.get("job-0") as JobView), state: "failed" as const };
  jobs.jobs.set("job-0", { ...failed, error: { message: "Out of memory." } });
  jobs.receivePreview({ job: "job-1", image: "" });
  await vi.waitFor(() => expect(submitter.repeated).toBeNull());
  expect(submitter.repeatError?.detail).toBe("Out of memory.");
  expect(received.size).toBe(2);
});
