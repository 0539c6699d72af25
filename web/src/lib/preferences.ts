import { Observable } from "./observable";

/** What a person chose for this device. */
export interface Preferences {
  theme: "dark" | "light" | "system";
  /** A language, or empty for that of the browser. */
  locale: string;
  /** Keys that replace those of the shortcuts, by the id of the action; empty turns one off. */
  keys: Record<string, string>;
  hasSingleKeys: boolean;
  hasPreviews: boolean;
  layout: "masonry" | "squares";
  /** The width in pixels below which a tile of the gallery does not get. */
  tile: number;
  /** The columns of the gallery on a phone. */
  columns: number;
  isPanelShown: boolean;
  /** Whether the arena shows the names of models after each vote. */
  isArenaRevealed: boolean;
  /** Who votes in the arena on this device, if several people do. */
  voter: string;
  /** The details beside an image, on a desktop. */
  isViewerInfoShown: boolean;
}

/** The limits of `tile`. */
export const SMALLEST_TILE = 120;
export const LARGEST_TILE = 360;

const DEFAULTS: Preferences = {
  theme: "dark",
  locale: "",
  keys: {},
  hasSingleKeys: true,
  hasPreviews: true,
  layout: "masonry",
  tile: 210,
  columns: 2,
  isPanelShown: true,
  isArenaRevealed: false,
  voter: "",
  isViewerInfoShown: true,
};
const NAME = "imagen.preferences";

/** The preferences of this device, kept in the browser. */
export class PreferenceStore extends Observable {
  values: Preferences;

  constructor(private readonly storage: Storage) {
    super();
    this.values = { ...DEFAULTS, ...readJson<Partial<Preferences>>(storage, NAME, {}) };
  }

  set(change: Partial<Preferences>): void {
    this.values = { ...this.values, ...change };
    writeJson(this.storage, NAME, this.values);
    this.changed();
  }
}

/** A value kept in the browser, or `fallback` if there is none that can be read. */
export function readJson<T>(storage: Storage, name: string, fallback: T): T {
  try {
    const text = storage.getItem(name);
    return text === null ? fallback : (JSON.parse(text) as T);
  } catch {
    return fallback;
  }
}

/** Keep a value in the browser; where it does not let us, it is lost with the page. */
export function writeJson(storage: Storage, name: string, value: unknown): void {
  try {
    storage.setItem(name, JSON.stringify(value));
  } catch {
    // The storage is full or forbidden.
  }
}
