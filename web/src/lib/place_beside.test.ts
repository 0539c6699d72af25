import { expect, test } from "vitest";

import { placeBeside } from "./place_beside";

const view = { width: 1000, height: 800 };
const small = { width: 200, height: 300 };
const at = (left: number, top: number) => ({ left, right: left + 80, top, bottom: top + 32 });

test("it is below its button", () => {
  expect(placeBeside(at(100, 50), small, view)).toEqual({ left: 100, top: 88, maxHeight: 704 });
});

test("it is above where there is more room", () => {
  expect(placeBeside(at(100, 700), small, view)).toMatchObject({ left: 100, top: 394 });
});

test("it never leaves the window", () => {
  expect(placeBeside(at(950, 50), small, view).left).toBe(792);
  expect(placeBeside(at(20, 50), small, view, true).left).toBe(8);
  expect(placeBeside(at(500, 50), small, view, true).left).toBe(380);
});

test("what is higher than the room scrolls", () => {
  const tall = placeBeside(at(100, 500), { width: 200, height: 2000 }, view);
  expect(tall).toMatchObject({ top: 8, maxHeight: 486 });
});
