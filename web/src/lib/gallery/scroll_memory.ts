import { readJson, writeJson } from "../preferences";

/** A place in the grid: an image, and how far it is below the top of the screen. */
export interface ScrollPlace {
  uid: string;
  offset: number;
}

const NAME = "imagen.scroll";
const MOST = 20;

/** Where the grid was scrolled to, for each set of filters; it survives a reload. */
export class ScrollMemory {
  #places: Record<string, ScrollPlace>;

  constructor(private readonly storage: Storage) {
    this.#places = readJson<Record<string, ScrollPlace>>(storage, NAME, {});
  }

  /** A null place is the top. */
  keep(filters: string, place: ScrollPlace | null): void {
    const others = Object.entries(this.#places).filter(([name]) => name !== filters);
    const entries = others.slice(-MOST + 1);
    this.#places = Object.fromEntries(place ? [...entries, [filters, place]] : entries);
    writeJson(this.storage, NAME, this.#places);
  }

  find(filters: string): ScrollPlace | null {
    return this.#places[filters] ?? null;
  }
}

/** Jobs whose failure a person has put aside, on this device. */
export class DismissedJobs {
  #ids: string[];

  constructor(private readonly storage: Storage) {
    this.#ids = readJson<string[]>(storage, DISMISSED, []);
  }

  has(id: string): boolean {
    return this.#ids.includes(id);
  }

  add(id: string): void {
    this.#ids = [...this.#ids, id].slice(-MOST_DISMISSED);
    writeJson(this.storage, DISMISSED, this.#ids);
  }
}

const DISMISSED = "imagen.dismissed";
const MOST_DISMISSED = 200;
