import type { BackendCapabilitiesView, BackendView } from "../api/schema";
import { libraryWord } from "../inputs/images";
import type { SlotName } from "../inputs/slots";

/** The values of a request, as `POST /generations` takes them. */
export type RequestValues = Record<string, unknown>;

export interface Sides {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** What belongs to the images that a request starts from, and to their size. */
const INPUTS = [
  "image",
  "mask",
  "feather",
  "outpaint",
  "upscale",
  "restore",
  "preprocess",
  "references",
  "controls",
  "strength",
] as const;
const SIZES = ["width", "height", "aspect"] as const;

/** The same request with `count` new seeds. */
export function varySeed(request: RequestValues, count: number): RequestValues {
  return { ...without(request, ["seed"]), count };
}

export function upscale(uid: string, factor: number, method = ""): RequestValues {
  return { image: libraryWord(uid), upscale: { factor, ...(method ? { method } : {}) } };
}

/** The request of an image that is made larger on some sides, painted as the image was. */
export function outpaint(request: RequestValues, uid: string, sides: Sides): RequestValues {
  const kept = without(request, [...INPUTS, ...SIZES, "seed", "count"]);
  return { ...kept, image: libraryWord(uid), outpaint: { ...sides } };
}

/** Change an image by an instruction. */
export function edit(uid: string, instruction: string): RequestValues {
  return { prompt: instruction, references: [libraryWord(uid)] };
}

function without(request: RequestValues, names: readonly string[]): RequestValues {
  return Object.fromEntries(Object.entries(request).filter(([name]) => !names.includes(name)));
}

const TASK_OF: Record<SlotName, string> = {
  image: "image-to-image",
  mask: "inpaint",
  references: "edit",
  controls: "control",
};

export interface KnownBackend {
  view: BackendView;
  /** Null while it is not known. */
  capabilities: BackendCapabilitiesView | null;
}

export function canDo(backend: KnownBackend, task: string): boolean {
  return backend.capabilities?.tasks.some((one) => one.task === task) ?? false;
}

export function taskOf(slot: SlotName): string {
  return TASK_OF[slot];
}

/** The backends that can do a task, that of the image first. */
export function backendsFor(
  task: string,
  backends: readonly KnownBackend[],
  own: string,
): KnownBackend[] {
  const able = backends.filter((one) => canDo(one, task));
  return able.sort((a, b) => Number(b.view.name === own) - Number(a.view.name === own));
}

/** Why no backend can do a task, as a backend says it; empty if none says why. */
export function reasonAgainst(task: string, backends: readonly KnownBackend[]): string {
  for (const { view } of backends) {
    const missing = view.lacking.find((one) => one.what === task);
    if (missing) return [missing.why, missing.remedy].filter(Boolean).join(" ");
  }
  return "";
}

/** The id in what a person pastes: an id, or a link to an image of this page. */
export function readImageId(text: string): string {
  const trimmed = text.trim().replace(/^image:/, "");
  const match = /\/image\/([0-9a-f-]{3,36}(?:\.\d+)?)/i.exec(trimmed);
  return match?.[1] ?? trimmed;
}

/** The models that a backend lets a request choose for a task. */
export function takesModel(
  backends: readonly KnownBackend[],
  name: string,
  task: string,
): readonly string[] {
  const tasks = backends.find((one) => one.view.name === name)?.capabilities?.tasks;
  return tasks?.find((one) => one.task === task)?.parameters.model?.choices ?? [];
}

/** The task of a request, by what it starts from: the first that applies, as the server decides. */
export function taskOfRequest(request: RequestValues): string {
  const isRedrawn = Boolean(request.prompt) || isSet(request.strength);
  const signs: [string, boolean][] = [
    ["preprocess", isSet(request.preprocess)],
    ["restore", isSet(request.restore)],
    ["upscale", isSet(request.upscale) && !isRedrawn],
    ["outpaint", isSet(request.outpaint)],
    ["inpaint", isSet(request.mask)],
    ["edit", isFilled(request.references)],
    ["image-to-image", isSet(request.image)],
    ["control", isFilled(request.controls)],
    ["variation", isSet(request.variation_strength)],
  ];
  return signs.find(([, applies]) => applies)?.[0] ?? "text-to-image";
}

function isSet(value: unknown): boolean {
  return value !== null && value !== undefined;
}

function isFilled(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0;
}
