import { describe, expect, test } from "vitest";

import { listSteps, readPeriod, shiftPeriod, stepOf } from "./period";

const today = new Date(2026, 10, 28);

describe("a period", () => {
  test.each([
    ["2026-11", "month", "2026-11-01", "2026-12-01"],
    ["2024-02", "month", "2024-02-01", "2024-03-01"],
    ["2026-12", "month", "2026-12-01", "2027-01-01"],
    ["2025", "year", "2025-01-01", "2026-01-01"],
    ["7d", "days", "2026-11-22", "2026-11-29"],
    ["30d", "days", "2026-10-30", "2026-11-29"],
    ["all", "all", null, null],
    ["", "month", "2026-11-01", "2026-12-01"],
    ["nonsense", "month", "2026-11-01", "2026-12-01"],
  ])("%s", (name, kind, since, until) => {
    expect(readPeriod(name, today)).toMatchObject({ kind, since, until });
  });

  test("has a name that is read again", () => {
    expect(readPeriod("", today).name).toBe("2026-11");
  });

  test.each([
    ["2026-01", -1, "2025-12-01", "2026-01-01"],
    ["2026-12", 1, "2027-01-01", "2027-02-01"],
    ["2026", -1, "2025-01-01", "2026-01-01"],
    ["7d", -1, "2026-11-15", "2026-11-22"],
  ] as const)("%s has one beside it", (name, by, since, until) => {
    expect(shiftPeriod(readPeriod(name, today), by, today)).toMatchObject({ since, until });
  });

  test("of everything has none beside it", () => {
    expect(shiftPeriod(readPeriod("all", today), -1, today)).toBeNull();
  });
});

describe("the bars", () => {
  test("are days, or months of a year", () => {
    expect(stepOf(readPeriod("2026-11", today), null)).toBe("day");
    expect(stepOf(readPeriod("2026", today), null)).toBe("month");
    expect(stepOf(readPeriod("2026", today), "day")).toBe("day");
    expect(stepOf(readPeriod("2026-11", today), "month")).toBe("day");
  });

  test("are all of the period, also without usage", () => {
    const february = listSteps(readPeriod("2024-02", today), "day", []);
    expect([february[0], february.at(-1), february.length]).toEqual([
      "2024-02-01",
      "2024-02-29",
      29,
    ]);
    expect(listSteps(readPeriod("2025", today), "month", [])).toHaveLength(12);
  });

  test("of everything go from the first to the last", () => {
    const all = readPeriod("all", today);
    expect(listSteps(all, "month", ["2026-02", "2025-11"])).toEqual([
      "2025-11",
      "2025-12",
      "2026-01",
      "2026-02",
    ]);
    expect(listSteps(all, "month", [])).toEqual([]);
  });
});
