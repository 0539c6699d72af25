/** A value of a request or a receipt in words; `name` is for lists of objects. */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(describeValue).join(", ");
  if (typeof value === "object") return describeObject(value as Record<string, unknown>);
  return String(value);
}

/** A LoRA is its name and strength; of another object all values are named. */
function describeObject(value: Record<string, unknown>): string {
  const { name, strength, ...others } = value;
  if (typeof name === "string" && Object.keys(others).length === 0) {
    return strength === undefined ? name : `${name} · ${describeValue(strength)}`;
  }
  return Object.entries(value)
    .filter(([, one]) => one !== null && one !== undefined)
    .map(([key, one]) => `${key} ${describeValue(one)}`)
    .join(", ");
}

/** A reason as the server gives it, as a sentence: `at most 200` becomes `At most 200.` */
export function asSentence(text: string): string {
  const trimmed = text.trim();
  if (!trimmed) return "";
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…。]$/.test(begun) ? begun : `${begun}.`;
}

/** A name of a parameter in plain letters: `clip_skip` becomes `Clip skip`. */
export function plainName(name: string): string {
  const words = name.replace(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
