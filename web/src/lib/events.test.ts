import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { EventStream, GRACE, HIDDEN, type ServerEvent, SILENCE } from "./events";

class FakeSource extends EventTarget {
  isClosed = false;
  constructor(readonly url: string) {
    super();
  }
  close(): void {
    this.isClosed = true;
  }
  send(kind: string, data: unknown = {}, lastEventId = ""): void {
    const message = new MessageEvent(kind, { data: JSON.stringify(data), lastEventId });
    this.dispatchEvent(message);
  }
  fail(): void {
    this.dispatchEvent(new Event("error"));
  }
}

function start() {
  const sources: FakeSource[] = [];
  const listeners = new Map<string, () => void>();
  const page = { isHidden: false };
  const seen: string[] = [];
  const stream = new EventStream(
    new URL("http://host/base/"),
    {
      event: (event: ServerEvent) => seen.push(`${event.kind} ${event.job}`),
      preview: (preview) => seen.push(`preview ${preview.job}`),
      resync: () => seen.push("resync"),
      lose: () => seen.push("lose"),
    },
    {
      open(url) {
        const source = new FakeSource(url);
        sources.push(source);
        return source as unknown as EventSource;
      },
      addEventListener: (kind, listener) => listeners.set(kind, listener),
      isHidden: () => page.isHidden,
    },
  );
  const last = (): FakeSource => sources.at(-1) as FakeSource;
  const happen = (kind: string): void => listeners.get(kind)?.();
  return { stream, sources, last, happen, page, seen };
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("each connection reads everything, and later ones continue after the last event", () => {
  const { stream, last, seen } = start();
  stream.connect();
  expect(last().url).toBe("http://host/base/api/v1/events");
  last().send("ready", {}, "7");
  last().send("state", { kind: "state", job: "a" }, "8");
  last().send("preview", { job: "a", image: "data:" });
  expect(seen).toEqual(["resync", "state a", "preview a"]);
  last().fail();
  vi.advanceTimersByTime(1000);
  expect(last().url).toBe("http://host/base/api/v1/events?after=8");
  last().send("ready", {}, "8");
  expect(seen.filter((one) => one === "resync")).toHaveLength(2);
  last().send("resync", {}, "20");
  expect(seen.filter((one) => one === "resync")).toHaveLength(3);
});

test("it tries again after longer and longer times, at most 15 seconds", () => {
  const { stream, sources, last } = start();
  stream.connect();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 6; attempt += 1) {
    last().fail();
    const { connection } = stream;
    if (connection.state !== "lost") throw new Error(connection.state);
    waits.push(connection.retryAt - Date.now());
    vi.advanceTimersByTime(connection.retryAt - Date.now());
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 15000, 15000]);
  expect(sources.slice(0, -1).every((source) => source.isClosed)).toBe(true);
  last().send("ready", {}, "1");
  last().fail();
  expect(stream.connection).toMatchObject({ retryAt: Date.now() + 1000 });
});

test("a short interruption is not said, a longer one is from when it began", () => {
  const { stream, last } = start();
  const changes = vi.fn();
  stream.connect();
  last().send("ready", {}, "1");
  stream.subscribe(changes);
  last().fail();
  expect([stream.connection.state, stream.isLost]).toEqual(["lost", false]);
  vi.advanceTimersByTime(1000);
  last().fail();
  changes.mockClear();
  vi.advanceTimersByTime(GRACE - 1000);
  expect(stream.isLost).toBe(true);
  expect(changes).toHaveBeenCalled();
  stream.connect();
  last().send("ready", {}, "1");
  expect(stream.isLost).toBe(false);
});

test("a connection without a sign of life is dead, one with pings is not", () => {
  const { stream, last, sources } = start();
  stream.connect();
  last().send("ready", {}, "1");
  for (let seconds = 0; seconds < 60; seconds += 15) {
    vi.advanceTimersByTime(15_000);
    last().send("ping");
  }
  expect([stream.connection.state, sources.length]).toEqual(["open", 1]);
  vi.advanceTimersByTime(SILENCE);
  expect(stream.connection.state).toBe("lost");
});

test("an attempt that gets no answer ends", () => {
  const { stream } = start();
  stream.connect();
  vi.advanceTimersByTime(10_000);
  expect(stream.connection.state).toBe("lost");
});

test("the browser's word that it is offline counts at once, and that it is online too", () => {
  const { stream, last, happen, sources } = start();
  stream.connect();
  last().send("ready", {}, "1");
  happen("offline");
  expect(stream.connection.state).toBe("lost");
  happen("online");
  expect(sources).toHaveLength(2);
  last().send("ready", {}, "1");
  happen("online");
  expect(sources).toHaveLength(2);
});

test("a hidden page gives its connection back, without a word, and continues when seen", () => {
  const { stream, last, happen, page, sources, seen } = start();
  stream.connect();
  last().send("ready", {}, "5");
  page.isHidden = true;
  happen("visibilitychange");
  for (let seconds = 15; seconds < 60; seconds += 15) {
    vi.advanceTimersByTime(15_000);
    last().send("ping");
  }
  vi.advanceTimersByTime(HIDDEN - 45_000 - 1);
  expect(last().isClosed).toBe(false);
  vi.advanceTimersByTime(1);
  expect(last().isClosed).toBe(true);
  vi.advanceTimersByTime(10 * HIDDEN);
  expect([stream.connection.state, stream.isLost]).toEqual(["open", false]);
  page.isHidden = false;
  happen("visibilitychange");
  expect(last().url).toContain("after=5");
  expect(sources).toHaveLength(2);
  last().send("ready", {}, "5");
  last().send("images_added", { kind: "images_added", job: "b" }, "6");
  expect(seen).toEqual(["resync", "resync", "images_added b"]);
});

test("a request without an answer lets it look, and late words of old connections do nothing", () => {
  const { stream, sources, last, seen } = start();
  stream.connect();
  last().send("ready", {}, "1");
  stream.suspect();
  expect(sources).toHaveLength(2);
  sources[0]?.send("state", { kind: "state", job: "old" }, "9");
  sources[0]?.fail();
  expect(seen).toEqual(["resync"]);
  stream.suspect();
  last().fail();
  stream.suspect();
  expect([seen.at(-1), sources.length]).toEqual(["lose", 3]);
});

test("closed by the page, it stays closed", () => {
  const { stream, sources, happen } = start();
  stream.connect();
  stream.close();
  happen("online");
  vi.advanceTimersByTime(60_000);
  expect(sources).toHaveLength(1);
});
