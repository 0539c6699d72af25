import { expect, test } from "vitest";

import {
  joinValues,
  listActive,
  monthRange,
  parseDay,
  periods,
  readFind,
  splitValues,
  toFilters,
  toggled,
  without,
  writeFind,
} from "./find";

const read = (query: string) => readFind(new URLSearchParams(query));

test("an address has the filters", () => {
  expect(read("q=fog&star=1&model=flux1-dev&size=landscape&tag=a,b&layout=grid")).toEqual({
    q: ["fog"],
    star: ["1"],
    model: ["flux1-dev"],
    size: ["landscape"],
    tag: ["a", "b"],
  });
});

test.each(["star=6", "star=x", "size=round", "size=12", "cost=cheap", "from=2026-13-01", "q=%20"])(
  "%s is not a filter",
  (query) => expect(read(query)).toEqual({}),
);

test("filters come back from the address as they were", () => {
  const find = { q: ["red fox"], model: ["a, b\\c", "d"], from: ["2026-11-01"], cost: ["0.05"] };
  const written = writeFind(find);
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(written)) if (value) query.set(name, value);
  expect(readFind(query)).toEqual(find);
  expect(written.tag).toBeNull();
});

test.each([[["a"]], [["a", "b"]], [["a,b", "c"]], [["a\\"]], [["a\\,b"]]])(
  "names with commas are kept: %s",
  (values) => expect(splitValues(joinValues(values))).toEqual(values),
);

test("the server gets the words, the rating and whole days of this clock", () => {
  const find = read("q=fog&star=4&from=2026-11-01&until=2026-11-02&size=1344x768&cost=0.05");
  expect(toFilters(find, { isTrash: true })).toEqual({
    text: "fog",
    rating: "4",
    size: "1344x768",
    max_cost: "0.05",
    since: new Date(2026, 10, 1).toISOString(),
    until: new Date(2026, 10, 3).toISOString(),
    trash: "true",
  });
  expect(toFilters(read("size=portrait&cost=free&model=a,b&lora=c"))).toEqual({
    shape: "portrait",
    cost: "free",
    model: ["a", "b"],
    lora: ["c"],
  });
  expect(toFilters({})).toEqual({});
});

test("each value is listed and can be removed", () => {
  const find = read("q=fog&tag=a,b&star=1");
  expect(listActive(find)).toEqual([
    { kind: "star", value: "1" },
    { kind: "tag", value: "a" },
    { kind: "tag", value: "b" },
  ]);
  expect(without(find, { kind: "tag", value: "a" }).tag).toEqual(["b"]);
  expect(without(find, { kind: "star", value: "1" }).star).toBeUndefined();
});

test("a choice is made and taken back; some filters have one value", () => {
  expect(toggled({}, "tag", "a")).toEqual({ tag: ["a"] });
  expect(toggled({ tag: ["a"] }, "tag", "b").tag).toEqual(["a", "b"]);
  expect(toggled({ size: ["square"] }, "size", "portrait").size).toEqual(["portrait"]);
  expect(toggled({ tag: ["a"] }, "tag", "a").tag).toBeUndefined();
});

test("days that the calendar lacks are none", () => {
  expect(parseDay("2026-02-29")).toBeNull();
  expect(parseDay("2028-02-29")?.getDate()).toBe(29);
});

test("periods begin at midnight, and a month ends with its last day", () => {
  expect(periods(new Date(2026, 2, 3, 15)).map(({ from }) => from)).toEqual([
    "2026-03-03",
    "2026-02-25",
    "2026-02-02",
    "2026-01-01",
  ]);
  expect(monthRange("2028-02")).toEqual({ from: "2028-02-01", until: "2028-02-29" });
  expect(monthRange("2026-12").until).toBe("2026-12-31");
});
