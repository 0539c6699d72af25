import type { BackendView, UsageGroupView, UsageSumsView } from "../api/schema";

export const MEASURES = ["images", "cost", "time"] as const;
export type Measure = (typeof MEASURES)[number];

/** The colours of charts; an engine keeps its own whatever its share is. */
export const COLOURS = ["c1", "c2", "c3", "c4", "c5"] as const;
export type Colour = (typeof COLOURS)[number];

export interface Engine {
  name: string;
  colour: Colour;
}

/** The name under which engines without a colour of their own are added up. */
export const OTHERS = "";

export interface Bar {
  /** A day or a month. */
  key: string;
  total: number;
  /** In the order of the engines; 0 where one was not used. */
  parts: number[];
}

export interface Chart {
  engines: Engine[];
  bars: Bar[];
  /** The value at the top. */
  top: number;
}

/** The engine of each backend, as people write it. */
export function nameEngines(backends: BackendView[]): Map<string, string> {
  return new Map(backends.map((one) => [one.name, one.label || one.kind || one.name]));
}

/** All engines with their colours: by their place in the configuration, never by their rank. */
export function assignColours(backends: BackendView[], used: string[]): Engine[] {
  const engines = nameEngines(backends);
  const known = [...new Set(engines.values())];
  const gone = used.filter((backend) => !engines.has(backend)).toSorted();
  const all = [...known, ...new Set(gone)];
  if (all.length <= COLOURS.length) {
    return all.map((name, i) => ({ name, colour: COLOURS[i] ?? "c5" }));
  }
  return [
    ...all.slice(0, COLOURS.length - 1).map((name, i) => ({ name, colour: COLOURS[i] ?? "c5" })),
    { name: OTHERS, colour: "c5" },
  ];
}

/** The sum of money in one currency; 0 if there is none. */
export function amountOf(sums: UsageSumsView, currency: string): number {
  return sums.costs.find((one) => one.currency === currency)?.amount ?? 0;
}

export function measureOf(sums: UsageSumsView, measure: Measure, currency: string): number {
  if (measure === "images") return sums.images;
  return measure === "time" ? sums.engine_seconds : amountOf(sums, currency);
}

/** The bars of a chart: groups are those of a day or month and a backend. */
export function buildChart(
  groups: UsageGroupView[],
  steps: string[],
  backends: BackendView[],
  measure: Measure,
  currency: string,
): Chart {
  const used = groups.map((group) => group.backend ?? "");
  const engines = assignColours(backends, used);
  const names = nameEngines(backends);
  const places = new Map(engines.map((engine, i) => [engine.name, i]));
  const bars = new Map(
    steps.map((key) => [key, { key, total: 0, parts: engines.map(() => 0) } as Bar]),
  );
  for (const group of groups) {
    const bar = bars.get(group.day ?? group.month ?? "");
    const backend = group.backend ?? "";
    const place = places.get(names.get(backend) ?? backend) ?? places.get(OTHERS);
    if (!bar || place === undefined) continue;
    const value = measureOf(group, measure, currency);
    bar.parts[place] = (bar.parts[place] ?? 0) + value;
    bar.total += value;
  }
  const list = [...bars.values()];
  const isUsed = engines.map((_, i) => list.some((bar) => (bar.parts[i] ?? 0) > 0));
  return {
    engines: engines.filter((_, i) => isUsed[i]),
    bars: list.map((bar) => ({ ...bar, parts: bar.parts.filter((_, i) => isUsed[i]) })),
    top: roundUp(Math.max(0, ...list.map((bar) => bar.total)), measure === "images"),
  };
}

/** The next round number whose half is round too, and whole on request: 100 for 97, 0.16 for 0.13. */
export function roundUp(value: number, isWhole = false): number {
  if (value <= 0) return 0;
  const unit = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].find(
    (one) => one * unit >= value * 0.999999 && !(isWhole && (one * unit) % 2),
  );
  return Number(((factor ?? 10) * unit).toPrecision(6));
}

/** The currency of most money; USD if there is none. */
export function mainCurrency(sums: UsageSumsView | null): string {
  const sorted = (sums?.costs ?? []).toSorted((a, b) => b.amount - a.amount);
  return sorted.find((one) => one.amount > 0)?.currency ?? "USD";
}
