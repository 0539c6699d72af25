import { SLOTS, type SlotName } from "$lib/generate/capabilities";
import { t } from "$ui/app.svelte";

/** The heading of the picker that the address names. */
export function pickerTitle(pick: string): string {
  const [kind, slot = ""] = pick.split(":");
  if (kind === "model") return t("models.title");
  if (kind === "lora") return t("loras.add");
  const isSlot = (SLOTS as readonly string[]).includes(slot);
  return isSlot ? t(`inputs.slot.${slot as SlotName}`) : t("inputs.choose");
}
