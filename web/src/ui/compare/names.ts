import type { MessageKey } from "$lib/i18n";
import { BACKEND, type Head, valueText } from "$lib/compare/grid";
import { t } from "$ui/app.svelte";

/** Names of parameters that an axis may have; the others are shown as they are called. */
const NAMES: Record<string, MessageKey> = {
  backend: "compare.name.backend",
  model: "compare.name.model",
  prompt: "compare.name.prompt",
  negative: "compare.name.negative",
  size: "compare.name.size",
  aspect: "compare.name.aspect",
  width: "compare.name.width",
  height: "compare.name.height",
  seed: "compare.name.seed",
  steps: "compare.name.steps",
  cfg: "compare.name.cfg",
  guidance: "compare.name.guidance",
  sampler: "compare.name.sampler",
  scheduler: "compare.name.scheduler",
  strength: "compare.name.strength",
  lora: "compare.name.lora",
  loras: "compare.name.lora",
  lora_strength: "compare.name.loraStrength",
  style: "compare.name.style",
  image: "compare.name.image",
  mask: "compare.name.mask",
  time: "compare.name.time",
  cost: "compare.name.cost",
};

/** What a parameter or a dimension is called; of several that change together, each. */
export function nameOf(dimension: string): string {
  const names = dimension.split("+").map((name) => {
    const key = NAMES[name];
    const words = name.replaceAll("_", " ");
    return key ? t(key) : words.charAt(0).toUpperCase() + words.slice(1);
  });
  return names.join(" + ");
}

/** A head as text: the name of a backend alone, else with what it is the value of. */
export function headText(head: Head): string {
  const value = valueText(head.value);
  if (head.dimension === BACKEND || head.dimension === "prompt") return value;
  return t("compare.head", { name: nameOf(head.dimension), value });
}
