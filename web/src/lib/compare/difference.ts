import type { ShownImageView } from "../api/schema";

/** A line of the table: what each of the images has, as text; empty where it has nothing. */
export interface Difference {
  name: string;
  values: string[];
  differs: boolean;
}

/** The names in the address of the images beside each other. */
export const PLACES = ["a", "b", "c", "d", "e", "f", "g", "h"] as const;

/** Parameters that are files or graphs, which no table can show. */
const SKIPPED = new Set(["image", "mask", "references", "controls", "extra", "template"]);

function textOf(value: unknown): string {
  if (value === null || value === undefined || value === "") return "";
  if (Array.isArray(value)) return value.map(textOf).filter(Boolean).join(", ");
  if (typeof value === "object") {
    const known = value as Record<string, unknown>;
    if ("name" in known) {
      return [known["name"], known["strength"]].map(textOf).filter(Boolean).join(" ");
    }
    return Object.entries(known)
      .map(([name, own]) => `${name} ${textOf(own)}`)
      .join(", ");
  }
  return String(value);
}

/** What the values of an image are called, and how they are written. */
export interface Words {
  seconds: (value: number) => string;
  cost: (value: number | null, isFree: boolean) => string;
}

/** Everything that is known of how images were made, line by line: what differs comes first. */
export function compareImages(images: ShownImageView[], words: Words): Difference[] {
  const rows = images.map((image) => valuesOf(image, words));
  const names = [...new Set(rows.flatMap((row) => [...row.keys()]))];
  const lines = names.map((name) => {
    const values = rows.map((row) => row.get(name) ?? "");
    return { name, values, differs: new Set(values).size > 1 };
  });
  return [...lines.filter((line) => line.differs), ...lines.filter((line) => !line.differs)];
}

function valuesOf(image: ShownImageView, words: Words): Map<string, string> {
  const { library, facts } = image;
  const used: Record<string, unknown> = { ...image.resolved };
  const seconds = facts["latency_seconds"];
  const width = library.width ?? used["width"];
  const height = library.height ?? used["height"];
  const entries: [string, string][] = [
    ["model", library.model || textOf(used["model"])],
    ["backend", library.backend],
    ["prompt", textOf(used["prompt"])],
    ["seed", library.seed === null ? "" : String(library.seed)],
    ["size", width && height ? `${textOf(width)} × ${textOf(height)}` : ""],
    ...Object.entries(used)
      .filter(([name]) => !["model", "prompt", "seed", "width", "height"].includes(name))
      .filter(([name]) => !SKIPPED.has(name))
      .map(([name, value]): [string, string] => [name, textOf(value)]),
    ["time", typeof seconds === "number" ? words.seconds(seconds) : ""],
    ["cost", words.cost(library.cost, library.currency === null)],
  ];
  return new Map(entries.filter(([, value]) => value !== ""));
}
