import { beforeEach, expect, test } from "vitest";

import { Draft } from "./draft";

class MemoryStorage implements Storage {
  #values = new Map<string, string>();
  get length(): number {
    return this.#values.size;
  }
  key = (index: number): string | null => [...this.#values.keys()][index] ?? null;
  getItem = (name: string): string | null => this.#values.get(name) ?? null;
  setItem = (name: string, value: string): void => void this.#values.set(name, value);
  removeItem = (name: string): void => void this.#values.delete(name);
  clear = (): void => this.#values.clear();
}

let device: Storage;
beforeEach(() => (device = new MemoryStorage()));

test("a new tab begins with what was written last; each tab keeps its own", () => {
  const tabs = [new MemoryStorage(), new MemoryStorage()] as const;
  const first = new Draft(device, tabs[0]);
  first.set({ prompt: "fog" });
  const second = new Draft(device, tabs[1]);
  expect(second.request).toEqual({ prompt: "fog" });
  second.set({ prompt: "rain" });
  expect(first.request).toEqual({ prompt: "fog" });
  expect(new Draft(device, tabs[0]).request).toEqual({ prompt: "fog" });
  expect(new Draft(device, new MemoryStorage()).request).toEqual({ prompt: "rain" });
});

test("reusing all replaces the draft, a part leaves the others", () => {
  const draft = new Draft(device);
  draft.set({ prompt: "fog", steps: 4, seed: 1, aspect: "1:1" });
  draft.reuse({ prompt: "rain", seed: 7, width: 640, height: 480 }, "lab", "size");
  expect(draft.request).toEqual({ prompt: "fog", steps: 4, seed: 1, width: 640, height: 480 });
  draft.reuse({ prompt: "rain", seed: 7 }, "lab", "remix");
  expect(draft.values).toEqual({ request: { prompt: "rain" }, backends: ["lab"], models: [] });
});

test("what was there before can be restored", () => {
  const draft = new Draft(device);
  draft.set({ prompt: "fog" });
  const before = draft.values;
  draft.restore({ request: {}, backends: [] });
  draft.restore(before);
  expect(new Draft(device).request).toEqual({ prompt: "fog" });
});

test("choosing one model names it; several are compared", () => {
  const draft = new Draft(device);
  draft.set({ prompt: "fog" });
  draft.choose(["lab"], ["dusk"]);
  expect(draft.values).toEqual({
    request: { prompt: "fog", model: "dusk" },
    backends: ["lab"],
    models: [],
  });
  draft.choose(["lab"], ["dusk", "dawn"]);
  expect(draft.models).toEqual(["dusk", "dawn"]);
  expect(draft.request).toEqual({ prompt: "fog" });
  draft.setBackends(["lab", "cloud"]);
  expect(new Draft(device).values).toEqual({
    request: { prompt: "fog" },
    backends: ["lab", "cloud"],
    models: [],
  });
});
