import { ApiError, data } from "$lib/api/client";
import type { ArenaRankingView } from "$lib/api/schema";
import { api } from "$ui/app.svelte";

interface CountedVotes {
  set: string;
  prompt?: string;
  voter?: string;
  tag?: string;
}

/** The ranking that is shown, and the prompts and voters that it can be filtered by. */
class RankingState {
  view = $state<ArenaRankingView | null>(null);
  error = $state<ApiError | null>(null);
  /** The tags that images have, and how many images have each. */
  tags = $state.raw<ArenaRankingView["prompts"]>([]);
  #turn = 0;

  async read(query: CountedVotes): Promise<void> {
    const turn = ++this.#turn;
    void this.#readTags();
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

  async #readTags(): Promise<void> {
    const tags = await data(api.GET("/api/v1/tags")).catch(() => []);
    this.tags = tags.map(({ name, images }) => ({ id: name, name, votes: images }));
  }
}
export const ranking = new RankingState();
