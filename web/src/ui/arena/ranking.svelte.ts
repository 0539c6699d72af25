import { ApiError, data } from "$lib/api/client";
import type { ArenaRankingView } from "$lib/api/schema";
import { api } from "$ui/app.svelte";

interface CountedVotes {
  set: string;
  prompt?: string;
  voter?: string;
}

/** The ranking that is shown, and the prompts and voters that it can be filtered by. */
class RankingState {
  view = $state<ArenaRankingView | null>(null);
  error = $state<ApiError | null>(null);
  #turn = 0;

  async read(query: CountedVotes): Promise<void> {
    const turn = ++this.#turn;
    try {
      const view = await data(api.GET("/api/v1/arena/ranking", { params: { query } }));
      if (turn !== this.#turn) return;
      this.view = view;
      this.error = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn === this.#turn) this.error = error;
    }
  }
}
export const ranking = new RankingState();
