/** What the gallery is filtered by, as its address says it: `/?q=fog&star=1&size=landscape`. */
import type { Filters } from "../gallery/gallery";

/** The filters that may be removed one by one, in the order in which they are shown. */
export const KINDS = [
  "q",
  "album",
  "star",
  "model",
  "backend",
  "size",
  "lora",
  "tag",
  "from",
  "until",
  "cost",
] as const;
export type Kind = (typeof KINDS)[number];
/** Filters that may have several values. */
const SEVERAL: readonly Kind[] = ["model", "lora", "tag"];
const SHAPES = ["square", "landscape", "portrait"];

/** The values of each filter; a filter without a value is absent. */
export type Find = { [K in Kind]?: string[] | undefined };

/** The filters in an address; what is not valid is left out. */
export function readFind(query: URLSearchParams): Find {
  const find: Find = {};
  for (const kind of KINDS) {
    const text = query.get(kind)?.trim();
    if (!text) continue;
    const values = SEVERAL.includes(kind) ? splitValues(text) : [text];
    const valid = values.filter((value) => isValid(kind, value));
    if (valid.length > 0) find[kind] = valid;
  }
  return find;
}

/** The parameters of the address for these filters, to set all of them. */
export function writeFind(find: Find): Record<Kind, string | null> {
  const entries = KINDS.map((kind) => [kind, find[kind] ? joinValues(find[kind]) : null]);
  return Object.fromEntries(entries) as Record<Kind, string | null>;
}

/** Names may contain commas: those have a backslash before them. */
export function joinValues(values: string[]): string {
  if (values.length === 1 && !/[\\,]/.test(values[0] ?? "")) return values[0] ?? "";
  return values.map((value) => value.replace(/[\\,]/g, "\\$&")).join(",");
}

export function splitValues(text: string): string[] {
  const values = text.match(/(?:\\.|[^\\,])+/g) ?? [];
  return [...new Set(values.map((value) => value.replace(/\\(.)/g, "$1").trim()))].filter(Boolean);
}

function isValid(kind: Kind, value: string): boolean {
  if (kind === "star") return /^[1-5]$/.test(value);
  if (kind === "size") return SHAPES.includes(value) || /^\d{1,6}x\d{1,6}$/.test(value);
  if (kind === "cost") {
    return ["free", "paid", "unknown"].includes(value) || /^\d+(\.\d+)?$/.test(value);
  }
  if (kind === "from" || kind === "until") return parseDay(value) !== null;
  return true;
}

/** Midnight of a day of the user's clock: `2026-11-01`. */
export function parseDay(text: string): Date | null {
  const parts = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text);
  if (!parts) return null;
  const [year, month, day] = parts.slice(1).map(Number) as [number, number, number];
  const date = new Date(year, month - 1, day);
  return date.getMonth() === month - 1 && date.getDate() === day ? date : null;
}

export function writeDay(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The filters of `GET /api/v1/images/index` and `/facets`. */
export function toFilters(find: Find, { isTrash = false } = {}): Filters {
  const filters: Filters = {};
  const set = (name: string, values: string[] | undefined): void => {
    if (values) filters[name] = values;
  };
  const one = (kind: Kind): string | undefined => find[kind]?.[0];
  const alone = {
    text: one("q"),
    album: one("album"),
    rating: one("star"),
    backend: one("backend"),
  };
  for (const [name, value] of Object.entries(alone)) if (value) filters[name] = value;
  set("model", find.model);
  set("lora", find.lora);
  set("tag", find.tag);
  const size = one("size");
  if (size) filters[SHAPES.includes(size) ? "shape" : "size"] = size;
  const cost = one("cost");
  if (cost) filters[/^\d/.test(cost) ? "max_cost" : "cost"] = cost;
  const from = parseDay(one("from") ?? "");
  if (from) filters.since = from.toISOString();
  const until = parseDay(one("until") ?? "");
  if (until) {
    until.setDate(until.getDate() + 1);
    filters.until = until.toISOString();
  }
  if (isTrash) filters.trash = "true";
  return filters;
}

export interface ActiveFilter {
  kind: Kind;
  value: string;
}

/** Every value of every filter but the words, to show and remove them one by one. */
export function listActive(find: Find): ActiveFilter[] {
  return KINDS.filter((kind) => kind !== "q").flatMap((kind) =>
    (find[kind] ?? []).map((value) => ({ kind, value })),
  );
}

export function without(find: Find, { kind, value }: ActiveFilter): Find {
  const left = (find[kind] ?? []).filter((one) => one !== value);
  return { ...find, [kind]: left.length > 0 ? left : undefined };
}

/** Choose a value, or take it away again; a filter with one value gets this one. */
export function toggled(find: Find, kind: Kind, value: string): Find {
  const before = find[kind] ?? [];
  if (before.includes(value)) return without(find, { kind, value });
  return { ...find, [kind]: SEVERAL.includes(kind) ? [...before, value] : [value] };
}

/** Periods that people ask for, by the first day of each. */
export function periods(now: Date): { name: "today" | "week" | "month" | "year"; from: string }[] {
  const back = (days: number): Date =>
    new Date(now.getFullYear(), now.getMonth(), now.getDate() - days);
  return [
    { name: "today", from: writeDay(back(0)) },
    { name: "week", from: writeDay(back(6)) },
    { name: "month", from: writeDay(back(29)) },
    { name: "year", from: writeDay(new Date(now.getFullYear(), 0, 1)) },
  ];
}

/** The first and the last day of a month: `2026-11`. */
export function monthRange(month: string): { from: string; until: string } {
  const [year, number] = month.split("-").map(Number) as [number, number];
  return { from: `${month}-01`, until: writeDay(new Date(year, number, 0)) };
}
