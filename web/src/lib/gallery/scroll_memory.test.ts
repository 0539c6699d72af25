import { expect, test } from "vitest";

import { DismissedJobs, ScrollMemory } from "./scroll_memory";

function storage(): Storage {
  const values = new Map<string, string>();
  return {
    getItem: (name: string) => values.get(name) ?? null,
    setItem: (name: string, value: string) => void values.set(name, value),
  } as unknown as Storage;
}

test("a place survives a reload, for its filters alone", () => {
  const kept = storage();
  new ScrollMemory(kept).keep("fog", { uid: "a.1", offset: -30 });
  const memory = new ScrollMemory(kept);
  expect(memory.find("fog")).toEqual({ uid: "a.1", offset: -30 });
  expect(memory.find("")).toBeNull();
  memory.keep("fog", null);
  expect(memory.find("fog")).toBeNull();
});

test("only the last places are kept", () => {
  const memory = new ScrollMemory(storage());
  for (let n = 0; n < 30; n += 1) memory.keep(`q${n}`, { uid: "a.1", offset: n });
  expect(memory.find("q9")).toBeNull();
  expect(memory.find("q10")).not.toBeNull();
});

test("a dismissed job stays dismissed", () => {
  const kept = storage();
  new DismissedJobs(kept).add("abc");
  expect(new DismissedJobs(kept).has("abc")).toBe(true);
  expect(new DismissedJobs(kept).has("other")).toBe(false);
});
