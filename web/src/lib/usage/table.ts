import type { UsageGroupView, UsageSumsView } from "../api/schema";
import { amountOf } from "./chart";

export const GROUPINGS = ["model", "backend", "caller"] as const;
export type Grouping = (typeof GROUPINGS)[number];

export const COLUMNS = ["name", "images", "time", "cost", "each"] as const;
export type Column = (typeof COLUMNS)[number];

export interface UsageRow {
  key: string;
  name: string;
  /** The backend, in a table of models. */
  backend: string;
  sums: UsageSumsView;
  /** In the main currency; null if it is unknown. */
  cost: number | null;
  /** For one image; null if it is unknown, or if there are none. */
  each: number | null;
}

/** What something cost: nothing, a sum, or unknown, which is never nothing. */
export type Cost = { kind: "free" } | { kind: "unknown" } | { kind: "known"; isWhole: boolean };

export function costOf(sums: UsageSumsView): Cost {
  const isPaid = sums.costs.some((one) => one.amount > 0);
  if (sums.unknown > 0) return isPaid ? { kind: "known", isWhole: false } : { kind: "unknown" };
  return isPaid ? { kind: "known", isWhole: true } : { kind: "free" };
}

export function buildRows(
  groups: UsageGroupView[],
  grouping: Grouping,
  currency: string,
): UsageRow[] {
  return groups.map((group) => {
    const kind = costOf(group);
    const cost = kind.kind === "unknown" ? null : amountOf(group, currency);
    const isKnown = kind.kind !== "unknown" && group.unknown === 0 && group.images > 0;
    const name = group[grouping] ?? "";
    const backend = grouping === "model" ? (group.backend ?? "") : "";
    return {
      key: `${name}\n${backend}`,
      name,
      backend,
      sums: group,
      cost,
      each: isKnown && cost !== null ? cost / group.images : null,
    };
  });
}

/** Sorted by a column; what is unknown comes last in both directions. */
export function sortRows(rows: UsageRow[], column: Column, isDescending: boolean): UsageRow[] {
  const value = (row: UsageRow): string | number | null => {
    if (column === "name") return row.name || row.backend;
    if (column === "images") return row.sums.images;
    if (column === "time") return row.sums.engine_seconds;
    return column === "cost" ? row.cost : row.each;
  };
  return rows.toSorted((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null ? 1 : 0) - (b === null ? 1 : 0);
    const order =
      typeof a === "string" || typeof b === "string"
        ? String(a).localeCompare(String(b), undefined, { numeric: true })
        : a - b;
    return isDescending ? -order : order;
  });
}
