import type { Layout } from "./layout";

/** A month, and how far down the grid it begins. */
export interface Month {
  /** Its first day, in milliseconds since 1970. */
  start: number;
  /** In pixels. */
  top: number;
  images: number;
}

/** The months that a layout has images of, in its order. */
export function listMonths(layout: Layout): Month[] {
  const months: Month[] = [];
  for (const [s, section] of layout.items.sections.entries()) {
    const day = new Date(section.day);
    const start = new Date(day.getFullYear(), day.getMonth(), 1).getTime();
    const last = months.at(-1);
    if (last?.start === start) last.images += section.images;
    else months.push({ start, top: layout.sectionTop(s), images: section.images });
  }
  return months;
}

/** Those months whose labels have room, `gap` pixels apart on a bar of this height. */
export function thinOut(months: Month[], total: number, height: number, gap: number): Month[] {
  let last = -Infinity;
  return months.filter(({ top }) => {
    const y = (top / total) * height;
    if (y - last < gap || y > height - gap / 2) return false;
    last = y;
    return true;
  });
}

/** The section of a day, or of the next older day that has images; else the oldest. */
export function findSection(layout: Layout, day: number): number {
  const { sections, index } = layout.items;
  const isFound = (section: { day: number }): boolean => section.day <= day;
  if (index.isOldestFirst) return Math.max(0, sections.findLastIndex(isFound));
  const found = sections.findIndex(isFound);
  return found < 0 ? sections.length - 1 : found;
}
