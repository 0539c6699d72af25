import { expect, test } from "vitest";

import { inBatches } from "./batches";

test("all things come once, in order, a batch at a time", () => {
  expect([...inBatches([1, 2, 3, 4, 5], 2)]).toEqual([[1, 2], [3, 4], [5]]);
  expect([...inBatches([], 2)]).toEqual([]);
  expect([...inBatches([1, 2], 2)]).toEqual([[1, 2]]);
});
