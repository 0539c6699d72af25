import type { ActiveFilter } from "$lib/find/find";
import { parseDay } from "$lib/find/find";
import { format, t } from "$ui/app.svelte";

const SHAPES = {
  square: "find.square",
  landscape: "find.landscape",
  portrait: "find.portrait",
} as const;
const COSTS = { free: "find.free", paid: "find.paid", unknown: "find.costUnknown" } as const;

/** What a filter is called. */
export function describeFilter(
  { kind, value }: ActiveFilter,
  albums: { albumName(id: string): string },
): string {
  const day = parseDay(value);
  switch (kind) {
    case "star":
      return t("find.stars", { stars: Number(value) });
    case "size":
      if (value in SHAPES) return t(SHAPES[value as keyof typeof SHAPES]);
      return value.replace("x", " × ");
    case "cost":
      if (value in COSTS) return t(COSTS[value as keyof typeof COSTS]);
      return t("find.atMost", { price: format().usd(Number(value)) });
    case "from":
      return t("find.since", { day: day ? format().date(day) : value });
    case "until":
      return t("find.until", { day: day ? format().date(day) : value });
    case "album":
      return albums.albumName(value) || t("find.unknownAlbum");
    default:
      return value;
  }
}
