import type { BackendCapabilitiesView, ParameterView, TaskView } from "../api/schema";
import { ALWAYS_SENT, inferTask, listValues, type RequestDraft, type Task } from "./request";

export type Parameters = Record<string, ParameterView>;

/** The input images of a request, in the order of the form. */
export const SLOTS = ["image", "mask", "references", "controls"] as const;
export type SlotName = (typeof SLOTS)[number];

/** A place for input images. */
export interface Slot {
  name: SlotName;
  /** How the model takes it; null if it cannot. */
  parameter: ParameterView | null;
  isFilled: boolean;
}

/** Values that mean nothing without the input image that they belong to. */
const BELONGS: Record<string, SlotName> = {
  strength: "image",
  outpaint: "image",
  upscale: "image",
  restore: "image",
  preprocess: "image",
  feather: "mask",
};

/** What a request means to a backend. */
export interface Plan {
  task: Task;
  /** The value that decided the task; empty for none. */
  because: string;
  /** False if the backend cannot do this kind of work at all. */
  isPossible: boolean;
  /** What the backend takes for this task. */
  parameters: Parameters;
  slots: Slot[];
  /** Values that are kept in the form, but not sent: their names. */
  unused: string[];
  /** The request without them. */
  sent: RequestDraft;
}

/** The parameters of any task of a backend. */
export function allParameters(tasks: readonly TaskView[]): Parameters {
  return Object.assign({}, ...[...tasks].reverse().map((one) => one.parameters)) as Parameters;
}

/** How a backend would understand a request, and what it could not use of it. */
export function planRequest(request: RequestDraft, view: BackendCapabilitiesView): Plan {
  const known = allParameters(view.tasks);
  const slots = SLOTS.map((name) => ({
    name,
    parameter: known[name] ?? null,
    isFilled: listValues(request).some(([other]) => other === name),
  }));
  const usable = keepValues(request, (name) => {
    const slot = BELONGS[name];
    const isFilled = slots.some((one) => one.name === slot && one.isFilled && one.parameter);
    const isInput = slot !== undefined || (SLOTS as readonly string[]).includes(name);
    return !isInput || (known[name] !== undefined && (slot === undefined || isFilled));
  });
  const { task, because } = inferTask(usable);
  const found = view.tasks.find((one) => one.task === task);
  const parameters = (found ?? view.tasks[0])?.parameters ?? {};
  const sent = keepValues(usable, (name) => name in parameters || ALWAYS_SENT.has(name));
  const names = new Set(listValues(sent).map(([name]) => name));
  const unused = listValues(request)
    .map(([name]) => name)
    .filter(
      (name) => !names.has(name) && !(name in parameters) && !(name in BELONGS && known[name]),
    );
  return { task, because, isPossible: found !== undefined, parameters, slots, unused, sent };
}

function keepValues(request: RequestDraft, isKept: (name: string) => boolean): RequestDraft {
  const result: RequestDraft = {};
  const extra: RequestDraft = {};
  for (const [name, value] of listValues(request)) {
    if (!isKept(name)) continue;
    if (name in request) result[name] = value;
    else extra[name] = value;
  }
  return Object.keys(extra).length > 0 ? { ...result, extra } : result;
}

/** The names of values that differ from the defaults of the model, of those given. */
export function listChanged(
  request: RequestDraft,
  parameters: Parameters,
  names: readonly string[],
): string[] {
  const values = new Map(listValues(request));
  return names.filter((name) => {
    const value = values.get(name);
    return value !== undefined && !isSame(value, parameters[name]?.default);
  });
}

export function isSame(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
