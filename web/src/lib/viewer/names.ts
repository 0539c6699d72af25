import type { MessageKey } from "../i18n";
import { plainName } from "./values";

/** The parameters that the page has words for. */
const KNOWN = [
  "prompt",
  "negative",
  "prompt_2",
  "negative_2",
  "width",
  "height",
  "aspect",
  "seed",
  "steps",
  "cfg",
  "guidance",
  "sampler",
  "scheduler",
  "count",
  "style",
  "model",
  "loras",
  "image",
  "strength",
  "mask",
  "feather",
  "outpaint",
  "references",
  "controls",
  "upscale",
  "restore",
  "clip_skip",
  "variation_seed",
  "variation_strength",
] as const;

/** The name of a parameter for people; one of an engine's own in plain letters. */
export function parameterName(name: string, t: (key: MessageKey) => string): string {
  const known = KNOWN.find((one) => one === name);
  return known ? t(`parameter.${known}`) : plainName(name);
}
