import { expect, test } from "vitest";

import { filterNames } from "./names";

const NAMES = ["flux1-dev", "FLUX1-schnell", "qwen-image", "Café-Modell"];

test.each([
  ["", NAMES],
  ["flux", ["flux1-dev", "FLUX1-schnell"]],
  ["dev FLUX", ["flux1-dev"]],
  ["cafe", ["Café-Modell"]],
  ["nope", []],
])("%s finds its names", (words, found) => {
  expect(filterNames(NAMES, words, (name) => name)).toEqual(found);
});
