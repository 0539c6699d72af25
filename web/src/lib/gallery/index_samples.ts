/** Indexes of images for tests. */
import { ImageIndex } from "./image_index";

export interface SampleImage {
  /** The generation's number; a part of its id. */
  generation: number;
  number?: number;
  created: number;
  width?: number;
  height?: number;
  rating?: number;
}

/** The unique id of a sample. */
export function uidOf(generation: number, number = 0): string {
  return `${generation.toString(16).padStart(8, "0")}-0000-4000-8000-000000000000.${number + 1}`;
}

/** An index of these images, which are sorted newest first. */
export function indexOf(samples: SampleImage[]): ImageIndex {
  return new ImageIndex(bufferOf(samples));
}

/** The answer of the server for these images, as docs/reference/image-index.md describes it. */
export function bufferOf(samples: SampleImage[]): ArrayBuffer {
  const keyed = samples.map((one) => ({ ...one, key: keyOf(one) }));
  keyed.sort((a, b) => (a.key < b.key ? 1 : -1));
  const n = keyed.length;
  const buffer = new ArrayBuffer(32 + 33 * n);
  const view = new DataView(buffer);
  view.setUint32(0, 0x58474d49, true);
  view.setUint16(4, 1, true);
  view.setUint32(24, n, true);
  for (const [i, one] of keyed.entries()) {
    view.setBigInt64(32 + 8 * i, one.key, true);
    view.setUint32(32 + 8 * n + 16 * i, one.generation);
    view.setUint32(32 + 8 * n + 16 * i + 4, 0x4000);
    view.setUint32(32 + 8 * n + 16 * i + 8, 0x80000000);
    view.setUint32(32 + 24 * n + 4 * i, one.generation, true);
    view.setUint16(32 + 28 * n + 2 * i, one.width ?? 512, true);
    view.setUint16(32 + 30 * n + 2 * i, one.height ?? 512, true);
    view.setUint8(32 + 32 * n + i, one.rating ?? 0);
  }
  return buffer;
}

function keyOf({ created, generation, number = 0 }: SampleImage): bigint {
  return (BigInt(created) << 20n) | (BigInt(generation & 1023) << 10n) | BigInt(number);
}
