/** Of the index; see docs/reference/image-index.md. */
const HEADER = 32;
const MAGIC = 0x58474d49; // "IMGX" as a little-endian number

/** An image as the index knows it. */
export interface IndexedImage {
  /** Its unique id: `<generation>.<number from 1>`. */
  uid: string;
  /** In pixels; 0 if unknown. */
  width: number;
  height: number;
  /** The first 8 digits of its hash: the parameter `v` of its files. */
  version: string;
  /** When it was created, in milliseconds since 1970. */
  created: number;
  /** 1 to 5, or 0 for none. */
  rating: number;
  isTrashed: boolean;
  isMissing: boolean;
}

interface Columns {
  keys: BigInt64Array;
  /** 4 words for each image. */
  generations: Uint32Array;
  versions: Uint32Array;
  widths: Uint16Array;
  heights: Uint16Array;
  marks: Uint8Array;
}

function emptyColumns(length: number): Columns {
  return {
    keys: new BigInt64Array(length),
    generations: new Uint32Array(4 * length),
    versions: new Uint32Array(length),
    widths: new Uint16Array(length),
    heights: new Uint16Array(length),
    marks: new Uint8Array(length),
  };
}

/** Raises RangeError for something else than an index. */
function readColumns(buffer: ArrayBuffer): Columns {
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC || view.getUint16(4, true) !== 1) {
    throw new RangeError("This is not an image index of version 1.");
  }
  const n = view.getUint32(24, true);
  return {
    keys: new BigInt64Array(buffer, HEADER, n),
    generations: new Uint32Array(buffer, HEADER + 8 * n, 4 * n),
    versions: new Uint32Array(buffer, HEADER + 24 * n, n),
    widths: new Uint16Array(buffer, HEADER + 28 * n, n),
    heights: new Uint16Array(buffer, HEADER + 30 * n, n),
    marks: new Uint8Array(buffer, HEADER + 32 * n, n),
  };
}

/** The sizes, times and marks of many images, in the order of their time, without an object for each. */
export class ImageIndex {
  readonly length: number;
  readonly widths: Uint16Array;
  readonly heights: Uint16Array;
  readonly marks: Uint8Array;
  readonly #columns: Columns;
  readonly #bytes: Uint8Array;

  /** Raises RangeError for something else than an index. */
  constructor(
    source: ArrayBuffer | Columns,
    readonly isOldestFirst = false,
  ) {
    const columns = source instanceof ArrayBuffer ? readColumns(source) : source;
    const { generations } = columns;
    this.#columns = columns;
    this.#bytes = new Uint8Array(
      generations.buffer,
      generations.byteOffset,
      generations.byteLength,
    );
    this.length = columns.keys.length;
    this.widths = columns.widths;
    this.heights = columns.heights;
    this.marks = columns.marks;
  }

  /** An index of no images. */
  static empty(): ImageIndex {
    return new ImageIndex(emptyColumns(0));
  }

  at(i: number): IndexedImage {
    const marks = this.marks[i] ?? 0;
    return {
      uid: this.uid(i),
      width: this.widths[i] ?? 0,
      height: this.heights[i] ?? 0,
      version: (this.#columns.versions[i] ?? 0).toString(16).padStart(8, "0"),
      created: this.created(i),
      rating: marks & 7,
      isTrashed: (marks & 8) !== 0,
      isMissing: (marks & 16) !== 0,
    };
  }

  uid(i: number): string {
    return `${this.generation(i)}.${this.#number(i)}`;
  }

  /** The id of the generation of an image. */
  generation(i: number): string {
    let text = "";
    for (let k = 16 * i; k < 16 * i + 16; k += 1) text += HEX[this.#bytes[k] ?? 0];
    const parts = [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20)];
    return `${parts.join("-")}-${text.slice(20)}`;
  }

  created(i: number): number {
    return Number((this.#columns.keys[i] ?? 0n) >> 20n);
  }

  /** How many images come before those of this moment, in milliseconds since 1970. */
  countBefore(moment: number): number {
    return this.#search((key) => {
      const created = Number(key >> 20n);
      return this.isOldestFirst ? created < moment : created > moment;
    });
  }

  /** The same images in the other order. */
  reversed(): ImageIndex {
    const { keys, generations, versions, widths, heights, marks } = this.#columns;
    const columns = {
      keys: keys.slice().reverse(),
      generations: new Uint32Array(generations.length),
      versions: versions.slice().reverse(),
      widths: widths.slice().reverse(),
      heights: heights.slice().reverse(),
      marks: marks.slice().reverse(),
    };
    for (let i = 0; i < this.length; i += 1) {
      const words = generations.subarray(4 * i, 4 * i + 4);
      columns.generations.set(words, 4 * (this.length - 1 - i));
    }
    return new ImageIndex(columns, !this.isOldestFirst);
  }

  /** Where an image is, or -1. */
  find(uid: string): number {
    return this.findAll([uid])[0] ?? -1;
  }

  /** Where those of these images are that it has, in the order of the index. */
  findAll(uids: Iterable<string>): number[] {
    const wanted = new Set(uids);
    const words = new Set<number>();
    for (const uid of wanted) words.add(firstWord(uid));
    const { generations } = this.#columns;
    const found: number[] = [];
    const [only] = words;
    for (let i = 0; i < this.length && found.length < wanted.size; i += 1) {
      const word = generations[4 * i];
      if (words.size === 1 ? word !== only : !words.has(word as number)) continue;
      if (wanted.has(this.uid(i))) found.push(i);
    }
    return found;
  }

  /** A new index with the images of another one, in place of older ones, without these. */
  merge(fresh: ImageIndex, removed: Iterable<string> = []): ImageIndex {
    const dropped = new Set(this.findAll(removed));
    const places = Array.from({ length: fresh.length }, (_, k) => {
      const place = this.#place(fresh.#columns.keys[k] as bigint);
      if (this.#columns.keys[place] === fresh.#columns.keys[k]) dropped.add(place);
      return place;
    });
    const result = emptyColumns(this.length - dropped.size + fresh.length);
    const cuts = [...dropped].sort((a, b) => a - b);
    let to = 0;
    let from = 0;
    let cut = 0;
    const copyUntil = (end: number): void => {
      for (; cut < cuts.length && (cuts[cut] as number) < end; cut += 1) {
        copy(this.#columns, from, cuts[cut] as number, result, to);
        to += (cuts[cut] as number) - from;
        from = (cuts[cut] as number) + 1;
      }
      copy(this.#columns, from, end, result, to);
      to += Math.max(0, end - from);
      from = Math.max(from, end);
    };
    for (const [k, place] of places.entries()) {
      copyUntil(place);
      copy(fresh.#columns, k, k + 1, result, to);
      to += 1;
    }
    copyUntil(this.length);
    return new ImageIndex(result, this.isOldestFirst);
  }

  /** The same images, some with other marks: `change` gets the marks of each. */
  remark(uids: Iterable<string>, change: (marks: number) => number): ImageIndex {
    const marks = this.marks.slice();
    for (const i of this.findAll(uids)) marks[i] = change(marks[i] as number);
    return new ImageIndex({ ...this.#columns, marks }, this.isOldestFirst);
  }

  #number(i: number): number {
    return Number((this.#columns.keys[i] ?? 0n) & 1023n) + 1;
  }

  /** The place of an image with this key. */
  #place(key: bigint): number {
    return this.#search((other) => (this.isOldestFirst ? other < key : other > key));
  }

  /** The first place whose key does not come before the one looked for. */
  #search(isBefore: (key: bigint) => boolean): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(this.#columns.keys[middle] as bigint)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** The first four bytes of the generation of a unique id, as `Columns` has them. */
function firstWord(uid: string): number {
  const word = Number.parseInt(uid.slice(0, 8), 16);
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, word);
  return view.getUint32(0, IS_LITTLE_ENDIAN);
}

function copy(from: Columns, start: number, end: number, to: Columns, at: number): void {
  if (end <= start) return;
  to.keys.set(from.keys.subarray(start, end), at);
  to.generations.set(from.generations.subarray(4 * start, 4 * end), 4 * at);
  to.versions.set(from.versions.subarray(start, end), at);
  to.widths.set(from.widths.subarray(start, end), at);
  to.heights.set(from.heights.subarray(start, end), at);
  to.marks.set(from.marks.subarray(start, end), at);
}
