import type { Model } from "../api/schema";

export type Named = Model;

/** The models whose name has all words: most used first, then by name. */
export function filterNames(
  models: readonly Model[],
  search: string,
  counts: ReadonlyMap<string, number> = new Map(),
): Model[] {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const unique = new Map(models.map((one) => [one.name, one]));
  return [...unique.values()]
    .filter(({ name, family }) => {
      const text = `${name}\n${family ?? ""}`.toLocaleLowerCase();
      return words.every((word) => text.includes(word));
    })
    .sort(
      (a, b) =>
        (counts.get(b.name) ?? 0) - (counts.get(a.name) ?? 0) || a.name.localeCompare(b.name),
    );
}

/** Whether a LoRA was made for another family of models than the chosen one, as far as is known. */
export function isOtherFamily(family: string | undefined, chosen: string): boolean {
  return Boolean(family) && Boolean(chosen) && family !== chosen;
}
