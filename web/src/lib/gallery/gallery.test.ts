import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { Client } from "../api/client";
import type { ServerEvent } from "../events";
import { Gallery } from "./gallery";
import { bufferOf, type SampleImage, uidOf } from "./index_samples";

/** A server with these images; those of `hidden` do not match the filters. */
class FakeServer {
  images: SampleImage[] = [1, 2, 3].map((n) => ({ generation: n, created: 1000 * n }));
  hidden = new Set<string>();
  queries: string[] = [];
  isDown = false;

  readonly fetch = async (input: RequestInfo | URL): Promise<Response> => {
    const { searchParams } = new URL(String(input));
    this.queries.push(searchParams.get("ids") ?? "all");
    if (this.isDown) throw new Error("down");
    const ids = searchParams.get("ids")?.split(",");
    const matching = this.images.filter((one) => {
      const uid = uidOf(one.generation, one.number);
      return !this.hidden.has(uid) && (!ids || ids.includes(uid));
    });
    return new Response(bufferOf(matching));
  };

  readonly api = {
    PATCH: async () => ({ data: {} }),
    POST: async () => ({ data: {} }),
  } as unknown as Client;
}

function event(kind: ServerEvent["kind"], ...uids: string[]): ServerEvent {
  return { seq: 1, job: "", at: "", kind, data: { images: uids } };
}

async function open() {
  const server = new FakeServer();
  const gallery = new Gallery(server.api, new URL("http://host/"), server.fetch);
  await gallery.refresh();
  server.queries = [];
  const settle = () => vi.advanceTimersByTimeAsync(50);
  const uids = () => Array.from({ length: gallery.index.length }, (_, i) => gallery.index.uid(i));
  return { server, gallery, settle, uids };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("events", () => {
  test("a new image is asked for alone and put in its place", async () => {
    const { server, gallery, settle, uids } = await open();
    server.images.push({ generation: 9, created: 9000 });
    gallery.receive(event("images_added", uidOf(9)));
    await settle();
    expect(uids()).toEqual([9, 3, 2, 1].map((n) => uidOf(n)));
    expect(server.queries).toEqual([uidOf(9)]);
    expect(gallery.takeArrivals()).toEqual([uidOf(9)]);
    expect(gallery.takeArrivals()).toEqual([]);
  });

  test("images of several events are asked for together", async () => {
    const { server, gallery, settle } = await open();
    for (const n of [7, 8]) server.images.push({ generation: n, created: 1000 * n });
    for (const n of [7, 8]) gallery.receive(event("images_added", uidOf(n)));
    await settle();
    expect(server.queries).toEqual([`${uidOf(7)},${uidOf(8)}`]);
  });

  test("a new image that does not match the filters is not shown, but known", async () => {
    const { server, gallery, settle, uids } = await open();
    server.images.push({ generation: 9, created: 9000 });
    server.hidden.add(uidOf(9));
    gallery.receive(event("images_added", uidOf(9)));
    await settle();
    expect(uids()).toHaveLength(3);
    expect(gallery.takeArrivals()).toEqual([]);
    expect(gallery.isKnown(uidOf(9).slice(0, -2))).toBe(true);
  });

  test("a changed image has its new marks, or is gone if it matches no more", async () => {
    const { server, gallery, settle, uids } = await open();
    server.images[1] = { generation: 2, created: 2000, rating: 4 };
    server.hidden.add(uidOf(3));
    gallery.receive(event("images_changed", uidOf(2), uidOf(3)));
    await settle();
    expect(uids()).toEqual([uidOf(2), uidOf(1)]);
    expect(gallery.index.at(0).rating).toBe(4);
    expect(gallery.takeArrivals()).toEqual([]);
  });

  test("a removed image is gone", async () => {
    const { server, gallery, settle, uids } = await open();
    server.images.splice(0, 1);
    gallery.receive(event("images_removed", uidOf(1)));
    await settle();
    expect(uids()).toEqual([uidOf(3), uidOf(2)]);
  });

  test("after very many changes the index is read as a whole", async () => {
    const { server, gallery, settle } = await open();
    const many = Array.from({ length: 300 }, (_, n) => uidOf(n + 100));
    gallery.receive(event("images_changed", ...many));
    await settle();
    expect(server.queries).toEqual(["all"]);
  });

  test("what was asked with older filters is not shown", async () => {
    const { server, gallery, uids } = await open();
    server.images.push({ generation: 9, created: 9000 });
    gallery.receive(event("images_added", uidOf(9)));
    await vi.advanceTimersByTimeAsync(10);
    server.hidden.add(uidOf(9));
    await gallery.setFilters({ rating: "5" });
    await vi.advanceTimersByTimeAsync(50);
    expect(uids()).toHaveLength(3);
  });
});

test("a rating is shown before the server has answered", async () => {
  const { server, gallery, settle } = await open();
  const rated = gallery.rate([uidOf(3)], 5);
  expect(gallery.index.at(0).rating).toBe(5);
  server.images[2] = { generation: 3, created: 3000, rating: 5 };
  await settle();
  await rated;
  expect(gallery.index.at(0).rating).toBe(5);
});

test("a rating that the server refuses is taken back", async () => {
  const { server, gallery, settle } = await open();
  Object.assign(server.api, { PATCH: async () => Promise.reject(new Error("refused")) });
  const rated = gallery.rate([uidOf(3)], 5).catch((error: Error) => error.message);
  await settle();
  expect(await rated).toBe("refused");
  expect(gallery.index.at(0).rating).toBe(0);
});

test("a star is taken from all only if all have one", async () => {
  const { server, gallery, settle } = await open();
  server.images[0] = { generation: 1, created: 1000, rating: 3 };
  await gallery.refresh();
  const all = [1, 2, 3].map((n) => uidOf(n));
  void gallery.toggleStar(all);
  expect([0, 1, 2].map((i) => gallery.index.at(i).rating)).toEqual([5, 5, 5]);
  void gallery.toggleStar(all);
  expect([0, 1, 2].map((i) => gallery.index.at(i).rating)).toEqual([0, 0, 0]);
  await settle();
});

test("without an answer the old images stay, and the error says why", async () => {
  const { server, gallery, uids } = await open();
  server.isDown = true;
  await gallery.refresh();
  expect(uids()).toHaveLength(3);
  expect(gallery.error?.code).toBe("unreachable");
});
