import { ApiError, type Client, data } from "../api/client";
import type { SubmissionView } from "../api/schema";
import { isLive, type JobStore } from "../jobs";
import { Observable } from "../observable";
import { randomId } from "../platform";
import type { Size } from "./sizes";
import { addToSeed } from "./numbers";
import type { RequestDraft } from "./request";

/** Something to generate. */
export interface Order {
  request: RequestDraft;
  backend: string;
  /** How the images will be, for their tiles. */
  size: Size | null;
  priority?: number;
  /** Not before this moment. */
  at?: Date;
  isOverBudget?: boolean;
}

/** The places in line before all jobs that were submitted in the usual way. */
export const TO_THE_FRONT = 100;
/** After no answer, the same submission is sent again, so many milliseconds later. */
const AGAIN_AFTER = [400, 1500];
/** How many jobs of a repeated order are in line: the engine never waits for the page. */
const AHEAD = 2;

/** Submits what the form holds. Each order is one submission, whatever the network does. */
export class Submitter extends Observable {
  /** How many submissions the server has not answered yet. */
  pending = 0;
  /** The order that is repeated until the user stops it; null if none is. */
  repeated: { order: Order; rounds: number; images: number } | null = null;
  /** Why the repetition ended by itself. */
  repeatError: ApiError | null = null;
  /** The last order that got no answer: given again, it has the same key. */
  #unanswered: { body: string; key: string } | null = null;
  /** The jobs of each repeated round that may not have ended. */
  #inLine: string[][] = [];
  #isRepeating = false;

  constructor(
    private readonly api: Client,
    private readonly jobs: JobStore,
    private readonly wait = (ms: number): Promise<void> =>
      new Promise((resolve) => setTimeout(resolve, ms)),
  ) {
    super();
    jobs.subscribe(() => void this.#repeat());
  }

  /** Put an order in line. Raises ApiError. */
  async submit(order: Order): Promise<SubmissionView> {
    const { request, backend, size, priority = 0, at, isOverBudget = false } = order;
    const body = {
      request,
      backend,
      priority,
      literal: false,
      strict: false,
      over_budget: isOverBudget,
      ...(at ? { at: at.toISOString() } : {}),
    };
    const written = JSON.stringify(body);
    const key = this.#unanswered?.body === written ? this.#unanswered.key : randomId();
    this.#unanswered = null;
    const expectation = this.jobs.expect({
      prompt: String(request.prompt ?? ""),
      backend,
      model: (request.model as string | undefined) ?? null,
      width: size?.width ?? null,
      height: size?.height ?? null,
      count: (request.count as number | undefined) ?? 1,
    });
    this.pending += 1;
    this.changed();
    try {
      const submission = await this.#send(body, key);
      expectation.confirm(submission);
      return submission;
    } catch (error) {
      expectation.withdraw();
      if (error instanceof ApiError && error.status === 0) {
        this.#unanswered = { body: written, key };
      }
      throw error;
    } finally {
      this.pending -= 1;
      this.changed();
    }
  }

  /** Repeat an order until it is stopped, as long as the page is open. */
  async start(order: Order): Promise<void> {
    this.repeated = { order, rounds: 0, images: 0 };
    this.repeatError = null;
    this.#inLine = [];
    this.changed();
    await this.#repeat();
  }

  /** Submit no more of it; what is in line stays. */
  stop(): void {
    this.repeated = null;
    this.changed();
  }

  async #repeat(): Promise<void> {
    if (!this.repeated || this.#isRepeating) return;
    this.#isRepeating = true;
    try {
      while (this.#countInLine() < AHEAD && this.repeated) {
        const { order, rounds }: { order: Order; rounds: number } = this.repeated;
        const submission = await this.submit(nextRound(order, rounds));
        this.#inLine.push(submission.jobs);
        if (!this.repeated) break;
        const count = (order.request.count as number | undefined) ?? 1;
        this.repeated = { order, rounds: rounds + 1, images: this.repeated.images + count };
        this.changed();
      }
    } catch (error) {
      this.repeatError = error instanceof ApiError ? error : null;
      this.stop();
    } finally {
      this.#isRepeating = false;
    }
  }

  /** How many rounds have not ended; stops the repetition after a failure. */
  #countInLine(): number {
    const known = this.#inLine.flat().map((id) => this.jobs.jobs.get(id));
    const failed = known.find((job) => job?.state === "failed" || job?.state === "lost");
    if (failed) {
      const message = (failed.error as { message?: string } | null)?.message ?? "";
      this.repeatError = new ApiError(200, "failed", message, "");
      this.stop();
    }
    this.#inLine = this.#inLine.filter((round) =>
      round.some((id) => {
        const job = this.jobs.jobs.get(id);
        return job !== undefined && isLive(job);
      }),
    );
    return this.#inLine.length;
  }

  async #send(body: object & { request: RequestDraft }, key: string): Promise<SubmissionView> {
    const send = (): Promise<SubmissionView> =>
      data(
        this.api.POST("/api/v1/generations", {
          body: body as never,
          params: { header: { "idempotency-key": key } },
        }),
      ) as Promise<SubmissionView>;
    for (const pause of AGAIN_AFTER) {
      try {
        return await send();
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 0) throw error;
        await this.wait(pause);
      }
    }
    return send();
  }
}

/** The order of a later round: a fixed seed goes on where the round before ended. */
function nextRound(order: Order, round: number): Order {
  const { seed, count = 1 } = order.request;
  if (seed === undefined || round === 0) return order;
  const next = addToSeed(seed, round * (count as number));
  return { ...order, request: { ...order.request, seed: next } };
}
