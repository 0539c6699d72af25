/** Browsers do not make elements higher than this, whatever their style says. */
export const MOST_HEIGHT = 15_000_000;
/** A scroll further than this is a jump: of the scrollbar, or of Home and End. */
const JUMP = 3000;

/** Between the offset of a scroller and that of content which may be higher than an element can be.
 *
 * Small steps move the content by the same; jumps go to the same share of it. Between them both
 * drift apart, until `settle` moves the scroller to the share that is shown.
 */
export class ScrollScale {
  /** The offset of the content. */
  offset = 0;
  /** The offset of the scroller. */
  #scrolled = 0;
  #height = 0;
  #view = 0;

  /** The height of the element to scroll. */
  get elementHeight(): number {
    return Math.min(this.#height, MOST_HEIGHT);
  }

  /** How far the content is above where the scroller alone would have it. */
  get drift(): number {
    return this.offset - this.#scrolled;
  }

  get isScaled(): boolean {
    return this.#height > MOST_HEIGHT;
  }

  resize(height: number, view: number): void {
    this.#height = height;
    this.#view = view;
  }

  /** The scroller is there now. */
  scrolled(to: number): void {
    const by = to - this.#scrolled;
    this.#scrolled = to;
    if (!this.isScaled) this.offset = to;
    else if (Math.abs(by) > JUMP) this.offset = to * this.#factor();
    else this.offset = Math.max(0, Math.min(this.#height - this.#view, this.offset + by));
  }

  /** Where to scroll for an offset of the content. */
  jump(offset: number): number {
    const most = Math.max(0, this.#height - this.#view);
    this.offset = Math.max(0, Math.min(most, offset));
    this.#scrolled = this.isScaled ? Math.round(this.offset / this.#factor()) : this.offset;
    return this.#scrolled;
  }

  /** Where to scroll so that the scrollbar says what is shown, when nothing moves. */
  settle(): number {
    return this.jump(this.offset);
  }

  #factor(): number {
    return (this.#height - this.#view) / (this.elementHeight - this.#view);
  }
}
