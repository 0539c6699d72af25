import { expect, test } from "vitest";

import { Recycler } from "./recycler";

test("what stays keeps its place, and what comes gets those that are free", () => {
  const recycler = new Recycler();
  expect(recycler.assign(["a", "b", "c"])).toEqual([0, 1, 2]);
  expect(recycler.assign(["c", "d", "e"])).toEqual([2, 1, 0]);
  expect(recycler.size).toBe(3);
});

test("there are as many places as were ever needed at once, or less after a trim", () => {
  const recycler = new Recycler();
  recycler.assign(["a", "b", "c", "d"]);
  recycler.assign(["a"]);
  expect(recycler.size).toBe(4);
  recycler.trim(1);
  expect(recycler.size).toBe(2);
  expect(recycler.assign(["a", "x", "y"])).toEqual([0, 1, 2]);
});
