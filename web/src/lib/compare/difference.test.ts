import { expect, test } from "vitest";

import type { ShownImageView } from "../api/schema";
import { compareImages, type Words } from "./difference";

const words: Words = {
  seconds: (value) => `${value} s`,
  cost: (value) => (value === null ? "" : `$${value}`),
};

function image(
  resolved: Record<string, unknown>,
  library: Record<string, unknown> = {},
  facts: Record<string, unknown> = {},
): ShownImageView {
  return {
    resolved,
    facts,
    library: {
      model: "flux",
      backend: "comfyui",
      seed: 7,
      width: 64,
      height: 32,
      cost: null,
      currency: null,
      ...library,
    },
  } as unknown as ShownImageView;
}

test("what differs comes first, and says what each image has", () => {
  const lines = compareImages(
    [
      image({ prompt: "a fox", steps: 20, sampler: "euler" }, {}, { latency_seconds: 3 }),
      image({ prompt: "a fox", steps: 6 }, { model: "sd" }, { latency_seconds: 3 }),
    ],
    words,
  );
  expect(lines.filter((line) => line.differs)).toEqual([
    { name: "model", values: ["flux", "sd"], differs: true },
    { name: "steps", values: ["20", "6"], differs: true },
    { name: "sampler", values: ["euler", ""], differs: true },
  ]);
  expect(lines.filter((line) => !line.differs).map((line) => line.name)).toEqual([
    "backend",
    "prompt",
    "seed",
    "size",
    "time",
  ]);
});

test("lists and objects are words", () => {
  const loras = [
    { name: "ink", strength: 0.5 },
    { name: "oil", strength: 1 },
  ];
  const [line] = compareImages([image({ loras }), image({ loras: [] })], words);
  expect(line).toEqual({ name: "loras", values: ["ink 0.5, oil 1", ""], differs: true });
});

test("three images differ if one does", () => {
  const lines = compareImages([image({ a: 1 }), image({ a: 1 }), image({ a: 2 })], words);
  expect(lines[0]).toEqual({ name: "a", values: ["1", "1", "2"], differs: true });
});
