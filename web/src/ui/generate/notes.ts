import type { Snapped } from "$lib/generate/numbers";
import { format, t } from "$ui/app.svelte";

/** What happened to a number that the user typed; empty if nothing did. */
export function noteOf(typed: number | null, snapped: Snapped | null): string {
  if (typed === null || !snapped?.why) return "";
  const values = {
    typed: format().number(typed, { useGrouping: false }),
    value: format().number(snapped.value, { useGrouping: false }),
    limit: format().number(snapped.limit, { useGrouping: false }),
  };
  return t(`generate.snapped.${snapped.why}`, values);
}
