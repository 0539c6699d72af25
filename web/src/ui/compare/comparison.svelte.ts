import { ApiError, data } from "$lib/api/client";
import type { ComparisonView } from "$lib/api/schema";
import { api, onEvent, onResync } from "$ui/app.svelte";

/** Changes of jobs that come within so many milliseconds are read together. */
const READ_AFTER = 150;

/** A comparison of the server, read anew whenever one of its jobs changes. */
export class ShownComparison {
  view = $state.raw<ComparisonView | null>(null);
  error = $state.raw<ApiError | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stops: (() => void)[];

  constructor(readonly id: string) {
    this.#stops = [
      onEvent((event) => {
        if (event.kind === "state" || event.kind === "images_changed") this.#schedule();
      }),
      onResync(() => void this.read()),
    ];
    void this.read();
  }

  async read(): Promise<void> {
    try {
      const path = { id: this.id };
      this.view = await data(api.GET("/api/v1/comparisons/{id}", { params: { path } }));
      this.error = null;
    } catch (error) {
      if (error instanceof ApiError && error.status !== 0) this.error = error;
    }
  }

  /** Generate what is missing: of everything, or of one cell alone. */
  async extend(models: string[] = [], vary: ComparisonView["axes"] = []): Promise<void> {
    const path = { id: this.id };
    const body = { backend: "", priority: 0, strict: false, literal: false, models, vary };
    await data(api.POST("/api/v1/comparisons/{id}", { params: { path }, body }));
    await this.read();
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const stop of this.#stops) stop();
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.read();
    }, READ_AFTER);
  }
}
