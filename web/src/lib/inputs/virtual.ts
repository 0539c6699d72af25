/** Where rows of different heights are in a long list, and which of them are in sight. */
export class RowLayout {
  readonly total: number;
  readonly #tops: Float64Array;

  constructor(heights: ArrayLike<number>) {
    this.#tops = new Float64Array(heights.length + 1);
    for (let i = 0; i < heights.length; i++) {
      this.#tops[i + 1] = (this.#tops[i] as number) + (heights[i] as number);
    }
    this.total = this.#tops[heights.length] as number;
  }

  get length(): number {
    return this.#tops.length - 1;
  }

  top(row: number): number {
    return this.#tops[Math.min(Math.max(row, 0), this.length)] as number;
  }

  height(row: number): number {
    return this.top(row + 1) - this.top(row);
  }

  /** The row at a height. */
  rowAt(y: number): number {
    let low = 0;
    let high = Math.max(0, this.length - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.top(middle) <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The rows from `first` to before `end` that are in sight, and some more on either side. */
  range(scrolled: number, height: number, more = 4): { first: number; end: number } {
    if (this.length === 0) return { first: 0, end: 0 };
    const first = Math.max(0, this.rowAt(scrolled) - more);
    const end = Math.min(this.length, this.rowAt(scrolled + height) + 1 + more);
    return { first, end };
  }

  /** How far to scroll so that a row is in sight, below a heading of `inset`. */
  reveal(row: number, scrolled: number, height: number, inset = 0): number {
    const top = this.top(row) - inset;
    const bottom = this.top(row + 1);
    if (top < scrolled) return Math.max(0, top);
    return bottom > scrolled + height ? bottom - height : scrolled;
  }
}
