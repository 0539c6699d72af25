import { expect, test } from "vitest";

import { arrange, namesOf, onAxis, ratingAxis } from "./layout";

const PHONE = { width: 374, height: 520 };
const DESKTOP = { width: 1312, height: 695 };

test.each([
  [PHONE, 4 / 3, "stacked"],
  [PHONE, 1, "stacked"],
  [PHONE, 1 / 2, "beside"],
  [DESKTOP, 4 / 3, "beside"],
  [DESKTOP, 1, "beside"],
  [DESKTOP, 4, "stacked"],
] as const)("in %o images of shape %f are larger %s", (box, shape, expected) => {
  expect(arrange(box, { width: 1000 * shape, height: 1000 })).toBe(expected);
});

test("the axis of ratings has round ends that hold all intervals", () => {
  const axis = ratingAxis([
    { rating: 1142, half_width: 41 },
    { rating: 772, half_width: 48 },
  ]);
  expect(axis).toEqual({ low: 700, high: 1200, ticks: [700, 800, 900, 1000, 1100, 1200] });
  expect(onAxis(950, axis)).toBe(50);
});

test("the axis of one contender is not empty", () => {
  const axis = ratingAxis([{ rating: 1000, half_width: 0 }]);
  expect(axis.high).toBeGreaterThan(axis.low);
  expect(ratingAxis([]).ticks.length).toBeGreaterThan(1);
});

test("wide intervals get few ticks", () => {
  const axis = ratingAxis([{ rating: 1000, half_width: 1900 }]);
  expect(axis.ticks.length).toBeLessThanOrEqual(9);
  expect(axis.low).toBeLessThanOrEqual(-900);
});

test("a contender is called by its model, or by its backend where that tells more", () => {
  const all = [
    { backend: "gpu", model: "flux" },
    { backend: "cpu", model: "sd" },
    { backend: "old", model: "sd" },
    { backend: "far", model: "" },
  ];
  expect(all.map((one) => namesOf(one, all))).toEqual([
    ["flux", "gpu"],
    ["cpu", "sd"],
    ["old", "sd"],
    ["far", ""],
  ]);
});
