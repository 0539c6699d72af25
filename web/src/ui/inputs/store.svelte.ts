/** What the pickers and slots of the generate form share. */
import { allParameters } from "$lib/generate/capabilities";
import { ModelCatalog } from "$lib/inputs/catalog";
import { libraryWord } from "$lib/inputs/images";
import type { Choice, Price, State } from "$lib/inputs/models";
import { type Control, newControl, openSlots, putImage, type SlotName } from "$lib/inputs/slots";
import { Uploads } from "$lib/inputs/uploads";
import {
  api,
  base,
  draft,
  form,
  format,
  live,
  onEvent,
  onResync,
  router,
  t,
  toasts,
} from "$ui/app.svelte";
import { openForm } from "$ui/shell/actions";

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
  if (backends.length) return backends;
  return [live(form).backend].filter(Boolean);
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

export const uploads = new Uploads(base, {
  most: () => catalog.maxUploadBytes,
  tooLarge: ({ name, size }) =>
    t("inputs.tooLarge", {
      name,
      size: format().bytes(size),
      most: format().bytes(catalog.maxUploadBytes),
    }),
  unreachable: () => t("inputs.unreachable"),
});

/** Put an image of the library, or an upload, into a slot of the form. */
export function useImage(
  word: string,
  slot: SlotName,
  index: number | null = null,
  control = newControl(form.capabilities),
): void {
  draft.set(putImage(draft.request, slot, word, index, control));
}

/** Put an image of the library into a slot of the form, and show the form. */
export function useAsInput(
  uid: string,
  slot: SlotName,
  control?: { backend: string; settings: Omit<Control, "image"> },
): void {
  if (control && control.backend !== form.backend) form.choose(control.backend);
  useImage(libraryWord(uid), slot, null, control?.settings);
  openForm();
  toasts.show(t("viewer.addedToForm"));
}

/** Send files, and put them into a slot: lists take all of them. */
export async function useFiles(
  files: readonly File[],
  slot: SlotName,
  index: number | null = null,
): Promise<void> {
  const isList = slot === "references" || slot === "controls";
  const taken = isList && index === null ? files : files.slice(0, 1);
  for (const file of taken) {
    const word = await uploads.send(slot, file);
    if (word) useImage(word, slot, index);
  }
}

/** The slot that an image without a place goes to. */
export function nextSlot(): SlotName | null {
  const known = allParameters(form.capabilities?.tasks ?? []);
  const open = openSlots(draft.request, known);
  return open[0] ?? (known.image ? "image" : null);
}
