import type {
  BackendCapabilitiesView,
  ComparisonEstimateView,
  ComparisonView,
  ParameterView,
} from "../api/schema";
import { addValues, type AxisParameter, type AxisValue, type Chip, chosen } from "./values";

export interface FormAxis {
  /** The parameter; empty until one is chosen. */
  name: string;
  chips: Chip[];
}

/** What the form of a comparison holds. */
export interface CompareForm {
  prompt: string;
  /** As typed; empty for one that is drawn. All cells share it. */
  seed: string;
  /** Whether each cell has a seed of its own instead. */
  hasOwnSeeds: boolean;
  /** Whether the other values of the generate form are taken over. */
  usesDraft: boolean;
  models: string[];
  axes: FormAxis[];
}

export const EMPTY_FORM: CompareForm = {
  prompt: "",
  seed: "",
  hasOwnSeeds: false,
  usesDraft: true,
  models: [],
  axes: [{ name: "", chips: [] }],
};

const KINDS = new Set(["text", "string", "int", "float", "bool", "enum", "seed", "model"]);
const SKIPPED = new Set(["width", "height", "count", "aspect_ratio"]);
const SIZES = ["1024x1024", "768x1152", "1152x768", "512x512"];
/** Values of the generate form that a comparison has itself. */
const OWN = new Set(["prompt", "seed", "count"]);

/** The parameters that these backends have and an axis can vary, in their order. */
export function listParameters(
  capabilities: BackendCapabilitiesView[],
  models: Record<string, string[]> = {},
): AxisParameter[] {
  const found = new Map<string, AxisParameter>();
  for (const known of capabilities) {
    const own = (known.tasks.find((one) => one.task === "text-to-image") ?? known.tasks[0])
      ?.parameters;
    for (const [name, parameter] of Object.entries(own ?? {})) {
      const before = found.get(name);
      if (before) before.choices = joinChoices(before.choices, parameter.choices ?? []);
      else if (KINDS.has(parameter.kind) && !SKIPPED.has(name)) {
        found.set(name, describe(name, parameter, models[name] ?? []));
      }
    }
    if (own?.["width"] && own["height"]) found.set("size", named("size", "Size", SIZES));
    if (own?.["loras"]) {
      found.set("lora", named("lora", "LoRA", [...(models["lora"] ?? []), "none"]));
      const strength = { ...named("lora_strength", "LoRA strength", []), type: "float" as const };
      found.set("lora_strength", { ...strength, min: -10, max: 10 });
    }
  }
  return [...found.values()];
}

function named(name: string, label: string, suggestions: string[]): AxisParameter {
  return { name, label, type: "string", choices: [], suggestions };
}

function describe(name: string, from: ParameterView, suggestions: string[]): AxisParameter {
  const { type, min, max, choices, label } = from;
  return { name, label, type, min, max, choices: [...(choices ?? [])], suggestions };
}

/** What any of the backends takes; nothing is limited if one of them takes anything. */
function joinChoices(some: string[], others: readonly string[]): string[] {
  if (some.length === 0 || others.length === 0) return [];
  return [...new Set([...some, ...others])];
}

/** The default of a parameter: the first that a backend has. */
export function defaultOf(name: string, capabilities: BackendCapabilitiesView[]): unknown {
  for (const { tasks } of capabilities) {
    const known = tasks
      .map((task) => task.parameters[name]?.default)
      .find((one) => (one ?? null) !== null);
    if (known !== undefined) return known;
  }
  return null;
}

/** The names of the values of the generate form that a comparison takes over. */
export function listTakenOver(draft: Record<string, unknown>, form: CompareForm): string[] {
  const varied = new Set(form.axes.flatMap((axis) => replacedBy(axis.name)));
  return Object.keys(draft).filter((name) => !OWN.has(name) && !varied.has(name));
}

function replacedBy(axis: string): string[] {
  return axis === "size" ? ["width", "height", "aspect"] : [axis];
}

export interface Vary {
  name: string;
  values: AxisValue[];
}

export interface CompareBody {
  request: Record<string, unknown>;
  models: string[];
  vary: Vary[];
  own_seeds?: boolean;
}

/** The values of the axes that have some. */
export function listVaried(form: CompareForm): Vary[] {
  return form.axes
    .map(({ name, chips }) => ({ name, values: chosen(chips) }))
    .filter(({ name, values }) => name !== "" && values.length > 0);
}

/** What is sent to start a comparison. */
export function buildBody(form: CompareForm, draft: Record<string, unknown>): CompareBody {
  const taken = form.usesDraft ? listTakenOver(draft, form) : [];
  const request: Record<string, unknown> = Object.fromEntries(
    taken.map((name) => [name, draft[name]]),
  );
  if (form.prompt.trim()) request["prompt"] = form.prompt;
  // Text keeps all digits of a seed beyond 2^53, and the server reads it as a number.
  const seed = form.seed.trim();
  if (seed && !form.hasOwnSeeds)
    request["seed"] = Number.isSafeInteger(Number(seed)) ? Number(seed) : seed;
  const vary = listVaried(form);
  const own = form.hasOwnSeeds && !vary.some((axis) => axis.name === "seed");
  return { request, models: form.models, vary, ...(own ? { own_seeds: true } : {}) };
}

/** The form for more of a comparison: all that it has is there. */
export function formOf(comparison: ComparisonView): CompareForm {
  return {
    prompt: String(comparison.request["prompt"] ?? ""),
    seed: String(comparison.request["seed"] ?? ""),
    hasOwnSeeds: comparison.has_own_seeds,
    usesDraft: false,
    models: [...comparison.models],
    axes: comparison.axes.map(({ name, values }) => ({
      name,
      chips: addValues([], values as AxisValue[]),
    })),
  };
}

/** What one backend adds to a comparison. */
export interface ModelPart {
  images: number;
  /** For one image. */
  seconds: number | null;
  cost: number | null;
  isFree: boolean;
  /** The axes that it does not take, so that it counts once for all their values. */
  lacks: string[];
  error: string;
}

export function partOf(estimate: ComparisonEstimateView, model: string): ModelPart {
  const cells = estimate.cells.filter((cell) => cell.model === model);
  const planned = cells.filter((cell) => cell.state === "planned" && cell.images > 0);
  const first = planned[0];
  const same = cells.filter((cell) => cell.state === "same");
  const axes = new Set(cells.flatMap((cell) => Object.keys(cell.values)));
  const dropped = new Set(same.flatMap((cell) => cell.dropped));
  return {
    images: planned.reduce((sum, cell) => sum + cell.images, 0),
    seconds: first && first.usual_seconds !== null ? first.usual_seconds / first.images : null,
    cost: first && first.cost_usd !== null ? first.cost_usd / first.images : null,
    isFree: planned.every((cell) => cell.is_free),
    lacks: [...axes].filter((name) => name.split("+").some((one) => dropped.has(one))),
    error: cells.find((cell) => cell.error)?.error?.message ?? "",
  };
}
