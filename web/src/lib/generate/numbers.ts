import type { ParameterView } from "../api/schema";

/** What a number became because of what the model accepts, and why. */
export interface Snapped {
  value: number;
  why: "min" | "max" | "multiple" | "whole" | null;
  /** The limit or the grid that decided. */
  limit: number;
}

/** The nearest value that a parameter accepts, as the server finds it. */
export function snapNumber(value: number, parameter: ParameterView): Snapped {
  const { min, max, multiple_of: grid } = parameter;
  const isWhole = parameter.type === "int";
  let snapped = isWhole ? Math.round(value) : value;
  if (isWhole && grid)
    snapped = Math.max(1, Math.floor((snapped + Math.floor(grid / 2)) / grid)) * grid;
  const isOnGrid = snapped === value;
  if (min !== null && snapped < min) return { value: min, why: "min", limit: min };
  if (max !== null && snapped > max) return { value: max, why: "max", limit: max };
  if (isOnGrid) return { value, why: null, limit: 0 };
  return grid && grid > 1
    ? { value: snapped, why: "multiple", limit: grid }
    : { value: snapped, why: "whole", limit: 1 };
}

/** A number as people write it, with a comma or a point; null if it is not one. */
export function parseNumber(text: string): number | null {
  const trimmed = text.trim().replace(",", ".");
  const value = Number(trimmed);
  return trimmed !== "" && Number.isFinite(value) ? value : null;
}

/** How far a slider of a parameter reaches; null if it has no sensible range. */
export function sliderRange(
  parameter: ParameterView,
): { min: number; max: number; step: number } | null {
  const { min, max } = parameter;
  if (min === null || max === null || max <= min || max - min > 10_000) return null;
  if (parameter.type === "int") return { min, max, step: parameter.multiple_of ?? 1 };
  const span = max - min;
  return { min, max, step: span <= 2 ? 0.01 : span <= 20 ? 0.1 : 0.5 };
}

const LARGEST_SEED = 2n ** 64n - 1n;

/**
 * A seed as a request takes it, or null for text that is not one; -1 counts as random.
 *
 * Seeds above 2^53 do not fit into a number: they stay text, which the server reads too.
 */
export function parseSeed(text: string): number | string | null {
  const trimmed = text.trim();
  if (!/^\d{1,20}$/.test(trimmed)) return null;
  const seed = BigInt(trimmed);
  if (seed > LARGEST_SEED) return null;
  return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : String(seed);
}

/** The seed so many images later. */
export function addToSeed(seed: unknown, more: number): number | string {
  const next = BigInt.asUintN(64, BigInt(seed as number | string) + BigInt(more));
  return next <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(next) : String(next);
}

/** A new random seed, short enough to read and type. */
export function drawSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] as number;
}
