import { expect, test } from "vitest";

import { Formatter } from "./format";

test.each([
  [0.03, "< 0.1 s", "< 0,1 s"],
  [0.45, "0.5 s", "0,5 s"],
  [9.96, "10 s", "10 s"],
  [59.4, "59 s", "59 s"],
  [59.6, "1 min", "1 min"],
  [80, "1 min 20 s", "1 min 20 s"],
  [3599.8, "1 h", "1 h"],
  [7500, "2 h 5 min", "2 h 5 min"],
])("%d seconds in English and German", (seconds, english, german) => {
  const write = (locale: string): string =>
    new Formatter(locale).duration(seconds).replaceAll("\u00a0", " ");
  expect([write("en"), write("de")]).toEqual([english, german]);
});
