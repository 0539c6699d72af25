/** Gives each shown thing a place that it keeps as long as it is shown; places are used again. */
export class Recycler {
  #places = new Map<string, number>();
  #free: number[] = [];
  #size = 0;

  /** How many places there are. */
  get size(): number {
    return this.#size;
  }

  /** The place of each of these, all others are free. */
  assign(keys: readonly string[]): number[] {
    const shown = new Set(keys);
    for (const [key, place] of this.#places) {
      if (shown.has(key)) continue;
      this.#places.delete(key);
      this.#free.push(place);
    }
    return keys.map((key) => {
      const known = this.#places.get(key);
      if (known !== undefined) return known;
      const place = this.#free.pop() ?? this.#size++;
      this.#places.set(key, place);
      return place;
    });
  }

  /** Drop free places, from the end, until no more than these are left over. */
  trim(spare: number): void {
    while (this.#free.length > spare) {
      const last = this.#free.indexOf(this.#size - 1);
      if (last < 0) return;
      this.#free.splice(last, 1);
      this.#size -= 1;
    }
  }
}
