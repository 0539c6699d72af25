/** A row of a list to pick from: an option, or the heading of those below it. */
export type PickRow<T, H = never> =
  | { kind: "heading"; id: string; height: number; value: H }
  | { kind: "option"; id: string; value: T; isDisabled?: boolean };

/** The number of each option among the options, from 1; 0 for headings. */
export function numberOptions(rows: readonly PickRow<unknown, unknown>[]): number[] {
  let number = 0;
  return rows.map((row) => (row.kind === "option" ? ++number : 0));
}

/** The row that a key leads to from a row (-1 for none): an option that can be picked. */
export function rowForKey(
  key: string,
  from: number,
  rows: readonly PickRow<unknown, unknown>[],
  page: number,
): number | null {
  const steps: Record<string, [start: number, step: number]> = {
    ArrowDown: [from + 1, 1],
    ArrowUp: [from < 0 ? rows.length - 1 : from - 1, -1],
    Home: [0, 1],
    End: [rows.length - 1, -1],
    PageDown: [Math.min(from + page, rows.length - 1), 1],
    PageUp: [Math.max(from - page, 0), -1],
  };
  const known = steps[key];
  if (!known) return null;
  const [start, step] = known;
  const isFree = (row: number): boolean => {
    const one = rows[row];
    return one?.kind === "option" && !one.isDisabled;
  };
  for (let row = start; row >= 0 && row < rows.length; row += step) if (isFree(row)) return row;
  // A page may end among headings: the last option before them will do.
  for (let row = start; row >= 0 && row < rows.length; row -= step) if (isFree(row)) return row;
  return from;
}
