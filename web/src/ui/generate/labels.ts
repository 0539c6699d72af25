import type { ParameterView } from "$lib/api/schema";
import type { MessageKey } from "$lib/i18n";
import english from "$lib/messages/en";
import { t } from "$ui/app.svelte";

/** What a parameter is called: in the user's language if every engine calls it the same. */
export function labelOf(name: string, parameter?: ParameterView): string {
  const key = `generate.field.${name}`;
  if (key in english) return t(key as MessageKey);
  const words = name.replaceAll(/[_-]+/g, " ");
  return parameter?.label || words.charAt(0).toUpperCase() + words.slice(1);
}
