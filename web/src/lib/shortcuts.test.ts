import { expect, test, vi } from "vitest";

import { type ActionId, CATALOG, findConflicts, isSingle, listAreas } from "./shortcut_catalog";
import { type Cover, keysOf, Shortcuts } from "./shortcuts";

const plain = { ctrlKey: false, altKey: false, shiftKey: false, metaKey: false };

function press(
  key: string,
  more: Partial<KeyboardEvent> = {},
): KeyboardEvent & { preventDefault: ReturnType<typeof vi.fn> } {
  const event = { key, ...plain, target: null, defaultPrevented: false, isComposing: false };
  return { ...event, preventDefault: vi.fn(), ...more } as never;
}

/** An element that has these inside. */
function element(...inside: Element[]): Element {
  const one = { contains: (other: Element) => other === one || inside.includes(other) };
  return one as unknown as Element;
}

function setUp() {
  const state = {
    keys: {} as Record<string, string>,
    hasSingleKeys: true,
    cover: null as Cover | null,
  };
  const shortcuts = new Shortcuts({
    keys: () => state.keys,
    hasSingleKeys: () => state.hasSingleKeys,
    coverOf: () => state.cover,
  });
  return { state, shortcuts };
}

test("keys are written as people write them", () => {
  const keys = (key: string, more: Partial<KeyboardEvent> = {}): string => keysOf(press(key, more));
  expect(keys("x")).toBe("x");
  expect(keys("X")).toBe("x"); // caps lock
  expect(keys("X", { shiftKey: true })).toBe("Shift+X");
  expect(keys("?", { shiftKey: true })).toBe("?");
  expect(keys("z", { metaKey: true })).toBe("Ctrl+Z");
  expect(keys("Enter", { ctrlKey: true, shiftKey: true })).toBe("Ctrl+Shift+Enter");
  expect(keys("ArrowUp", { altKey: true })).toBe("Alt+ArrowUp");
  expect(keys(" ")).toBe("Space");
  expect(keys("ß")).toBe("ß");
});

test("a key runs its action until the view is gone", () => {
  const { shortcuts } = setUp();
  const run = vi.fn();
  const stop = shortcuts.add({ "gallery.select": run });
  const event = press("x");
  shortcuts.handle(event);
  expect(run).toHaveBeenCalledOnce();
  expect(event.preventDefault).toHaveBeenCalled();
  const other = press("y");
  shortcuts.handle(other);
  expect(other.preventDefault).not.toHaveBeenCalled();
  stop();
  shortcuts.handle(press("x"));
  expect(run).toHaveBeenCalledOnce();
});

test("of two views with the same key, the later one has it", () => {
  const { shortcuts } = setUp();
  const below = vi.fn();
  const above = vi.fn();
  shortcuts.add({ "gallery.star": below });
  const stop = shortcuts.add({ "viewer.star": above });
  shortcuts.handle(press("."));
  stop();
  shortcuts.handle(press("."));
  expect([below.mock.calls.length, above.mock.calls.length]).toEqual([1, 1]);
});

test("keys can be changed, turned off, and left to fields", () => {
  const { state, shortcuts } = setUp();
  const queue = vi.fn();
  const submit = vi.fn();
  shortcuts.add({ "global.queue": queue, "generate.submit": submit, "gallery.search": queue });
  state.keys = { "global.queue": "j" };
  shortcuts.handle(press("Q", { shiftKey: true }));
  expect(queue).not.toHaveBeenCalled();
  shortcuts.handle(press("j"));
  expect(queue).toHaveBeenCalledOnce();
  const field = { tagName: "TEXTAREA" } as unknown as EventTarget;
  shortcuts.handle(press("j", { target: field }));
  shortcuts.handle(press("Enter", { ctrlKey: true, target: field }));
  expect([queue.mock.calls.length, submit.mock.calls.length]).toEqual([1, 1]);
  state.hasSingleKeys = false;
  shortcuts.handle(press("j"));
  shortcuts.handle(press("/"));
  expect(queue).toHaveBeenCalledOnce();
  expect(shortcuts.keysFor("gallery.search")).toBe("");
  state.keys = { "global.queue": "" };
  state.hasSingleKeys = true;
  shortcuts.handle(press("Q", { shiftKey: true }));
  expect(queue).toHaveBeenCalledOnce();
});

test("a slider takes letters, a text field does not give them away", () => {
  const { shortcuts } = setUp();
  const run = vi.fn();
  shortcuts.add({ "gallery.select": run });
  for (const type of ["range", "checkbox", "text", "search"]) {
    shortcuts.handle(press("x", { target: { tagName: "INPUT", type } as never }));
  }
  shortcuts.handle(press("x", { isComposing: true }));
  shortcuts.handle(press("x", { defaultPrevented: true }));
  expect(run).toHaveBeenCalledTimes(2);
});

test("what is modal takes the keys of the page beneath", () => {
  const { state, shortcuts } = setUp();
  const runs: string[] = [];
  const note = (name: string) => () => void runs.push(name);
  const prompt = element();
  shortcuts.add({
    "gallery.delete": note("delete"),
    "gallery.select": note("select"),
    "gallery.selectAll": note("all"),
    "global.keys": note("keys"),
    "global.undo": note("undo"),
  });
  shortcuts.add({ "generate.submit": note("submit") }, () => prompt);
  const pressAll = (): void => {
    runs.length = 0;
    for (const key of ["Delete", "x", "?"]) shortcuts.handle(press(key));
    for (const key of ["a", "z", "Enter"]) shortcuts.handle(press(key, { ctrlKey: true }));
  };
  pressAll();
  expect(runs).toEqual(["delete", "select", "keys", "all", "undo", "submit"]);
  state.cover = { element: element(), isView: false };
  pressAll();
  expect(runs).toEqual(["undo"]);
  state.cover = { element: element(), isView: true };
  pressAll();
  expect(runs).toEqual(["keys", "undo"]);
  state.cover = { element: element(prompt), isView: false };
  pressAll();
  expect(runs).toEqual(["undo", "submit"]);
  const dialog = element();
  state.cover = { element: dialog, isView: false };
  shortcuts.add({ "compare.swap": note("swap") }, () => dialog);
  shortcuts.handle(press("c"));
  expect(runs).toEqual(["undo", "submit", "swap"]);
});

test("who captures the keys gets them all until it stops", () => {
  const { shortcuts } = setUp();
  const run = vi.fn();
  const captured = vi.fn();
  shortcuts.add({ "gallery.select": run });
  const stop = shortcuts.capture(captured);
  shortcuts.handle(press("x"));
  stop();
  shortcuts.handle(press("x"));
  expect([run.mock.calls.length, captured.mock.calls.length]).toEqual([1, 1]);
});

test("no two actions of the catalog have the same keys where both are active", () => {
  const ids = Object.keys(CATALOG) as ActionId[];
  expect(ids.flatMap((id) => findConflicts(id, {}))).toEqual([]);
  expect(findConflicts("gallery.date", { "gallery.date": "x" })).toEqual(["gallery.select"]);
  expect(findConflicts("gallery.date", { "gallery.date": "?" })).toEqual(["global.keys"]);
  expect(findConflicts("gallery.date", { "gallery.date": "t" })).toEqual(["generate.panel"]);
  expect(findConflicts("gallery.date", { "gallery.date": "u" })).toEqual([]);
});

test("each key is in one area, and single keys are those without Ctrl and Alt", () => {
  const listed = listAreas().flatMap(({ ids }) => ids);
  expect(listed.sort()).toEqual(Object.keys(CATALOG).sort());
  const single = ["x", "Shift+X", "?", "+"];
  expect(single.map(isSingle)).toEqual([true, true, true, true]);
  expect(["Ctrl+A", "Delete", "ArrowUp", "Alt+A", ""].map(isSingle)).toEqual(Array(5).fill(false));
});
