import type { Items, Section } from "./items";

export interface LayoutOptions {
  /** Of the place for all columns, in pixels. */
  width: number;
  columns: number;
  gap: number;
  kind: "masonry" | "squares";
  /** The height of the line above the images of a day. */
  header: number;
  /** Whether the first column is at the right. */
  isMirrored?: boolean;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export type Step = "left" | "right" | "up" | "down";

/** A column may be so much longer than the shortest and still be filled, from left to right. */
const TOLERANCE = 24;
const BELOW_SECTION = 16;

/** Where each item is. Days are laid out one below the other, each by itself. */
export class Layout {
  readonly tileWidth: number;
  readonly height: number;
  /** How many items had to be placed anew. */
  readonly placed: number;
  /** Of each item, below the top of its section. */
  readonly #tops: Int32Array;
  readonly #columns: Uint8Array;
  /** The top of each section's header, and the end of the last section. */
  readonly #sectionTops: Float64Array;
  readonly #sectionHeights: Int32Array;

  /** What `previous` has of the same days with the same shapes is taken over. */
  constructor(
    readonly items: Items,
    readonly options: LayoutOptions,
    previous: Layout | null = null,
  ) {
    const { width, columns, gap } = options;
    this.tileWidth = Math.max(1, Math.floor((width - gap * (columns - 1)) / columns));
    this.#tops = new Int32Array(items.length);
    this.#columns = new Uint8Array(items.length);
    this.#sectionTops = new Float64Array(items.sections.length + 1);
    this.#sectionHeights = new Int32Array(items.sections.length);
    const old = previous && isSame(previous.options, options) ? previous : null;
    const known = new Map(old?.items.sections.map((section, s) => [section.day, s]));
    let placed = 0;
    let top = 0;
    for (const [s, section] of items.sections.entries()) {
      this.#sectionTops[s] = top;
      const before = known.get(section.day);
      if (!old || before === undefined || !this.#takeOver(s, section, old, before)) {
        this.#sectionHeights[s] = this.#place(section);
        placed += section.to - section.from;
      }
      top += options.header + (this.#sectionHeights[s] as number) + BELOW_SECTION;
    }
    this.#sectionTops[items.sections.length] = top;
    this.height = top;
    this.placed = placed;
  }

  /** Where an item is. */
  boxOf(i: number): Box {
    const section = this.items.sectionOf(i);
    const { gap, isMirrored, width } = this.options;
    const x = (this.#columns[i] as number) * (this.tileWidth + gap);
    return {
      x: isMirrored ? width - this.tileWidth - x : x,
      y: this.#imagesTop(section) + (this.#tops[i] as number),
      width: this.tileWidth,
      height: this.#heightOf(i),
    };
  }

  /** The top of a section's header. */
  sectionTop(section: number): number {
    return this.#sectionTops[section] as number;
  }

  /** The sections of which a part is between two heights: the first, and the one after the last. */
  sectionsBetween(from: number, to: number): [number, number] {
    const first = Math.max(0, this.#firstSectionBelow(from) - 1);
    return [first, Math.max(first, this.#firstSectionBelow(to))];
  }

  /** The section at a height. */
  sectionAt(y: number): number {
    return Math.max(0, this.#firstSectionBelow(y) - 1);
  }

  /** The items of which a part is between two heights, in order. */
  itemsBetween(from: number, to: number): number[] {
    const found: number[] = [];
    const [first, end] = this.sectionsBetween(from, to);
    for (let s = first; s < end; s += 1) {
      const section = this.items.sections[s];
      if (!section) continue;
      const start = this.#imagesTop(s);
      // Each top is at most the tolerance above any later one.
      const reach = this.tileWidth * 1.6 + TOLERANCE;
      const low = this.#search(section, from - start - reach);
      const high = this.#search(section, to - start + TOLERANCE);
      for (let i = low; i < high; i += 1) {
        const top = start + (this.#tops[i] as number);
        if (top < to && top + this.#heightOf(i) > from) found.push(i);
      }
    }
    return found;
  }

  /** The items that touch a box. */
  itemsIn(box: Box): number[] {
    return this.itemsBetween(box.y, box.y + box.height).filter((i) => {
      const { x, width } = this.boxOf(i);
      return x < box.x + box.width && x + width > box.x;
    });
  }

  /** The item beside another one, or -1. Before the first column is the item before. */
  neighbour(i: number, step: Step): number {
    const column = this.#columns[i] as number;
    if (step === "up" || step === "down") return this.#vertical(i, step === "up" ? -1 : 1);
    const by = (step === "left") === Boolean(this.options.isMirrored) ? 1 : -1;
    const target = column + by;
    const beside = target < 0 ? -1 : this.#inColumn(i, target);
    if (beside >= 0) return beside;
    const next = i + by;
    return next < this.items.length ? next : -1;
  }

  #place(section: Section): number {
    const { columns, gap, kind } = this.options;
    const ends = new Int32Array(columns);
    for (let i = section.from; i < section.to; i += 1) {
      let column = 0;
      if (kind === "squares") {
        column = (i - section.from) % columns;
      } else {
        let shortest = ends[0] as number;
        for (let c = 1; c < columns; c += 1) shortest = Math.min(shortest, ends[c] as number);
        while ((ends[column] as number) > shortest + TOLERANCE) column += 1;
      }
      this.#columns[i] = column;
      this.#tops[i] = ends[column] as number;
      ends[column] = (ends[column] as number) + this.#heightOf(i) + gap;
    }
    return Math.max(...ends) - gap;
  }

  #takeOver(s: number, section: Section, old: Layout, before: number): boolean {
    const was = old.items.sections[before] as Section;
    if (was.to - was.from !== section.to - section.from) return false;
    const shift = was.from - section.from;
    const { ratios } = this.items;
    const oldRatios = old.items.ratios;
    for (let i = section.from; i < section.to; i += 1) {
      if (ratios[i] !== oldRatios[i + shift]) return false;
    }
    this.#tops.set(old.#tops.subarray(was.from, was.to), section.from);
    this.#columns.set(old.#columns.subarray(was.from, was.to), section.from);
    this.#sectionHeights[s] = old.#sectionHeights[before] as number;
    return true;
  }

  #heightOf(i: number): number {
    if (this.options.kind === "squares") return this.tileWidth;
    return Math.round(this.tileWidth * (this.items.ratios[i] as number));
  }

  #imagesTop(section: number): number {
    return (this.#sectionTops[section] as number) + this.options.header;
  }

  #firstSectionBelow(y: number): number {
    let low = 0;
    let high = this.items.sections.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sectionTops[middle] as number) < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** An item of a section whose top is about at a height: all before are less than the tolerance below. */
  #search(section: Section, top: number): number {
    let low = section.from;
    let high = section.to;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#tops[middle] as number) < top) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #vertical(i: number, by: 1 | -1): number {
    const column = this.#columns[i] as number;
    const s = this.items.sectionOf(i);
    const section = this.items.sections[s] as Section;
    for (let k = i + by; k >= section.from && k < section.to; k += by) {
      if (this.#columns[k] === column) return k;
    }
    const next = this.items.sections[s + by];
    if (!next) return -1;
    return by > 0 ? this.#firstOfColumn(next, column) : this.#lastOfColumn(next, column);
  }

  /** The first item of a column, or of the last column that a section has. */
  #firstOfColumn(section: Section, column: number): number {
    let best = section.from;
    for (let i = section.from; i < section.to; i += 1) {
      if (this.#tops[i] !== 0) break;
      if ((this.#columns[i] as number) <= column) best = i;
    }
    return best;
  }

  #lastOfColumn(section: Section, column: number): number {
    for (let wanted = column; wanted >= 0; wanted -= 1) {
      for (let i = section.to - 1; i >= section.from; i -= 1) {
        if (this.#columns[i] === wanted) return i;
      }
    }
    return section.from;
  }

  /** The item of a column of the same section that is beside the middle of another, or -1. */
  #inColumn(i: number, column: number): number {
    const section = this.items.sections[this.items.sectionOf(i)] as Section;
    const middle = (this.#tops[i] as number) + this.#heightOf(i) / 2;
    let best = -1;
    let least = Infinity;
    for (const by of [-1, 1]) {
      for (let k = i + by; k >= section.from && k < section.to; k += by) {
        if (this.#columns[k] !== column) continue;
        const top = this.#tops[k] as number;
        const bottom = top + this.#heightOf(k);
        const away = Math.max(top - middle, middle - bottom, 0);
        if (away < least) [best, least] = [k, away];
        if (by < 0 ? bottom < middle : top > middle) break;
      }
    }
    // Below the end of a short column there is nothing beside.
    return least <= TOLERANCE + this.options.gap ? best : -1;
  }
}

function isSame(a: LayoutOptions, b: LayoutOptions): boolean {
  return a.width === b.width && a.columns === b.columns && a.gap === b.gap && a.kind === b.kind;
}
