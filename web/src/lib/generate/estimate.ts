import { ApiError } from "../api/client";
import type { ComparisonEstimateView, EstimateView } from "../api/schema";
import { Observable } from "../observable";
import { isSame } from "./capabilities";

const AFTER = 350;

/** What the values of a form would cost and take. */
export class Estimate<Asked, View> extends Observable {
  /** The latest answer; stays while a newer one is on its way. */
  view: View | null = null;
  /** Why there is no estimate for what is in the form now. */
  error: ApiError | null = null;
  /** Whether `view` is not about what is in the form now. */
  isStale = false;
  #asked: Asked | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reading: AbortController | null = null;

  constructor(private readonly read: (asked: Asked, signal: AbortSignal) => Promise<View>) {
    super();
  }

  /** Estimate this soon; null if it cannot be sent as it is. */
  ask(asked: Asked | null): void {
    if (asked === null) return this.close();
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

  close(): void {
    clearTimeout(this.#timer);
    this.#reading?.abort();
    this.#asked = null;
    this.view = null;
    this.error = null;
    this.isStale = false;
    this.changed();
  }

  async #read(): Promise<void> {
    if (this.#asked === null) return;
    const reading = (this.#reading = new AbortController());
    try {
      const view = await this.read(this.#asked, reading.signal);
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

/** What the generate form says of an estimate, whether of one backend or of several. */
export type ShownEstimate = Pick<
  EstimateView,
  | "usual_seconds"
  | "cost_usd"
  | "is_free"
  | "budgets"
  | "is_over_budget"
  | "plan"
  | "not_honoured"
  | "warnings"
> & {
  /** Of a comparison: the parameters that a backend does not take. */
  dropped: { model: string; names: string[] }[];
};

export function estimateOfOne(view: EstimateView): ShownEstimate {
  return { ...view, dropped: [] };
}

export function estimateOfSeveral(view: ComparisonEstimateView): ShownEstimate {
  const models = [...new Set(view.cells.map((cell) => cell.model))];
  const namesOf = (model: string): string[] => [
    ...new Set(view.cells.filter((cell) => cell.model === model).flatMap((cell) => cell.dropped)),
  ];
  return {
    ...view,
    cost_usd: view.unknown_costs > 0 ? null : view.cost_usd,
    plan: [],
    not_honoured: [],
    warnings: [
      ...new Set(
        view.cells.flatMap(({ model, error }) => (error ? [`${model}: ${error.message}`] : [])),
      ),
    ],
    dropped: models.map((model) => ({ model, names: namesOf(model) })),
  };
}
