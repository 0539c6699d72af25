import { Observable } from "../observable";
import type { ImageIndex } from "./image_index";

/** Above this, one pass over the index is faster than looking each image up. */
const FEW = 50;

/** The images that the user has selected in the gallery, by their unique ids. */
export class Selection extends Observable {
  #uids = new Set<string>();
  #isActive = false;
  /** Where a range begins. */
  #anchor: string | null = null;

  /** Whether a tap selects an image rather than opens it. */
  get isActive(): boolean {
    return this.#isActive;
  }

  get size(): number {
    return this.#uids.size;
  }

  /** In the order in which they were selected. */
  get uids(): string[] {
    return [...this.#uids];
  }

  has(uid: string): boolean {
    return this.#uids.has(uid);
  }

  /** Let taps select, before any image is selected. */
  start(): void {
    this.#isActive = true;
    this.changed();
  }

  /** Select an image, or take it out. Without any image left, the selection ends. */
  toggle(uid: string): void {
    if (!this.#uids.delete(uid)) this.#uids.add(uid);
    this.#anchor = uid;
    this.#isActive = this.#uids.size > 0;
    this.changed();
  }

  /** Select all images from the one selected last to this one, in the order of the index. */
  extend(index: ImageIndex, uid: string): void {
    const to = index.find(uid);
    const from = this.#anchor === null ? to : index.find(this.#anchor);
    if (to < 0) return;
    const first = from < 0 ? to : from;
    for (let i = Math.min(first, to); i <= Math.max(first, to); i += 1) {
      this.#uids.add(index.uid(i));
    }
    if (from < 0 || this.#anchor === null) this.#anchor = uid;
    this.#isActive = true;
    this.changed();
  }

  /** Select these too, as a box drawn around them does. */
  add(uids: Iterable<string>): void {
    for (const uid of uids) this.#uids.add(uid);
    this.#isActive = this.#uids.size > 0;
    this.changed();
  }

  selectAll(index: ImageIndex): void {
    this.#uids = new Set(Array.from({ length: index.length }, (_, i) => index.uid(i)));
    this.#isActive = this.#uids.size > 0;
    this.changed();
  }

  clear(): void {
    if (!this.#isActive) return;
    this.#uids.clear();
    this.#anchor = null;
    this.#isActive = false;
    this.changed();
  }

  /** Forget images that the gallery does not show any more; none left ends the selection. */
  keep(index: ImageIndex): void {
    if (this.#uids.size === 0) return;
    let isShown: (uid: string) => boolean;
    if (this.#uids.size <= FEW) isShown = (uid) => index.find(uid) >= 0;
    else {
      const all = new Set(Array.from({ length: index.length }, (_, i) => index.uid(i)));
      isShown = (uid) => all.has(uid);
    }
    const kept = [...this.#uids].filter(isShown);
    if (kept.length === this.#uids.size) return;
    this.#uids = new Set(kept);
    this.#isActive = kept.length > 0;
    this.changed();
  }
}
