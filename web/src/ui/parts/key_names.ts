import type { ActionId } from "$lib/shortcut_catalog";
import { t } from "$ui/app.svelte";

/** What the page calls an action that has keys. */
export function nameOfAction(id: ActionId): string {
  const stars = /\.rate(\d)$/.exec(id)?.[1];
  return stars ? t("keys.rate", { stars: Number(stars) }) : t(`keys.${id}` as "keys.global.keys");
}
