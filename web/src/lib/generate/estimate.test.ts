import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { createApi } from "../api/client";
import { Estimate } from "./estimate";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function make(answers: (() => Promise<Response>)[]) {
  const prompts: unknown[] = [];
  const api = createApi(new URL("http://lab/"), async (input) => {
    const request = input as Request;
    prompts.push(((await request.json()) as { request: { prompt: string } }).request.prompt);
    return (answers.shift() as () => Promise<Response>)();
  });
  return { estimate: new Estimate(api), prompts };
}
const says = (seconds: number) => async () => Response.json({ usual_seconds: seconds });

test("only what stays for a moment is estimated", async () => {
  const { estimate, prompts } = make([says(12)]);
  estimate.ask({ prompt: "f" }, "lab");
  await vi.advanceTimersByTimeAsync(100);
  estimate.ask({ prompt: "fog" }, "lab");
  expect(estimate.isStale).toBe(true);
  await vi.advanceTimersByTimeAsync(1000);
  estimate.ask({ prompt: "fog" }, "lab");
  await vi.advanceTimersByTimeAsync(1000);
  expect(prompts).toEqual(["fog"]);
  expect(estimate).toMatchObject({ view: { usual_seconds: 12 }, isStale: false });
});

test("an answer that is late does not replace a newer one; the old one stays meanwhile", async () => {
  const slow = (): Promise<Response> =>
    new Promise((resolve) => setTimeout(() => resolve(Response.json({ usual_seconds: 1 })), 5000));
  const { estimate } = make([says(3), slow, says(2)]);
  estimate.ask({ prompt: "a" }, "lab");
  await vi.advanceTimersByTimeAsync(500);
  estimate.ask({ prompt: "b" }, "lab");
  await vi.advanceTimersByTimeAsync(500);
  expect(estimate).toMatchObject({ view: { usual_seconds: 3 }, isStale: true });
  estimate.ask({ prompt: "c" }, "lab");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(estimate.view).toEqual({ usual_seconds: 2 });
});

test("a refused request has an error; without a request there is nothing", async () => {
  const refusal = async () => Response.json({ detail: "steps: too many" }, { status: 400 });
  const { estimate } = make([refusal]);
  estimate.ask({ prompt: "a" }, "lab");
  await vi.advanceTimersByTimeAsync(500);
  expect(estimate).toMatchObject({ view: null, error: { detail: "steps: too many" } });
  estimate.ask(null, "lab");
  expect(estimate.error).toBeNull();
});
