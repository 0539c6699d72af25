import { t } from "$ui/app.svelte";

/** The heading of the picker that the address names. */
export function pickerTitle(pick: string): string {
  const [kind] = pick.split(":");
  switch (kind) {
    case "model":
      return t("models.title");
    case "lora":
      return t("loras.add");
    default:
      return t("inputs.choose");
  }
}
