import type { ImageIndex } from "./image_index";
import type { JobTile } from "./job_tiles";

/** The images of one day, or of a month that has few. */
export interface Section {
  /** The first item and the one after the last. */
  from: number;
  to: number;
  /** Midnight of its first day, in milliseconds since 1970. */
  day: number;
  isMonth: boolean;
  /** How many of the items are images. */
  images: number;
}

/** A past month with no more images than this is not divided by days. */
const MOST_OF_MONTH = 40;

/** What the grid shows, in the order of its time: images, and tiles of jobs between them. */
export class Items {
  readonly length: number;
  /** Height by width of each, between 0.5 and 1.6. */
  readonly ratios: Float32Array;
  readonly sections: Section[] = [];
  /** Of each item, the image in the index; below 0 a tile: -1 for the first, -2 for the second. */
  readonly #order: Int32Array;
  /** Where the tiles are among the items. */
  readonly #tilePlaces: number[] = [];

  constructor(
    readonly index: ImageIndex,
    /** In the order of the index. Others that look alike may take their place. */
    public tiles: readonly JobTile[] = [],
    /** Images of the index that are not shown, by their place there, in order. */
    hidden: readonly number[] = [],
    now = Date.now(),
  ) {
    const n = index.length - hidden.length + tiles.length;
    const order = (this.#order = new Int32Array(n));
    this.length = n;
    let to = 0;
    let image = 0;
    let skip = 0;
    const imagesUntil = (end: number): void => {
      for (; image < end; image += 1) {
        if (hidden[skip] === image) skip += 1;
        else order[to++] = image;
      }
    };
    for (const [k, tile] of tiles.entries()) {
      imagesUntil(index.countBefore(tile.time));
      this.#tilePlaces.push(to);
      order[to++] = -1 - k;
    }
    imagesUntil(index.length);
    this.ratios = new Float32Array(n);
    const { widths, heights } = index;
    for (let i = 0; i < n; i += 1) {
      const at = order[i] as number;
      const ratio =
        at < 0 ? tiles[-1 - at]?.ratio : (heights[at] as number) / (widths[at] as number);
      this.ratios[i] = clampRatio(ratio);
    }
    this.#split(now);
  }

  /** The image of an item in the index, or -1 for the tile of a job. */
  imageAt(i: number): number {
    return Math.max(-1, this.#order[i] ?? -1);
  }

  /** The tile of a job, or null for an image. */
  tileAt(i: number): JobTile | null {
    const at = this.#order[i] ?? 0;
    return at < 0 ? (this.tiles[-1 - at] ?? null) : null;
  }

  /** What an item is, as long as it is shown: the unique id of an image, the key of a tile. */
  keyAt(i: number): string {
    return this.tileAt(i)?.key ?? this.index.uid(this.imageAt(i));
  }

  timeAt(i: number): number {
    return this.tileAt(i)?.time ?? this.index.created(this.imageAt(i));
  }

  /** Which item an image or a tile is, or -1. */
  find(key: string): number {
    return this.locate([key]).get(key) ?? -1;
  }

  /** Which items these images and tiles are, of those that are here. */
  locate(keys: Iterable<string>): Map<string, number> {
    const wanted = new Set(keys);
    const found = new Map<string, number>();
    for (const [k, tile] of this.tiles.entries()) {
      if (wanted.has(tile.key)) found.set(tile.key, this.#tilePlaces[k] as number);
    }
    for (const image of this.index.findAll(wanted)) {
      const place = this.findImage(image);
      const uid = this.index.uid(image);
      if (place >= 0 && !found.has(uid)) found.set(uid, place);
    }
    return found;
  }

  /** Which item an image of the index is, or -1. */
  findImage(image: number): number {
    if (image < 0) return -1;
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      // A tile is where the next image is.
      let at = middle;
      while (at < high && (this.#order[at] as number) < 0) at += 1;
      if (at < high && (this.#order[at] as number) < image) low = at + 1;
      else high = middle;
    }
    while (low < this.length && (this.#order[low] as number) < 0) low += 1;
    return this.#order[low] === image ? low : -1;
  }

  /** The section of an item. */
  sectionOf(i: number): number {
    let low = 0;
    let high = this.sections.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.sections[middle] as Section).to <= i) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Divide the items by days and months, with a search for the end of each. */
  #split(now: number): void {
    const thisMonth = startOfMonth(now);
    for (let from = 0; from < this.length;) {
      const month = startOfMonth(this.timeAt(from));
      const end = this.#endOf(month, from, startOfMonth);
      if (month < thisMonth && end - from <= MOST_OF_MONTH) {
        this.#addSection(from, end, month, true);
        from = end;
        continue;
      }
      while (from < end) {
        const day = startOfDay(this.timeAt(from));
        const to = this.#endOf(day, from, startOfDay);
        this.#addSection(from, to, day, false);
        from = to;
      }
    }
  }

  /** The first item after `from` that is of another day or month. */
  #endOf(start: number, from: number, startOf: (moment: number) => number): number {
    let low = from + 1;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (startOf(this.timeAt(middle)) === start) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #addSection(from: number, to: number, day: number, isMonth: boolean): void {
    const tiles = this.#tilePlaces.filter((place) => place >= from && place < to).length;
    this.sections.push({ from, to, day, isMonth, images: to - from - tiles });
  }
}

function clampRatio(ratio: number | undefined): number {
  return ratio && Number.isFinite(ratio) ? Math.min(1.6, Math.max(0.5, ratio)) : 1;
}

function startOfDay(moment: number): number {
  const date = new Date(moment);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

function startOfMonth(moment: number): number {
  const date = new Date(moment);
  return new Date(date.getFullYear(), date.getMonth(), 1).getTime();
}
