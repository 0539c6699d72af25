export type Arrangement = "beside" | "stacked";

/** How two images of one size are larger in a box: beside or above each other. */
export function arrange(
  box: { width: number; height: number },
  image: { width: number; height: number },
  gap = 8,
): Arrangement {
  const scale = (width: number, height: number): number =>
    Math.min(width / image.width, height / image.height);
  const beside = scale((box.width - gap) / 2, box.height);
  const stacked = scale(box.width, (box.height - gap) / 2);
  return stacked > beside ? "stacked" : "beside";
}

/** The axis that all intervals of a ranking share. */
export interface RatingAxis {
  low: number;
  high: number;
  ticks: number[];
}

const STEPS = [20, 50, 100, 200, 500, 1000];
const MOST_TICKS = 7;

/** An axis with round numbers that holds all of these intervals. */
export function ratingAxis(rows: { rating: number; half_width: number }[]): RatingAxis {
  const lows = rows.map((row) => row.rating - row.half_width);
  const highs = rows.map((row) => row.rating + row.half_width);
  const from = Math.min(...lows, 1000);
  const to = Math.max(...highs, 1000);
  const step = STEPS.find((one) => (to - from) / one <= MOST_TICKS - 2) ?? 2000;
  const low = Math.floor(from / step) * step;
  const high = Math.max(Math.ceil(to / step) * step, low + step);
  const ticks = [];
  for (let tick = low; tick <= high; tick += step) ticks.push(tick);
  return { low, high, ticks };
}

/** Where a rating is on the axis, in percent from its start. */
export function onAxis(rating: number, axis: RatingAxis): number {
  return ((rating - axis.low) / (axis.high - axis.low)) * 100;
}

/** What a contender is called, and the rest: its model, or its backend where models are alike. */
export function namesOf(
  one: { backend: string; model: string },
  all: { backend: string; model: string }[],
): [string, string] {
  const isAlone = all.filter((other) => other.model === one.model).length < 2;
  if (one.model && isAlone) return [one.model, one.backend];
  return [one.backend, one.model];
}
