import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Announcer, ProgressReporter } from "./announcer";
import type { JobView } from "./api/schema";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("texts are said one after the other, none twice in a row, and none stays", () => {
  const announcer = new Announcer(1000);
  const said: string[] = [];
  announcer.subscribe(() => said.push(announcer.text));
  announcer.say("a");
  announcer.say("b");
  announcer.say("b");
  vi.advanceTimersByTime(0);
  expect(said).toEqual(["a"]);
  vi.advanceTimersByTime(5000);
  expect(said).toEqual(["a", "b", ""]);
  announcer.say("b");
  vi.advanceTimersByTime(0);
  expect(announcer.text).toBe("b");
});

function job(id: string, state: string, fraction: number | null = null): JobView {
  const progress = fraction === null ? null : { fraction };
  return { id, state, progress, counts: null } as unknown as JobView;
}

test("progress is said in steps of 10 %, at most every 5 seconds", () => {
  const reporter = new ProgressReporter();
  const at = (share: number, seconds: number) =>
    reporter.report([job("a", "running", share)], share, seconds * 1000);
  expect(at(0.05, 0)).toEqual([]);
  expect(at(0.12, 1)).toEqual([{ kind: "progress", number: 10 }]);
  expect(at(0.25, 3)).toEqual([]);
  expect(at(0.35, 6)).toEqual([{ kind: "progress", number: 30 }]);
  expect(at(0.36, 20)).toEqual([]);
});

test("what ended is said once, and nothing of what had ended before", () => {
  const reporter = new ProgressReporter();
  const running = [job("old", "done"), job("a", "running"), job("b", "running")];
  expect(reporter.report(running, 0, 0)).toEqual([]);
  const ended = [job("old", "done"), job("a", "done"), job("b", "failed"), job("c", "done")];
  expect(reporter.report(ended, 0, 1)).toEqual([
    { kind: "done", number: 1 },
    { kind: "failed", number: 1 },
  ]);
  expect(reporter.report(ended, 0, 2)).toEqual([]);
});

test("after everything has ended, progress begins anew", () => {
  const reporter = new ProgressReporter();
  reporter.report([job("a", "running", 0.9)], 0.9, 0);
  reporter.report([job("a", "done")], 0, 1000);
  expect(reporter.report([job("b", "running", 0.1)], 0.1, 60_000)).toEqual([
    { kind: "progress", number: 10 },
  ]);
});
