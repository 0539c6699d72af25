import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { createApi, data } from "../api/client";
import type { ComparisonEstimateView } from "../api/schema";
import { Estimate, estimateOfSeveral } from "./estimate";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function make(answers: (() => Promise<Response>)[]) {
  const prompts: unknown[] = [];
  const api = createApi(new URL("http://lab/"), async (input) => {
    const request = input as Request;
    prompts.push(((await request.json()) as { request: { prompt: string } }).request.prompt);
    return (answers.shift() as () => Promise<Response>)();
  });
  const estimate = new Estimate((asked: { prompt: string }, signal) => {
    const body = { request: asked, backend: "lab", literal: false, strict: false };
    return data(api.POST("/api/v1/estimate", { body, signal }));
  });
  return { estimate, prompts };
}
const says = (seconds: number) => async () => Response.json({ usual_seconds: seconds });

test("only what stays for a moment is estimated", async () => {
  const { estimate, prompts } = make([says(12)]);
  estimate.ask({ prompt: "f" });
  await vi.advanceTimersByTimeAsync(100);
  estimate.ask({ prompt: "fog" });
  expect(estimate.isStale).toBe(true);
  await vi.advanceTimersByTimeAsync(1000);
  estimate.ask({ prompt: "fog" });
  await vi.advanceTimersByTimeAsync(1000);
  expect(prompts).toEqual(["fog"]);
  expect(estimate).toMatchObject({ view: { usual_seconds: 12 }, isStale: false });
});

test("an answer that is late does not replace a newer one; the old one stays meanwhile", async () => {
  const slow = (): Promise<Response> =>
    new Promise((resolve) => setTimeout(() => resolve(Response.json({ usual_seconds: 1 })), 5000));
  const { estimate } = make([says(3), slow, says(2)]);
  estimate.ask({ prompt: "a" });
  await vi.advanceTimersByTimeAsync(500);
  estimate.ask({ prompt: "b" });
  await vi.advanceTimersByTimeAsync(500);
  expect(estimate).toMatchObject({ view: { usual_seconds: 3 }, isStale: true });
  estimate.ask({ prompt: "c" });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(estimate.view).toEqual({ usual_seconds: 2 });
});

test("a refused request has an error; without a request there is nothing", async () => {
  const refusal = async () => Response.json({ detail: "steps: too many" }, { status: 400 });
  const { estimate } = make([refusal]);
  estimate.ask({ prompt: "a" });
  await vi.advanceTimersByTimeAsync(500);
  expect(estimate).toMatchObject({ view: null, error: { detail: "steps: too many" } });
  estimate.ask(null);
  expect(estimate.error).toBeNull();
});

test("a comparison costs what all of its backends cost", () => {
  const cell = { values: {}, state: "planned", images: 1, usual_seconds: 2, is_free: false };
  const failed = { code: "x", message: "too large", remedy: "" };
  const view = {
    images: 3,
    usual_seconds: 6,
    cost_usd: 0.25,
    unknown_costs: 0,
    is_free: false,
    budgets: ["over"],
    is_over_budget: true,
    cells: [
      { ...cell, model: "a", cost_usd: 0.1, dropped: ["cfg"], error: null },
      { ...cell, model: "a", cost_usd: 0.15, dropped: ["cfg"], error: null },
      { ...cell, model: "b", cost_usd: 0, dropped: [], error: failed },
    ],
  } as ComparisonEstimateView;
  expect(estimateOfSeveral(view)).toMatchObject({
    cost_usd: 0.25,
    usual_seconds: 6,
    is_over_budget: true,
    warnings: ["b: too large"],
    dropped: [
      { model: "a", names: ["cfg"] },
      { model: "b", names: [] },
    ],
  });
  expect(estimateOfSeveral({ ...view, unknown_costs: 1 }).cost_usd).toBeNull();
});
