import { describe, expect, it } from "vitest";

import { RowLayout } from "./virtual";

describe("RowLayout", () => {
  const layout = new RowLayout([30, 40, 40, 30, 40]);

  it("knows where each row is", () => {
    expect(layout.total).toBe(180);
    expect([0, 1, 4, 5].map((row) => layout.top(row))).toEqual([0, 30, 140, 180]);
    expect(layout.height(3)).toBe(30);
  });

  it.each([
    [-5, 0],
    [0, 0],
    [29, 0],
    [30, 1],
    [109, 2],
    [110, 3],
    [999, 4],
  ])("finds the row at %d", (y, row) => {
    expect(layout.rowAt(y)).toBe(row);
  });

  it("gives the rows in sight and a few more", () => {
    expect(layout.range(35, 30, 0)).toEqual({ first: 1, end: 2 + 0 });
    expect(layout.range(35, 40, 1)).toEqual({ first: 0, end: 4 });
    expect(new RowLayout([]).range(0, 100)).toEqual({ first: 0, end: 0 });
  });

  it("shows few of very many rows", () => {
    const long = new RowLayout(new Array<number>(2000).fill(40));
    const { first, end } = long.range(40_000, 600);
    expect(first).toBe(996);
    expect(end - first).toBeLessThan(30);
  });

  it("scrolls no further than needed", () => {
    expect(layout.reveal(4, 0, 100)).toBe(80);
    expect(layout.reveal(1, 60, 100)).toBe(30);
    expect(layout.reveal(2, 0, 180)).toBe(0);
    expect(layout.reveal(1, 60, 100, 30)).toBe(0);
  });
});
