/** What the values of an axis are typed into: a parameter as the server describes it. */
export interface AxisParameter {
  name: string;
  label: string;
  type: "int" | "float" | "bool" | "string" | "image" | "json";
  min?: number | null | undefined;
  max?: number | null | undefined;
  /** The only valid values. */
  choices: string[];
  /** Values worth suggesting. */
  suggestions: string[];
}

export type AxisValue = string | number | boolean;

/** A value that the form has, and whether it is left out. */
export interface Chip {
  value: AxisValue;
  isOut: boolean;
}

export interface Parsed {
  values: AxisValue[];
  /** What was typed and is not a value of this parameter. */
  wrong: string[];
}

/** Axes with more values than this are a slip of the finger. */
const MOST = 50;
/** How many values a range of fractions has, if it names no step. */
const STEPS = 5;
const RANGE = /^(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)(?:\s*\/\s*(\d+(?:\.\d+)?))?$/;

/**
 * The values that a text names: `4, 8, 12`, `2..8`, `0.2..1/0.2`; each line of a prompt.
 *
 * A range of whole numbers counts by one, or in larger steps if that were too many.
 */
export function parseValues(text: string, parameter: AxisParameter): Parsed {
  const isProse = parameter.name === "prompt" || parameter.name === "negative";
  const words = text.split(isProse ? /\n|;/ : /[\n,;]/).map((word) => word.trim());
  const values: AxisValue[] = [];
  const wrong: string[] = [];
  const isNumber = parameter.type === "int" || parameter.type === "float";
  for (const word of words.filter(Boolean)) {
    const range = isNumber ? RANGE.exec(word) : null;
    const found = range
      ? fillRange(Number(range[1]), Number(range[2]), Number(range[3] ?? 0), parameter.type)
      : [parseValue(word, parameter)];
    for (const value of found) {
      if (value === null || !isWithin(value, parameter)) wrong.push(word);
      else if (!values.includes(value)) values.push(value);
    }
  }
  return { values: values.slice(0, MOST), wrong: [...new Set(wrong)] };
}

function fillRange(from: number, to: number, step: number, type: string): number[] {
  const low = Math.min(from, to);
  const width = Math.abs(to - from);
  const isWhole = type === "int" || (Number.isInteger(low) && Number.isInteger(width));
  let by = step || (isWhole ? Math.max(1, Math.ceil(width / (MOST - 1))) : width / (STEPS - 1));
  if (type === "int") by = Math.max(1, Math.round(by));
  if (by === 0) return [low];
  const count = Math.min(MOST, Math.floor(width / by + 1e-9) + 1);
  const values = Array.from({ length: count }, (_, i) => Number((low + i * by).toFixed(6)));
  return from <= to ? values : values.reverse();
}

function parseValue(word: string, parameter: AxisParameter): AxisValue | null {
  if (parameter.type === "int" || parameter.type === "float") {
    const value = Number(word.replace(/^\+/, ""));
    const isFine =
      Number.isFinite(value) && (parameter.type === "float" || Number.isInteger(value));
    return isFine ? value : null;
  }
  if (parameter.type === "bool") {
    if (/^(true|yes|on|1)$/i.test(word)) return true;
    return /^(false|no|off|0)$/i.test(word) ? false : null;
  }
  if (parameter.choices.length > 0) {
    return parameter.choices.find((one) => one.toLowerCase() === word.toLowerCase()) ?? null;
  }
  return word;
}

function isWithin(value: AxisValue, { min, max }: AxisParameter): boolean {
  if (typeof value !== "number") return true;
  return value >= (min ?? -Infinity) && value <= (max ?? Infinity);
}

/** The chips with these values added, or taken in again where they were left out. */
export function addValues(chips: Chip[], values: AxisValue[]): Chip[] {
  const kept = chips.map((chip) =>
    values.includes(chip.value) ? { ...chip, isOut: false } : chip,
  );
  const known = new Set(chips.map((chip) => chip.value));
  const added = values.filter((value) => !known.has(value));
  return [...kept, ...added.map((value) => ({ value, isOut: false }))];
}

/** The values that are not left out. */
export function chosen(chips: Chip[]): AxisValue[] {
  return chips.filter((chip) => !chip.isOut).map((chip) => chip.value);
}

/** Values that suggest themselves for a parameter: around its default, or its choices. */
export function suggestChips(parameter: AxisParameter, standard: unknown): Chip[] {
  if (parameter.type === "bool") return addValues([], [false, true]);
  const named = parameter.choices.length > 0 ? parameter.choices : parameter.suggestions;
  if (named.length > 0) {
    return named.slice(0, 12).map((value, i) => ({ value, isOut: i > 2 && value !== standard }));
  }
  if (typeof standard !== "number" || standard <= 0) return [];
  const digits = parameter.type === "int" ? 0 : 2;
  const near = [0.5, 1, 1.5].map((factor) => Number((standard * factor).toFixed(digits)));
  return addValues(
    [],
    [...new Set(near)].filter((value) => isWithin(value, parameter)),
  );
}
