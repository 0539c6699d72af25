import { beforeEach, expect, test, vi } from "vitest";

import { BackLayer } from "./back_layer";
import { Router } from "./router";

/** A window with a history, as far as the router uses them. */
class FakeWindow extends EventTarget {
  document = new EventTarget();
  location = { href: "http://host/app/?q=fog" };
  #entries = [{ href: this.location.href, state: null as unknown }];
  #at = 0;
  history = {
    state: null as unknown,
    pushState: (state: unknown, _: string, href: string) => {
      this.#entries = [...this.#entries.slice(0, this.#at + 1), { href, state }];
      this.#show(this.#at + 1);
    },
    replaceState: (state: unknown, _: string, href: string) => {
      this.#entries[this.#at] = { href, state };
      this.#show(this.#at);
    },
    back: () => {
      this.#show(this.#at - 1);
      this.dispatchEvent(new Event("popstate"));
    },
  };
  get length(): number {
    return this.#at + 1;
  }
  #show(at: number): void {
    this.#at = at;
    this.history.state = this.#entries[at]?.state;
    this.location.href = this.#entries[at]?.href ?? "";
  }
}

let page: FakeWindow;
let router: Router;
const onclose = vi.fn();
let layer: BackLayer;

beforeEach(() => {
  page = new FakeWindow();
  router = new Router(new URL("http://host/app/"), page as unknown as Window);
  onclose.mockReset();
  layer = new BackLayer(router, page as unknown as Window, onclose);
});

test("Back closes it and stays at the place", () => {
  layer.open();
  expect(page.length).toBe(2);
  page.history.back();
  expect(onclose).toHaveBeenCalledOnce();
  expect(layer.isOpen).toBe(false);
  expect([page.length, page.location.href]).toEqual([1, "http://host/app/?q=fog"]);
});

test("what the address became while it was open stays after it", () => {
  layer.open();
  router.setQuery({ star: "1", q: null });
  page.history.back();
  expect([page.length, page.location.href]).toEqual([1, "http://host/app/?star=1"]);
});

test("it leaves no entry when it is closed, and what follows comes after that", () => {
  layer.open();
  layer.close(() => router.push("trash"));
  expect(onclose).toHaveBeenCalledOnce();
  expect([page.length, page.location.href]).toEqual([2, "http://host/app/trash"]);
});

test("a place above it leaves it open until Back goes below it", () => {
  layer.open();
  router.push("image/1");
  expect(onclose).not.toHaveBeenCalled();
  page.history.back();
  expect(layer.isOpen).toBe(true);
  page.history.back();
  expect(onclose).toHaveBeenCalledOnce();
});

test("one above another closes first", () => {
  const above = vi.fn();
  layer.open();
  const second = new BackLayer(router, page as unknown as Window, above);
  second.open();
  page.history.back();
  expect([above.mock.calls.length, onclose.mock.calls.length]).toEqual([1, 0]);
  page.history.back();
  expect(onclose).toHaveBeenCalledOnce();
});

test("without being open, closing only goes on", () => {
  const then = vi.fn();
  layer.close(then);
  expect(then).toHaveBeenCalledOnce();
  expect(onclose).not.toHaveBeenCalled();
});
