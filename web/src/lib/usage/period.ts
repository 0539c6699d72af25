/** A span of whole days, as the address and the server name it. */
export interface Period {
  kind: "days" | "month" | "year" | "all";
  /** As the address has it: `30d`, `2026-11`, `2026`, `all`. */
  name: string;
  /** The first day and the day after the last one, as `2026-11-01`; null for no limit. */
  since: string | null;
  until: string | null;
}

export type Step = "day" | "month";

const DAY = 86_400_000;

/** A day as `2026-11-01`; months and days may be out of range, as Date allows it. */
export function dayText(year: number, month: number, day: number): string {
  return new Date(Date.UTC(year, month, day)).toISOString().slice(0, 10);
}

/** The period of this name; an unknown name is the month of `today`. */
export function readPeriod(name: string, today: Date): Period {
  const [year, month, day] = [today.getFullYear(), today.getMonth(), today.getDate()];
  const days = /^(\d{1,3})d$/.exec(name);
  if (days) {
    const since = dayText(year, month, day + 1 - Math.max(1, Number(days[1])));
    return { kind: "days", name, since, until: dayText(year, month, day + 1) };
  }
  if (name === "all") return { kind: "all", name, since: null, until: null };
  const parts = /^(\d{4})(?:-(\d{2}))?$/.exec(name);
  const inYear = Number(parts?.[1] ?? year);
  if (parts && !parts[2]) {
    return { kind: "year", name, since: dayText(inYear, 0, 1), until: dayText(inYear + 1, 0, 1) };
  }
  const inMonth = parts ? Number(parts[2]) - 1 : month;
  const since = dayText(inYear, inMonth, 1);
  return {
    kind: "month",
    name: since.slice(0, 7),
    since,
    until: dayText(inYear, inMonth + 1, 1),
  };
}

/** The period of the same length before or after; null beside everything. */
export function shiftPeriod(period: Period, by: 1 | -1, today: Date): Period | null {
  if (!period.since) return null;
  const [year = 0, month = 1] = period.since.split("-").map(Number);
  if (period.kind === "month")
    return readPeriod(dayText(year, month - 1 + by, 1).slice(0, 7), today);
  if (period.kind === "year") return readPeriod(String(year + by), today);
  const length = (Date.parse(period.until ?? "") - Date.parse(period.since)) / DAY;
  const move = (day: string): string => shiftDay(day, by * length);
  return { ...period, since: move(period.since), until: move(period.until ?? period.since) };
}

function shiftDay(day: string, by: number): string {
  return new Date(Date.parse(day) + by * DAY).toISOString().slice(0, 10);
}

/** What a bar stands for, unless the address says otherwise. */
export function stepOf(period: Period, asked: string | null): Step {
  if (asked === "day" && period.kind !== "all") return "day";
  if (asked === "month" && period.kind !== "days" && period.kind !== "month") return "month";
  return period.kind === "year" || period.kind === "all" ? "month" : "day";
}

/** The days or months of a period in order, as the server groups them. */
export function listSteps(period: Period, step: Step, found: string[]): string[] {
  const sorted = found.toSorted();
  const first = period.since ?? sorted[0];
  const last = period.until ? shiftDay(period.until, -1) : sorted.at(-1);
  if (!first || !last) return [];
  const steps: string[] = [];
  const [year = 0, month = 1, day = 1] = first.split("-").map(Number);
  const length = step === "month" ? 7 : 10;
  for (let i = 0; i < 5000; i += 1) {
    const text =
      step === "month" ? dayText(year, month - 1 + i, 1) : dayText(year, month - 1, day + i);
    if (text.slice(0, length) > last.slice(0, length)) break;
    steps.push(text.slice(0, length));
  }
  return steps;
}
