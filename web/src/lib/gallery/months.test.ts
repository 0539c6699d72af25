import { expect, test } from "vitest";

import { indexOf } from "./index_samples";
import { Items } from "./items";
import { Layout } from "./layout";
import { findSection, listMonths, thinOut } from "./months";

const days = [
  new Date(2026, 10, 20, 8),
  new Date(2026, 10, 3, 8),
  new Date(2026, 8, 30, 23),
  new Date(2025, 8, 1, 1),
];
const index = indexOf(days.map((day, i) => ({ generation: i + 1, created: day.getTime() })));
const options = { width: 400, columns: 2, gap: 8, kind: "squares", header: 40 } as const;
const layout = new Layout(new Items(index, [], [], days[0]?.getTime()), options);

test("each month is where its newest day is", () => {
  expect(listMonths(layout)).toEqual([
    { start: new Date(2026, 10, 1).getTime(), top: 0, images: 2 },
    { start: new Date(2026, 8, 1).getTime(), top: layout.sectionTop(2), images: 1 },
    { start: new Date(2025, 8, 1).getTime(), top: layout.sectionTop(3), images: 1 },
  ]);
});

test("labels that have no room are left out", () => {
  const months = listMonths(layout);
  expect(thinOut(months, layout.height, 800, 30)).toHaveLength(3);
  expect(thinOut(months, layout.height, 80, 30)).toHaveLength(2);
});

test.each([
  [new Date(2026, 10, 20), 0],
  [new Date(2026, 10, 10), 1],
  [new Date(2027, 0, 1), 0],
  [new Date(2020, 0, 1), 3],
])("%s leads to the day or the one before it", (day, section) => {
  expect(findSection(layout, day.getTime())).toBe(section);
});

test("in a grid with the oldest image first, too", () => {
  const items = new Items(index.reversed(), [], [], days[0]?.getTime());
  const oldest = new Layout(items, options);
  expect(listMonths(oldest).map((month) => month.start)).toEqual(
    listMonths(layout)
      .map((month) => month.start)
      .reverse(),
  );
  expect(findSection(oldest, new Date(2026, 10, 10).getTime())).toBe(2);
  expect(findSection(oldest, new Date(2020, 0, 1).getTime())).toBe(0);
});
