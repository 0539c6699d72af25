import { expect, test, vi } from "vitest";

import type { Client } from "../api/client";
import { Prompts, shorten } from "./prompts";

test.each([
  ["a fox", "a fox"],
  ["  a\n fox ", "a fox"],
  ["x".repeat(81), `${"x".repeat(80)}…`],
  ["🦊".repeat(90), `${"🦊".repeat(80)}…`],
  ["שועל בשלג", "שועל בשלג"],
])("%s", (prompt, name) => {
  expect(shorten(prompt)).toBe(name);
});

test("each image is asked for once", async () => {
  const GET = vi.fn(async () => ({ data: { images: [{ uid: "a.1", prompt: "a fox" }] } }));
  const prompts = new Prompts({ GET } as unknown as Client);
  await prompts.read(["a.1", "gone.1"]);
  await prompts.read(["a.1", "gone.1"]);
  expect(GET).toHaveBeenCalledTimes(1);
  expect(prompts.get("a.1")).toBe("a fox");
  expect(prompts.get("gone.1")).toBe("");
});

test("without an answer, it is asked for again", async () => {
  const GET = vi
    .fn()
    .mockRejectedValueOnce(new Error("down"))
    .mockResolvedValue({
      data: { images: [{ uid: "a.1", prompt: "a fox" }] },
    });
  const prompts = new Prompts({ GET } as unknown as Client);
  await prompts.read(["a.1"]);
  await prompts.read(["a.1"]);
  expect(prompts.get("a.1")).toBe("a fox");
});
