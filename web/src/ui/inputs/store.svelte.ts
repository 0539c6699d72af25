/** What the pickers and slots of the generate form share. */
import { ModelCatalog } from "$lib/inputs/catalog";
import type { Choice, Price, State } from "$lib/inputs/models";
import { api, draft, format, live, onEvent, onResync, router, t } from "$ui/app.svelte";

export const catalog = new ModelCatalog(api);

const REFRESH_AFTER = 1000;
let timer: ReturnType<typeof setTimeout> | undefined;

onResync(() => void catalog.refresh());
onEvent((event) => {
  if (event.kind !== "state" || timer !== undefined) return;
  timer = setTimeout(() => {
    timer = undefined;
    void catalog.refreshStatus();
  }, REFRESH_AFTER);
});

/** The backends that the form generates with: those chosen, or the server's own. */
export function chosenBackends(): string[] {
  const { backends } = live(draft);
  const own = live(catalog).defaultBackend;
  return backends.length ? backends : own ? [own] : [];
}

/** What the model picker shows beside the form: its name in the address. */
export function openPicker(pick: string): void {
  router.setQuery({ pick }, { push: true });
}

export function closePicker(): void {
  const { path, query } = router.place;
  router.back(path, { ...Object.fromEntries(query), pick: null });
}

/** `Free`, `$0.030` or `Price unknown`: never zero for what is not known. */
export function priceText(price: Price): string {
  if (price.kind === "free") return t("models.free");
  if (price.kind === "unknown") return t("models.priceUnknown");
  const digits = { minimumFractionDigits: 3, maximumFractionDigits: 3 };
  return format().number(price.usd, { style: "currency", currency: "USD", ...digits });
}

export function timeText(choice: Choice): string {
  if (choice.seconds === null) return t("models.timeUnknown");
  return t("models.about", { time: format().duration(Math.max(1, Math.round(choice.seconds))) });
}

export function stateText(state: State, waiting: number): string {
  switch (state) {
    case "unavailable":
      return t("models.unavailable");
    case "paused":
      return t("models.paused");
    case "unchecked":
      return waiting > 0 ? t("models.waiting", { waiting }) : "";
    default:
      return waiting > 0 ? t("models.readyWaiting", { waiting }) : t("models.ready");
  }
}
