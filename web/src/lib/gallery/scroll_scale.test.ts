import { describe, expect, test } from "vitest";

import { MOST_HEIGHT, ScrollScale } from "./scroll_scale";

const VIEW = 800;

function scaleOf(height: number): ScrollScale {
  const scale = new ScrollScale();
  scale.resize(height, VIEW);
  return scale;
}

test("up to the most that browsers allow, offsets are the same", () => {
  const scale = scaleOf(5_000_000);
  scale.scrolled(123_456);
  expect(scale.offset).toBe(123_456);
  expect(scale.jump(4_000_000)).toBe(4_000_000);
  expect(scale.elementHeight).toBe(5_000_000);
  expect(scale.drift).toBe(0);
});

describe("above", () => {
  const height = 40_000_000;

  test("the ends are reached", () => {
    const scale = scaleOf(height);
    expect(scale.elementHeight).toBe(MOST_HEIGHT);
    scale.scrolled(MOST_HEIGHT - VIEW);
    expect(scale.offset).toBe(height - VIEW);
    scale.scrolled(0);
    expect(scale.offset).toBe(0);
  });

  test("a small step moves by itself, a jump by the scale", () => {
    const scale = scaleOf(height);
    scale.scrolled(MOST_HEIGHT / 2);
    const middle = scale.offset;
    expect(middle / height).toBeCloseTo(0.5, 3);
    scale.scrolled(MOST_HEIGHT / 2 + 100);
    expect(scale.offset - middle).toBe(100);
  });

  test("settling moves the scroller, not what is shown", () => {
    const scale = scaleOf(height);
    let at = 0;
    for (let i = 0; i < 50; i += 1) scale.scrolled((at += 1000));
    const shown = scale.offset;
    expect(shown).toBe(50_000);
    at = scale.settle();
    expect(at).toBeLessThan(20_000);
    expect(scale.offset).toBe(shown);
    scale.scrolled(at);
    expect(scale.offset).toBe(shown);
  });

  test("it does not go past the end", () => {
    const scale = scaleOf(height);
    scale.jump(height);
    scale.scrolled(MOST_HEIGHT - VIEW);
    expect(scale.offset).toBe(height - VIEW);
  });
});
