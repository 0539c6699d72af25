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

/** The sizes, times and marks of many images, newest first, without an object for each. */
export class ImageIndex {
  readonly length: number;
  readonly widths: Uint16Array;
  readonly heights: Uint16Array;
  readonly marks: Uint8Array;
  readonly #keys: BigInt64Array;
  readonly #generations: Uint8Array;
  readonly #versions: Uint32Array;

  /** Raises RangeError for something else than an index. */
  constructor(buffer: ArrayBuffer) {
    const view = new DataView(buffer);
    if (view.getUint32(0, true) !== MAGIC || view.getUint16(4, true) !== 1) {
      throw new RangeError("This is not an image index of version 1.");
    }
    const n = (this.length = view.getUint32(24, true));
    this.#keys = new BigInt64Array(buffer, HEADER, n);
    this.#generations = new Uint8Array(buffer, HEADER + 8 * n, 16 * n);
    this.#versions = new Uint32Array(buffer, HEADER + 24 * n, n);
    this.widths = new Uint16Array(buffer, HEADER + 28 * n, n);
    this.heights = new Uint16Array(buffer, HEADER + 30 * n, n);
    this.marks = new Uint8Array(buffer, HEADER + 32 * n, n);
  }

  /** An index of no images. */
  static empty(): ImageIndex {
    const buffer = new ArrayBuffer(HEADER);
    const view = new DataView(buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint16(4, 1, true);
    return new ImageIndex(buffer);
  }

  at(i: number): IndexedImage {
    const marks = this.marks[i] ?? 0;
    return {
      uid: this.uid(i),
      width: this.widths[i] ?? 0,
      height: this.heights[i] ?? 0,
      version: (this.#versions[i] ?? 0).toString(16).padStart(8, "0"),
      created: this.created(i),
      rating: marks & 7,
      isTrashed: (marks & 8) !== 0,
      isMissing: (marks & 16) !== 0,
    };
  }

  uid(i: number): string {
    const bytes = this.#generations.subarray(16 * i, 16 * i + 16);
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const parts = [0, 8, 12, 16, 20].map((from, k, all) => hex.slice(from, all[k + 1]));
    return `${parts.join("-")}.${Number((this.#keys[i] ?? 0n) & 1023n) + 1}`;
  }

  created(i: number): number {
    return Number((this.#keys[i] ?? 0n) >> 20n);
  }

  /** Where an image is, or -1. */
  find(uid: string): number {
    const first = Number.parseInt(uid.slice(0, 2), 16);
    for (let i = 0; i < this.length; i += 1) {
      if (this.#generations[16 * i] === first && this.uid(i) === uid) return i;
    }
    return -1;
  }
}
