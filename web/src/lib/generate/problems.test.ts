import { expect, test } from "vitest";

import { ApiError } from "../api/client";
import { readProblems } from "./problems";

const known = new Set(["prompt", "width", "steps", "model", "loras", "quality", "image", "style"]);
const read = (detail: string) =>
  readProblems(new ApiError(400, "request", detail, "Do it."), known);

test("each line belongs to its field", () => {
  expect(read("width: must be at least 16, not 3\nsteps: must be at least 0")).toEqual({
    fields: { width: "Must be at least 16, not 3", steps: "Must be at least 0" },
    general: "",
    remedy: "Do it.",
    code: "request",
  });
});

test.each([
  ["model cannot be 'nope'.", "model"],
  ["steps must be a whole number, not 'x'.", "steps"],
  ["loras[0].strength: must be at most 10, not 50", "loras"],
  ["extra.quality: must be text", "quality"],
  ["image: 'x' is not an image that a client can name.", "image"],
  ["The prompt, character 3: this brace is not closed: {b|c", "prompt"],
  ["The negative prompt, character 3: this brace is not closed: {b|c", "negative"],
  ["This backend needs a prompt that says what the image should show.", "prompt"],
  ["Unknown style 'x'.", "style"],
])("%s", (detail, field) => {
  expect(Object.keys(read(detail).fields)).toEqual([field]);
});

test("what names no field stays general", () => {
  const problem = read("The engine does not answer.\ncomfyui: stopped");
  expect(problem).toMatchObject({
    fields: {},
    general: "The engine does not answer. comfyui: stopped",
  });
});
