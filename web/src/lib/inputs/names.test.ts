import { expect, it } from "vitest";

import type { Model } from "../api/schema";
import { filterNames, isOtherFamily } from "./names";

const lora = (name: string, family = ""): Model => ({
  kind: "lora",
  name,
  family,
  size_bytes: null,
  vram_bytes: null,
  is_default: false,
  usd: null,
});
const all = [
  lora("b-paper"),
  lora("a-ink", "sdxl"),
  lora("c-gouache-paper"),
  lora("a-ink", "sdxl"),
];

it("lists most used ones first, each once", () => {
  const counts = new Map([["c-gouache-paper", 9]]);
  expect(filterNames(all, "", counts).map((one) => one.name)).toEqual([
    "c-gouache-paper",
    "a-ink",
    "b-paper",
  ]);
});

it("finds all words in any order, also the family", () => {
  expect(filterNames(all, "PAPER c").map((one) => one.name)).toEqual(["c-gouache-paper"]);
  expect(filterNames(all, "sdxl").map((one) => one.name)).toEqual(["a-ink"]);
});

it("knows other families only where both are known", () => {
  expect(isOtherFamily("sdxl", "flux1")).toBe(true);
  expect(isOtherFamily("sdxl", "sdxl")).toBe(false);
  expect(isOtherFamily("", "flux1")).toBe(false);
  expect(isOtherFamily("sdxl", "")).toBe(false);
});
