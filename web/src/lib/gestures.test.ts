import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { type GestureHandlers, GestureRecognizer, type PointerSample } from "./gestures";

const WIDTH = 390;

function sample(x: number, y: number, time: number, more: Partial<PointerSample> = {}) {
  return {
    pointerId: 1,
    pointerType: "touch",
    clientX: x,
    clientY: y,
    timeStamp: time,
    ...more,
  };
}

/** A recognizer, and the names of the gestures that it reported with their values. */
function record(names: (keyof GestureHandlers)[] = []) {
  const seen: [string, unknown][] = [];
  const all = ["tap", "longPress", "drag", "dragEnd", "swipe", "pinch", "pinchEnd", ...names];
  const handlers = Object.fromEntries(
    all.map((name) => [name, (value: unknown) => seen.push([name, value])]),
  ) as GestureHandlers;
  const recognizer = new GestureRecognizer(handlers, { width: () => WIDTH });
  return { recognizer, seen, of: (name: string) => seen.filter(([one]) => one === name) };
}

/** Move a pointer from a point to another in ten steps and lift it. */
function stroke(
  recognizer: GestureRecognizer,
  from: [number, number],
  to: [number, number],
  milliseconds: number,
  more: Partial<PointerSample> = {},
): void {
  recognizer.down(sample(...from, 0, more));
  for (let i = 1; i <= 10; i += 1) {
    const x = from[0] + ((to[0] - from[0]) * i) / 10;
    const y = from[1] + ((to[1] - from[1]) * i) / 10;
    recognizer.move(sample(x, y, (milliseconds * i) / 10, more));
  }
  recognizer.up(sample(...to, milliseconds, more));
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("taps", () => {
  test("a tap is reported at once where nobody asks for double taps", () => {
    const { recognizer, seen } = record();
    recognizer.down(sample(100, 200, 0));
    recognizer.up(sample(102, 201, 80));
    expect(seen).toEqual([["tap", { x: 102, y: 201, pointerType: "touch" }]]);
  });

  test("two taps close together are a double tap and no tap", () => {
    const { recognizer, seen } = record(["doubleTap"]);
    for (const time of [0, 150]) {
      recognizer.down(sample(100, 200, time));
      recognizer.up(sample(100, 200, time + 50));
    }
    vi.runAllTimers();
    expect(seen.map(([name]) => name)).toEqual(["doubleTap"]);
  });

  test("with double taps, a tap is reported when no second one follows", () => {
    const { recognizer, seen } = record(["doubleTap"]);
    recognizer.down(sample(100, 200, 0));
    recognizer.up(sample(100, 200, 50));
    expect(seen).toEqual([]);
    vi.advanceTimersByTime(300);
    expect(seen.map(([name]) => name)).toEqual(["tap"]);
  });

  test("taps at two places are two taps", () => {
    const { recognizer, of } = record(["doubleTap"]);
    recognizer.down(sample(100, 200, 0));
    recognizer.up(sample(100, 200, 50));
    recognizer.down(sample(300, 500, 120));
    recognizer.up(sample(300, 500, 170));
    vi.runAllTimers();
    expect(of("doubleTap")).toEqual([]);
  });
});

describe("long press", () => {
  test("it is reported while the finger is down, and no tap follows", () => {
    const { recognizer, seen } = record();
    recognizer.down(sample(100, 200, 0));
    vi.advanceTimersByTime(499);
    expect(seen).toEqual([]);
    vi.advanceTimersByTime(1);
    recognizer.move(sample(160, 200, 600));
    recognizer.up(sample(160, 200, 700));
    expect(seen.map(([name]) => name)).toEqual(["longPress"]);
  });

  test.each([
    ["moves", (one: GestureRecognizer) => one.move(sample(100, 220, 200))],
    ["is lifted", (one: GestureRecognizer) => one.up(sample(100, 200, 200))],
    ["scrolls", (one: GestureRecognizer) => one.cancel(sample(100, 200, 200))],
  ])("there is none if the finger %s before", (_, act) => {
    const { recognizer, of } = record();
    recognizer.down(sample(100, 200, 0));
    vi.advanceTimersByTime(200);
    act(recognizer);
    vi.runAllTimers();
    expect(of("longPress")).toEqual([]);
  });
});

describe("drag and swipe", () => {
  test("a drag reports each step and its whole way", () => {
    const { recognizer, of } = record();
    stroke(recognizer, [100, 100], [160, 100], 2000);
    const drags = of("drag").map(([, drag]) => drag as { dx: number; totalX: number });
    expect(drags.reduce((sum, drag) => sum + drag.dx, 0)).toBe(60);
    expect(drags.at(-1)?.totalX).toBe(60);
    expect(of("tap")).toEqual([]);
    expect(of("swipe")).toEqual([]);
  });

  test.each([
    ["left", [300, 400], [150, 410]],
    ["right", [100, 400], [250, 390]],
    ["up", [200, 600], [210, 450]],
    ["down", [200, 200], [190, 350]],
  ] as const)("a quick stroke is a swipe %s", (direction, from, to) => {
    const { recognizer, of } = record();
    stroke(recognizer, [...from], [...to], 150);
    expect(of("swipe")).toEqual([["swipe", direction]]);
  });

  test("a long slow stroke is a swipe too, a short slow one is not", () => {
    const long = record();
    stroke(long.recognizer, [300, 400], [150, 400], 1500);
    expect(long.of("swipe")).toHaveLength(1);
    const short = record();
    stroke(short.recognizer, [300, 400], [220, 400], 1500);
    expect(short.of("swipe")).toHaveLength(0);
  });

  test("a stroke that comes back is no swipe", () => {
    const { recognizer, of } = record();
    recognizer.down(sample(300, 400, 0));
    recognizer.move(sample(100, 400, 300));
    recognizer.move(sample(140, 400, 360));
    recognizer.up(sample(170, 400, 400));
    expect(of("swipe")).toEqual([]);
  });

  test("a slanted stroke has no direction", () => {
    const { recognizer, of } = record();
    stroke(recognizer, [100, 100], [200, 190], 150);
    expect(of("swipe")).toEqual([]);
  });

  test.each([10, WIDTH - 10])("the browser has those that start at the edge, x = %i", (x) => {
    const { recognizer, seen } = record();
    stroke(recognizer, [x, 400], [x < 100 ? 250 : 150, 400], 150);
    expect(seen).toEqual([]);
  });

  test("a mouse drags but does not swipe, and starts anywhere", () => {
    const { recognizer, of } = record();
    stroke(recognizer, [5, 400], [205, 400], 150, { pointerType: "mouse" });
    expect(of("dragEnd")).toHaveLength(1);
    expect(of("swipe")).toEqual([]);
  });

  test("a drag that the browser takes over ends as cancelled", () => {
    const { recognizer, of } = record();
    recognizer.down(sample(100, 100, 0));
    recognizer.move(sample(100, 150, 50));
    recognizer.cancel(sample(100, 150, 60));
    expect(of("dragEnd")).toEqual([["dragEnd", expect.objectContaining({ isCancelled: true })]]);
    expect(of("swipe")).toEqual([]);
  });
});

describe("pinch", () => {
  function pinch() {
    const recorded = record();
    const { recognizer } = recorded;
    recognizer.down(sample(100, 100, 0));
    recognizer.down(sample(200, 100, 10, { pointerId: 2 }));
    return recorded;
  }

  test("it reports the scale and where its middle is", () => {
    const { recognizer, of } = pinch();
    recognizer.move(sample(300, 100, 30, { pointerId: 2 }));
    recognizer.move(sample(500, 100, 60, { pointerId: 2 }));
    expect(of("pinch").map(([, value]) => value)).toEqual([
      { x: 200, y: 100, factor: 2, scale: 2, dx: 50, dy: 0 },
      { x: 300, y: 100, factor: 2, scale: 4, dx: 100, dy: 0 },
    ]);
  });

  test("afterwards the finger that is left drags, but neither swipes nor taps", () => {
    const { recognizer, of } = pinch();
    recognizer.up(sample(200, 100, 100, { pointerId: 2 }));
    recognizer.move(sample(250, 100, 140));
    recognizer.up(sample(300, 100, 160));
    expect(of("pinchEnd")).toHaveLength(1);
    expect(of("drag").length).toBeGreaterThan(0);
    expect(of("swipe")).toEqual([]);
    const still = pinch();
    still.recognizer.up(sample(200, 100, 100, { pointerId: 2 }));
    still.recognizer.up(sample(100, 100, 120));
    expect(still.of("tap")).toEqual([]);
  });

  test("a drag becomes a pinch, and ends as cancelled", () => {
    const { recognizer, seen } = record();
    recognizer.down(sample(100, 100, 0));
    recognizer.move(sample(100, 130, 30));
    recognizer.down(sample(200, 100, 40, { pointerId: 2 }));
    recognizer.move(sample(210, 100, 60, { pointerId: 2 }));
    expect(seen.map(([name]) => name)).toEqual(["drag", "dragEnd", "pinch"]);
  });

  test("a third finger ends it, until all are lifted", () => {
    const { recognizer, of, seen } = pinch();
    recognizer.down(sample(300, 300, 20, { pointerId: 3 }));
    recognizer.move(sample(320, 300, 40, { pointerId: 3 }));
    expect(of("pinchEnd")).toHaveLength(1);
    expect(of("pinch")).toEqual([]);
    for (const pointerId of [1, 2, 3]) recognizer.up(sample(100, 100, 100, { pointerId }));
    seen.length = 0;
    recognizer.down(sample(100, 100, 200));
    recognizer.up(sample(100, 100, 260));
    expect(seen.map(([name]) => name)).toEqual(["tap"]);
  });
});

test("after a reset nothing is reported", () => {
  const { recognizer, seen } = record(["doubleTap"]);
  recognizer.down(sample(100, 200, 0));
  recognizer.up(sample(100, 200, 50));
  recognizer.down(sample(300, 400, 300));
  recognizer.reset();
  vi.runAllTimers();
  recognizer.up(sample(300, 400, 400));
  expect(seen).toEqual([]);
});
