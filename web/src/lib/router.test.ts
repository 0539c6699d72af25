import { expect, test } from "vitest";

import { BackLayer } from "./back_layer";
import { Router } from "./router";

/** A window with a history, as browsers have one; what it does is done at once. */
class FakeWindow extends EventTarget {
  document = new EventTarget();
  location: { href: string };
  entries: { state: unknown; href: string }[];
  at = 0;
  history: {
    state: unknown;
    pushState: (state: unknown, title: string, href: string) => void;
    replaceState: (state: unknown, title: string, href: string) => void;
    back: () => void;
    go: (steps: number) => void;
  };

  constructor(href: string, state: unknown = null) {
    super();
    this.entries = [{ state, href }];
    this.location = { href };
    this.history = {
      state,
      pushState: (state, _title, href) => {
        this.entries.splice(++this.at, Infinity, { state, href });
        this.#load();
      },
      replaceState: (state, _title, href) => {
        this.entries[this.at] = { state, href };
        this.#load();
      },
      back: () => this.move(-1),
      go: (steps) => this.move(steps),
    };
  }

  move(steps: number): void {
    const at = this.at + steps;
    if (at < 0 || at >= this.entries.length) return;
    this.at = at;
    this.#load();
    this.dispatchEvent(new Event("popstate"));
  }

  #load(): void {
    const entry = this.entries[this.at] as { state: unknown; href: string };
    this.location.href = entry.href;
    this.history.state = entry.state;
  }
}

function open(path = "", base = "http://host/imagen/", state: unknown = null) {
  const window = new FakeWindow(base + path, state);
  const router = new Router(new URL(base), window as unknown as Window);
  const back = (): void => window.history.back();
  return { window, router, back };
}

test("paths are below the base path, decoded, and without slashes at the end", () => {
  expect(open("image/9f3c.1?details=1").router.place.path).toBe("image/9f3c.1");
  expect(open("compare/").router.place.path).toBe("compare");
  expect(open("compare/a%20b").router.place.path).toBe("compare/a b");
  expect(open("compare/100%").router.place.path).toBe("compare/100%");
  expect(open("").router.place.path).toBe("");
  expect(open("?q=x%26y").router.place.query.get("q")).toBe("x&y");
});

test("addresses are relative to the base path", () => {
  const { router } = open();
  expect(router.href("usage", { by: "day", since: null, q: "a b" })).toBe(
    "http://host/imagen/usage?by=day&q=a+b",
  );
});

test("it changes some parameters of the query and keeps the others", () => {
  const { router, window, back } = open("?q=fog&star=1");
  router.setQuery({ star: null, size: "portrait" });
  expect(window.location.href).toBe("http://host/imagen/?q=fog&size=portrait");
  expect(window.entries).toHaveLength(1);
  router.setQuery({ panel: "queue" }, { push: true });
  expect(router.depth).toBe(1);
  back();
  expect([router.depth, router.place.query.get("panel")]).toEqual([0, null]);
});

test("back leaves the page only if it was there before", () => {
  const first = open("settings");
  first.router.back("", { q: "x" });
  expect(first.window.location.href).toBe("http://host/imagen/?q=x");
  first.router.push("usage");
  first.router.back("");
  expect(first.window.location.href).toBe("http://host/imagen/?q=x");
  for (const panel of ["queue", "job"]) first.router.setQuery({ panel }, { push: true });
  first.router.back("", {}, 2);
  expect([first.window.location.href, first.router.depth]).toEqual(["http://host/imagen/?q=x", 0]);
});

test("back closes popover, sheet, selection, viewer and page in this order", () => {
  const { router, window, back } = open();
  const closed: string[] = [];
  const openLayer = (name: string): void =>
    new BackLayer(router, window as unknown as Window, () => closed.push(name)).open();
  router.push("compare");
  router.push("");
  router.push("image/a.1");
  router.push("");
  openLayer("selection");
  router.setQuery({ panel: "more" }, { push: true });
  openLayer("popover");
  back();
  expect([closed, router.place.query.get("panel")]).toEqual([["popover"], "more"]);
  back();
  expect([closed, router.place.query.get("panel")]).toEqual([["popover"], null]);
  back();
  expect(closed).toEqual(["popover", "selection"]);
  back();
  expect(router.place.path).toBe("image/a.1");
  back();
  back();
  expect(router.place.path).toBe("compare");
});

test("a view that is chosen in a sheet takes its place, so that one Back returns", () => {
  const { router, window, back } = open();
  router.setQuery({ panel: "more" }, { push: true });
  router.replaceHref(router.href("arena"));
  expect([router.place.path, window.entries.length]).toEqual(["arena", 2]);
  back();
  expect([router.place.path, router.place.query.get("panel")]).toEqual(["", null]);
});

test("links of the page are followed without loading it", () => {
  const { router, window } = open();
  const click = (link: object, event: object = {}): boolean => {
    const element = { hasAttribute: () => false, target: "", ...link };
    const target = { closest: () => element };
    const made = Object.assign(new Event("click", { cancelable: true }), { button: 0, ...event });
    Object.defineProperty(made, "target", { value: target });
    window.document.dispatchEvent(made);
    return made.defaultPrevented;
  };
  expect(click({ href: "http://host/imagen/usage" })).toBe(true);
  expect(router.place.path).toBe("usage");
  expect(click({ href: "http://host/imagen/api/v1/images/x/file" })).toBe(false);
  expect(click({ href: "http://elsewhere/" })).toBe(false);
  expect(click({ href: "http://host/imagen/arena" }, { ctrlKey: true })).toBe(false);
  expect(click({ href: "http://host/imagen/arena" }, { button: 1 })).toBe(false);
  expect(click({ href: "http://host/imagen/arena", target: "_blank" })).toBe(false);
  expect(click({ href: "http://host/imagen/usage" })).toBe(true);
  expect(window.entries).toHaveLength(2);
});
