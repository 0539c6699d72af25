import type { BackendCapabilitiesView, ParameterView } from "../api/schema";
import { SLOTS, type SlotName } from "../generate/capabilities";
import type { RequestDraft } from "../generate/request";

export type { SlotName } from "../generate/capabilities";

/** A control image of a request. */
export interface Control {
  kind: string;
  image: string;
  strength?: number;
  start?: number;
  end?: number;
  preprocess?: boolean;
}

/** An image of a request: `references:1` is the second reference. */
export interface FilledSlot {
  slot: SlotName;
  index: number;
  image: string;
  control: Control | null;
  /** Whether the model takes it. */
  isUsable: boolean;
}

/** All images of a request, in the order of the form. */
export function listImages(request: RequestDraft, known: Record<string, unknown>): FilledSlot[] {
  return SLOTS.flatMap((slot): FilledSlot[] => {
    const value = request[slot];
    const isUsable = slot in known;
    const one = (image: string, index = 0, control: Control | null = null): FilledSlot => ({
      slot,
      index,
      image,
      control,
      isUsable,
    });
    if (typeof value === "string") return [one(value)];
    if (!Array.isArray(value)) return [];
    return (value as unknown[]).map((item, index) =>
      slot === "controls"
        ? one((item as Control).image, index, item as Control)
        : one(String(item), index),
    );
  });
}

/** The slots that can take one more image. */
export function openSlots(request: RequestDraft, known: Record<string, ParameterView>): SlotName[] {
  return SLOTS.filter((slot) => {
    if (!(slot in known)) return false;
    if (slot === "mask") return Boolean(request.image) && !request.mask;
    if (slot === "image") return !request.image;
    return true;
  });
}

/** The values of a request with one more image in a slot, or another one at a place of a list. */
export function putImage(
  request: RequestDraft,
  slot: SlotName,
  image: string,
  index: number | null = null,
  control: Omit<Control, "image"> = { kind: "canny" },
): RequestDraft {
  if (slot === "image" || slot === "mask") return { [slot]: image };
  const before = (request[slot] as unknown[] | undefined) ?? [];
  const isNew = index === null || index >= before.length;
  const old = isNew ? undefined : (before[index] as Control | string);
  const item =
    slot === "controls" ? { ...((old as Control | undefined) ?? control), image } : image;
  return { [slot]: isNew ? [...before, item] : before.map((one, i) => (i === index ? item : one)) };
}

/** A control image as the backend takes it: made from a picture where the backend can. */
export function newControl(
  view: BackendCapabilitiesView | null,
  kind = view?.controls[0] ?? "canny",
): Omit<Control, "image"> {
  return view?.preprocessors.includes(kind) ? { kind, preprocess: true } : { kind };
}

/** The values of a request without an image; what needs it goes with it. */
export function removeImage(request: RequestDraft, slot: SlotName, index: number): RequestDraft {
  if (slot === "image") return { image: null, mask: null, outpaint: null, feather: null };
  if (slot === "mask") return { mask: null, feather: null };
  return { [slot]: ((request[slot] as unknown[] | undefined) ?? []).filter((_, i) => i !== index) };
}

/** The values of a request with a control image changed. */
export function changeControl(
  request: RequestDraft,
  index: number,
  change: Partial<Control>,
): RequestDraft {
  const controls = (request.controls as Control[] | undefined) ?? [];
  return { controls: controls.map((one, i) => (i === index ? { ...one, ...change } : one)) };
}

/** The kinds of control image that a backend takes. */
export function controlKinds(view: BackendCapabilitiesView | null, current = ""): string[] {
  return [...new Set([...(view?.controls ?? []), ...(current ? [current] : [])])];
}

/** Each side of an image that is to be extended, in pixels; null without any. */
export function setSide(
  outpaint: Record<string, number> | null,
  side: string,
  pixels: number,
): Record<string, number> | null {
  const sides = { ...outpaint, [side]: Math.max(0, Math.round(pixels)) };
  const kept = Object.entries(sides).filter(([, value]) => value > 0);
  return kept.length ? Object.fromEntries(kept) : null;
}
