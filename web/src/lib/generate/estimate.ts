import { ApiError, type Client, data } from "../api/client";
import type { EstimateView } from "../api/schema";
import { Observable } from "../observable";
import { isSame } from "./capabilities";
import type { RequestDraft } from "./request";

const AFTER = 350;

/** What the request in the form would cost and take. */
export class Estimate extends Observable {
  /** The latest answer; stays while a newer one is on its way. */
  view: EstimateView | null = null;
  /** Why there is no estimate for what is in the form now. */
  error: ApiError | null = null;
  /** Whether `view` is not about what is in the form now. */
  isStale = false;
  #asked: { request: RequestDraft; backend: string } | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reading: AbortController | null = null;

  constructor(private readonly api: Client) {
    super();
  }

  /** Estimate this request soon; null if it cannot be sent as it is. */
  ask(request: RequestDraft | null, backend: string): void {
    if (request === null) return this.#clear();
    const asked = { request, backend };
    if (isSame(asked, this.#asked)) return;
    this.#asked = asked;
    this.refresh();
  }

  /** Estimate the same again, because other jobs have come or gone. */
  refresh(): void {
    if (!this.#asked) return;
    clearTimeout(this.#timer);
    this.#reading?.abort();
    this.isStale = true;
    this.changed();
    this.#timer = setTimeout(() => void this.#read(), AFTER);
  }

  #clear(): void {
    clearTimeout(this.#timer);
    this.#reading?.abort();
    this.#asked = null;
    this.view = null;
    this.error = null;
    this.isStale = false;
    this.changed();
  }

  async #read(): Promise<void> {
    const reading = (this.#reading = new AbortController());
    const body = { request: {}, backend: "", literal: false, strict: false, ...this.#asked };
    try {
      const call = this.api.POST("/api/v1/estimate", { body, signal: reading.signal });
      const view = await data(call);
      if (reading.signal.aborted) return;
      this.view = view;
      this.error = null;
    } catch (error) {
      if (reading.signal.aborted) return;
      this.error = error instanceof ApiError ? error : null;
      if (this.error?.status !== 0) this.view = null;
    }
    this.isStale = false;
    this.changed();
  }
}
