import type { ParameterView } from "../api/schema";
import type { Parameters } from "./capabilities";
import { snapNumber } from "./numbers";
import { type RequestDraft, valueOf } from "./request";

/** A size that can be chosen with one tap. */
export interface SizeChip {
  ratio: string;
  width: number;
  height: number;
}

export interface Size {
  width: number;
  height: number;
}

const RATIOS = ["1:1", "4:3", "3:2", "16:9", "3:4", "9:16"];
const USUAL_SIDE = 1024;
/** Models are trained on multiples of it, whatever else they accept. */
const COARSE_GRID = 64;
const SMALL_PIXELS = 512 * 512;

/** How a model takes a size: as pixels, as one of some ratios, or not at all. */
export function sizeKind(parameters: Parameters): "pixels" | "ratios" | null {
  if (parameters.width && parameters.height) return "pixels";
  return parameters.aspect_ratio?.choices ? "ratios" : null;
}

/** The chips of a model: six ratios at about its usual number of pixels, or those that it has. */
export function sizeChips(parameters: Parameters): SizeChip[] {
  const kind = sizeKind(parameters);
  if (kind === null) return [];
  const usual = usualSize(parameters);
  if (kind === "pixels") {
    return RATIOS.map((ratio) => ({ ratio, ...sizeOf(readRatio(ratio), usual, parameters) }));
  }
  const known = (parameters.aspect_ratio?.choices ?? []).filter((one) => readRatio(one) > 0);
  const first = RATIOS.filter((ratio) => known.includes(ratio));
  const others = known.filter((ratio) => !RATIOS.includes(ratio));
  return [...first, ...others]
    .slice(0, Math.max(RATIOS.length, first.length))
    .map((ratio) => ({ ratio, ...sizeOf(readRatio(ratio), usual, parameters) }));
}

/** The size of a request; what it leaves out is the model's default. */
export function currentSize(request: RequestDraft, parameters: Parameters): Size {
  const usual = usualSize(parameters);
  const aspect = readRatio(String(request.aspect ?? ""));
  const { width, height } = request as Partial<Size>;
  if (aspect > 0 && !(width && height)) {
    if (width) return { width, height: Math.round(width / aspect) };
    if (height) return { width: Math.round(height * aspect), height };
    return sizeOf(aspect, usual, parameters);
  }
  return { width: width ?? usual.width, height: height ?? usual.height };
}

/** The chip that stands for the size of a request; undefined for a size of one's own. */
export function currentChip(
  request: RequestDraft,
  parameters: Parameters,
  chips: readonly SizeChip[],
): SizeChip | undefined {
  const ratio = valueOf(request, "aspect_ratio");
  if (sizeKind(parameters) === "ratios") {
    const chosen = ratio ?? nearestRatio(request, chips) ?? parameters.aspect_ratio?.default;
    return chips.find((one) => one.ratio === chosen);
  }
  const size = currentSize(request, parameters);
  return chips.find((one) => one.width === size.width && one.height === size.height);
}

/** The values that choosing a chip sets. */
export function chooseChip(chip: SizeChip, parameters: Parameters): RequestDraft {
  const { ratio, width, height } = chip;
  const isRatio = sizeKind(parameters) === "ratios";
  return { width, height, aspect: null, aspect_ratio: isRatio ? ratio : null };
}

/** Width and height exchanged, as the model accepts them. */
export function swapSize(size: Size, parameters: Parameters): Size {
  const fit = (value: number, rule?: ParameterView): number =>
    rule ? snapNumber(value, rule).value : value;
  return {
    width: fit(size.height, parameters.width),
    height: fit(size.width, parameters.height),
  };
}

/** What is sent of the size to a model that has only ratios: the one nearest to the pixels. */
export function nearestRatio(
  request: RequestDraft,
  chips: readonly SizeChip[],
): string | undefined {
  const { width, height } = request as Partial<Size>;
  if (!width || !height) return undefined;
  const away = (one: SizeChip): number =>
    Math.abs(Math.log(readRatio(one.ratio) * (height / width)));
  return [...chips].sort((a, b) => away(a) - away(b))[0]?.ratio;
}

/** `16:9` as a number; 0 for anything else. */
export function readRatio(text: string): number {
  const [, wide, high] = /^(\d{1,5}(?:\.\d+)?):(\d{1,5}(?:\.\d+)?)$/.exec(text) ?? [];
  return Number(high) > 0 ? Number(wide) / Number(high) : 0;
}

function usualSize(parameters: Parameters): Size {
  const side = (rule?: ParameterView): number | null => (rule?.default as number | null) ?? null;
  const [width, height] = [side(parameters.width), side(parameters.height)];
  return { width: width ?? height ?? USUAL_SIDE, height: height ?? width ?? USUAL_SIDE };
}

/** A size of this ratio with about as many pixels, on the grid of the model. */
function sizeOf(ratio: number, usual: Size, parameters: Parameters): Size {
  const { width, height } = parameters;
  if (Math.abs(Math.log(ratio * (usual.height / usual.width))) < 0.001) return usual;
  const pixels = usual.width * usual.height;
  const grid = Math.max(width?.multiple_of ?? 1, height?.multiple_of ?? 1);
  const isCoarse = pixels >= SMALL_PIXELS && COARSE_GRID % grid === 0;
  const step = isCoarse ? COARSE_GRID : Math.max(grid, 8);
  const exact = Math.sqrt(pixels * ratio);
  let best: Size = usual;
  let least = Infinity;
  for (const wide of around(exact, step, width)) {
    for (const high of around(exact / ratio, step, height)) {
      const off =
        Math.abs(Math.log(wide / high / ratio)) + Math.abs(Math.log((wide * high) / pixels));
      if (off < least) [best, least] = [{ width: wide, height: high }, off];
    }
  }
  return best;
}

function around(side: number, step: number, rule?: ParameterView): number[] {
  const below = Math.max(1, Math.floor(side / step)) * step;
  return [below - step, below, below + step, below + 2 * step]
    .filter((one) => one > 0)
    .map((one) => (rule ? snapNumber(one, rule).value : one));
}
