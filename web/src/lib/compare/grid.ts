import type { ComparisonCellView, ComparisonView } from "../api/schema";

export type Cell = ComparisonCellView;

/** The dimension of the backends; the others are axes. */
export const BACKEND = "backend";

/** A value of a dimension. */
export interface Head {
  dimension: string;
  /** Tells values apart, also 1 and "1". */
  key: string;
  value: unknown;
}

export interface Dimension {
  name: string;
  heads: Head[];
}

export const SORTS = ["given", "value", "time", "cost"] as const;
export type Sort = (typeof SORTS)[number];

/** How a grid is shown; nothing of it changes what was generated. */
export interface GridView {
  /** The dimension whose values are the columns; empty for the usual one. */
  columns: string;
  /** The keys of the hidden values, by dimension. */
  hidden: Record<string, string[]>;
  sort: Sort;
}

/** A row: one value of each dimension that is not the columns. */
export interface Row {
  heads: Head[];
  cells: (Cell | null)[];
}

export interface Grid {
  columns: Head[];
  rows: Row[];
}

export function keyOf(value: unknown): string {
  return JSON.stringify(value) ?? "null";
}

/** A value of an axis as people read it; of several parameters, each with its name. */
export function valueText(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    const parts = Object.entries(value as Record<string, unknown>);
    return parts.map(([name, own]) => `${name} ${String(own)}`).join(", ");
  }
  return String(value);
}

export function dimensionsOf(comparison: Pick<ComparisonView, "models" | "axes">): Dimension[] {
  const make = (name: string, values: unknown[]): Dimension => ({
    name,
    heads: values.map((value) => ({ dimension: name, key: keyOf(value), value })),
  });
  return [
    make(BACKEND, comparison.models),
    ...comparison.axes.map((axis) => make(axis.name, axis.values)),
  ];
}

/** The dimension that the columns have unless the user chose another. */
export function usualColumns(dimensions: Dimension[]): string {
  const axes = dimensions.slice(1).filter((one) => one.heads.length > 1);
  const isOneBackend = dimensions[0]?.heads.length === 1;
  const axis = isOneBackend ? axes.at(-1) : axes[0];
  return axis?.name ?? BACKEND;
}

/** The cells in rows and columns, without the hidden ones, sorted. */
export function arrange(comparison: ComparisonView, view: GridView): Grid {
  const all = dimensionsOf(comparison);
  const across = all.find((one) => one.name === view.columns)?.name ?? usualColumns(all);
  const isShown = (head: Head): boolean => !view.hidden[head.dimension]?.includes(head.key);
  const headsOf = (one: Dimension): Head[] => {
    const shown = one.heads.filter(isShown);
    return view.sort === "value" ? shown.toSorted(compareHeads) : shown;
  };
  const column = all.find((one) => one.name === across);
  const columns = column ? headsOf(column) : [];
  const others = all.filter((one) => one.name !== across && one.heads.length > 0);
  const byPlace = new Map(comparison.cells.map((cell) => [placeOf(cell), cell]));
  const rows = combine(others.map(headsOf)).map((heads) => ({
    heads: heads.filter((head) => isTelling(head, others)),
    cells: columns.map((head) => byPlace.get(joinPlace([...heads, head])) ?? null),
  }));
  return { columns, rows: sortRows(rows, view.sort) };
}

/** Whether a head says something: the only value of an axis does not. */
function isTelling(head: Head, others: Dimension[]): boolean {
  const own = others.find((one) => one.name === head.dimension);
  return head.dimension === BACKEND || (own?.heads.length ?? 0) > 1;
}

function combine(lists: Head[][]): Head[][] {
  return lists.reduce<Head[][]>(
    (rows, list) => rows.flatMap((row) => list.map((head) => [...row, head])),
    [[]],
  );
}

export function placeOf(cell: Pick<Cell, "model" | "values">): string {
  const heads = Object.entries(cell.values).map(([name, value]) => [name, keyOf(value)]);
  return JSON.stringify([[BACKEND, keyOf(cell.model)], ...heads].sort());
}

function joinPlace(heads: Head[]): string {
  return JSON.stringify(heads.map((head) => [head.dimension, head.key]).sort());
}

function compareHeads(a: Head, b: Head): number {
  if (typeof a.value === "number" && typeof b.value === "number") return a.value - b.value;
  return valueText(a.value).localeCompare(valueText(b.value), undefined, { numeric: true });
}

/** By the mean of the known times or costs of their cells; rows without any come last. */
function sortRows(rows: Row[], sort: Sort): Row[] {
  if (sort !== "time" && sort !== "cost") return rows;
  const mean = (row: Row): number => {
    const known = row.cells
      .map((cell) =>
        cell && !cell.same_as ? (sort === "time" ? cell.seconds : cell.cost_usd) : null,
      )
      .filter((value) => value !== null);
    return known.length > 0 ? known.reduce((sum, one) => sum + one, 0) / known.length : Infinity;
  };
  return rows.toSorted((a, b) => compareNumbers(mean(a), mean(b)));
}

function compareNumbers(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

export type CellState = "image" | "running" | "waiting" | "failed" | "same" | "missing";

export function stateOf(cell: Cell): CellState {
  if (cell.same_as) return "same";
  if (cell.state === "running" || cell.state === "cancelling") return "running";
  if (cell.state === "queued" || cell.state === "held") return "waiting";
  if (cell.images.length > 0) return "image";
  if (cell.state === "cancelled" || cell.error?.code === "cancelled") return "missing";
  if (cell.error || ["failed", "cancelled", "lost"].includes(cell.state)) return "failed";
  return "missing";
}

export interface Summary {
  /** Cells that have images of their own. */
  cells: number;
  done: number;
  failed: number;
  missing: number;
  /** The sum of the known costs. */
  cost: number;
}

export function summarize(comparison: ComparisonView): Summary {
  const own = comparison.cells.filter((cell) => !cell.same_as);
  const states = own.map(stateOf);
  const count = (state: CellState): number => states.filter((one) => one === state).length;
  return {
    cells: own.length,
    done: count("image"),
    failed: count("failed"),
    missing: count("missing"),
    cost: own.reduce((sum, cell) => sum + (cell.cost_usd ?? 0), 0),
  };
}

/** The parameters of the axes that a backend does not take, so that cells are the same. */
export function droppedAxes(cell: Cell): string[] {
  return Object.keys(cell.values)
    .flatMap((name) => name.split("+"))
    .filter((name) => cell.receipt[name]?.outcome === "dropped");
}

/** How a grid is shown, as the query of the address has it. */
export function readView(query: URLSearchParams): GridView {
  const hidden: Record<string, string[]> = {};
  for (const word of (query.get("hide") ?? "").split("|").filter(Boolean)) {
    const text = decode(word);
    const at = text.indexOf(":");
    if (at > 0) (hidden[text.slice(0, at)] ??= []).push(text.slice(at + 1));
  }
  const sort = SORTS.find((one) => one === query.get("sort")) ?? "given";
  return { columns: query.get("columns") ?? "", hidden, sort };
}

function decode(word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    return "";
  }
}

/** The entries of the query for a view; null takes one away. */
export function writeView(view: GridView): Record<string, string | null> {
  const hidden = Object.entries(view.hidden).flatMap(([name, keys]) =>
    keys.map((key) => encodeURIComponent(`${name}:${key}`)),
  );
  return {
    columns: view.columns || null,
    sort: view.sort === "given" ? null : view.sort,
    hide: hidden.join("|") || null,
  };
}
