import { ApiError, data } from "$lib/api/client";
import { api, gallery, t, toasts } from "$ui/app.svelte";

const STAR = 5;

/** Star the images of a set that may have the first rank; the toast undoes it. */
export async function starBest(set: string): Promise<void> {
  try {
    const query = { set };
    const ranking = await data(api.GET("/api/v1/arena/ranking", { params: { query } }));
    const best = ranking.contenders.filter((one) => one.rank_first === 1 && one.votes > 0);
    const leaders = best.length < ranking.contenders.length ? best : best.slice(0, 1);
    const uids = leaders.map((one) => one.image);
    if (uids.length === 0) {
      toasts.show(t("arena.noVotes"));
      return;
    }
    await gallery.rate(uids, STAR);
    toasts.show(t("arena.starred", { count: uids.length }), {
      label: t("common.undo"),
      run: () => void gallery.rate(uids, null),
    });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toasts.show(error.detail);
  }
}
