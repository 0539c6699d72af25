import { describe, expect, test } from "vitest";

import type { ComparisonView } from "../api/schema";
import {
  arrange,
  type Cell,
  type GridView,
  readView,
  stateOf,
  summarize,
  usualColumns,
  dimensionsOf,
  writeView,
} from "./grid";

function cell(model: string, values: Record<string, unknown>, change: Partial<Cell> = {}): Cell {
  return {
    model,
    values,
    label: model,
    state: "done",
    jobs: [],
    files: [],
    images: [{ uid: "u", file: null, width: 4, height: 3, seed: 1, rating: null }],
    same_as: null,
    seed: 1,
    seconds: 1,
    cost_usd: null,
    receipt: {},
    warnings: [],
    error: null,
    ...change,
  } as Cell;
}

function comparison(
  models: string[],
  axes: Record<string, unknown[]>,
  cells: Cell[],
): ComparisonView {
  return {
    id: "compare-a",
    job: null,
    request: { prompt: "a" },
    models,
    axes: Object.entries(axes).map(([name, values]) => ({ name, values })),
    cells,
    sheets: [],
    report: null,
  } as unknown as ComparisonView;
}

const plain: GridView = { columns: "", hidden: {}, sort: "given" };
const two = comparison(["b", "a"], { steps: [8, 4] }, [
  cell("b", { steps: 8 }, { seconds: 5 }),
  cell("b", { steps: 4 }, { seconds: 3 }),
  cell("a", { steps: 8 }, { seconds: 2 }),
  cell("a", { steps: 4 }, { seconds: null }),
]);
const shape = (view: Partial<GridView>, of = two): unknown[] => {
  const grid = arrange(of, { ...plain, ...view });
  return [
    grid.columns.map((head) => head.value),
    grid.rows.map((row) => [
      ...row.heads.map((head) => head.value),
      row.cells.map((one) => one && [one.model, ...Object.values(one.values)]),
    ]),
  ];
};

describe("the grid", () => {
  test("has a row for each backend and a column for each value", () => {
    expect(shape({})).toEqual([
      [8, 4],
      [
        [
          "b",
          [
            ["b", 8],
            ["b", 4],
          ],
        ],
        [
          "a",
          [
            ["a", 8],
            ["a", 4],
          ],
        ],
      ],
    ]);
  });

  test("can be turned", () => {
    expect(shape({ columns: "backend" })).toEqual([
      ["b", "a"],
      [
        [
          8,
          [
            ["b", 8],
            ["a", 8],
          ],
        ],
        [
          4,
          [
            ["b", 4],
            ["a", 4],
          ],
        ],
      ],
    ]);
  });

  test("leaves out what is hidden", () => {
    expect(shape({ hidden: { steps: ["8"], backend: ['"a"'] } })).toEqual([
      [4],
      [["b", [["b", 4]]]],
    ]);
  });

  test("is sorted by its values, or by time", () => {
    expect(shape({ sort: "value" })).toEqual([
      [4, 8],
      [
        [
          "a",
          [
            ["a", 4],
            ["a", 8],
          ],
        ],
        [
          "b",
          [
            ["b", 4],
            ["b", 8],
          ],
        ],
      ],
    ]);
    expect(arrange(two, { ...plain, sort: "time" }).rows.map((row) => row.heads[0]?.value)).toEqual(
      ["a", "b"],
    );
  });

  test("rows without a known cost come last, and keep their order", () => {
    const priced = comparison(["a", "b", "c"], {}, [
      cell("a", {}),
      cell("b", {}, { cost_usd: 0.2 }),
      cell("c", {}, { cost_usd: 0.1 }),
    ]);
    const rows = arrange(priced, { columns: "none", hidden: {}, sort: "cost" }).columns;
    expect(rows.map((head) => head.value)).toEqual(["a", "b", "c"]);
  });

  test("has several axes beside the backends in its rows", () => {
    const cells = ["a", "b"].flatMap((model) =>
      [1, 2].flatMap((steps) => [3, 4].map((cfg) => cell(model, { steps, cfg }))),
    );
    const grid = arrange(comparison(["a", "b"], { steps: [1, 2], cfg: [3, 4] }, cells), plain);
    expect(grid.columns.map((head) => head.dimension)).toEqual(["steps", "steps"]);
    expect(grid.rows.map((row) => row.heads.map((head) => head.value))).toEqual([
      ["a", 3],
      ["a", 4],
      ["b", 3],
      ["b", 4],
    ]);
    expect(grid.rows[3]?.cells.map((one) => one?.values)).toEqual([
      { steps: 1, cfg: 4 },
      { steps: 2, cfg: 4 },
    ]);
  });

  test("tells the values 1 and '1' apart", () => {
    const mixed = comparison(["a"], { x: [1, "1"] }, [cell("a", { x: 1 }), cell("a", { x: "1" })]);
    expect(shape({}, mixed)).toEqual([
      [1, "1"],
      [
        [
          "a",
          [
            ["a", 1],
            ["a", "1"],
          ],
        ],
      ],
    ]);
  });

  test("has the backends as columns without an axis", () => {
    const none = comparison(["a", "b"], {}, [cell("a", {}), cell("b", {})]);
    expect(usualColumns(dimensionsOf(none))).toBe("backend");
    expect(shape({}, none)).toEqual([["a", "b"], [[[["a"], ["b"]]]]]);
  });
});

test("a cell says what it is", () => {
  const none = { images: [] };
  const states = [
    cell("a", {}),
    cell("a", {}, { same_as: { x: 1 } }),
    cell("a", {}, { state: "running", ...none }),
    cell("a", {}, { state: "queued", ...none }),
    cell("a", {}, { state: "failed", ...none }),
    cell("a", {}, { state: "missing", ...none }),
    cell("a", {}, { error: { code: "cancelled", message: "", remedy: "" }, ...none }),
  ];
  expect(states.map(stateOf)).toEqual([
    "image",
    "same",
    "running",
    "waiting",
    "failed",
    "missing",
    "missing",
  ]);
  const sums = summarize(comparison(["a"], {}, states));
  expect(sums).toEqual({ cells: 6, done: 1, failed: 1, missing: 2, cost: 0 });
});

test("a view is kept in the address", () => {
  const view = {
    columns: "steps",
    sort: "time" as const,
    hidden: { backend: ['"a:b|c%"'], steps: ["4", "8"] },
  };
  const entries = Object.entries(writeView(view)).map(([name, text]) => [name, text ?? ""]);
  expect(readView(new URLSearchParams(entries))).toEqual(view);
  expect(writeView(plain)).toEqual({ columns: null, sort: null, hide: null });
  expect(readView(new URLSearchParams("sort=nonsense&hide=x|%25"))).toEqual(plain);
});
