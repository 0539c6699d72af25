import { ImageIndex } from "./image_index";
import { Items } from "./items";
import { areAlike, type JobTile } from "./job_tiles";
import { Layout, type LayoutOptions } from "./layout";

/** The part of the grid that is on the screen. */
export interface View {
  top: number;
  height: number;
}

export interface GridContent {
  index: ImageIndex;
  tiles: JobTile[];
  /** Images that came since the last time. */
  arrivals: string[];
}

/** Above this the grid counts as being at its top, where new images appear at once. */
const AT_TOP = 48;

/** What the grid shows and where, such that nothing moves that a person looks at.
 *
 * While the grid is scrolled down, new images are added where nothing on the screen moves against
 * the rest of it; others are held back until it is at its top again.
 */
export class GridModel {
  items = new Items(ImageIndex.empty());
  layout: Layout;
  /** How many new images are above what is on the screen. */
  news = 0;
  #content: GridContent = { index: ImageIndex.empty(), tiles: [], arrivals: [] };
  #held = new Set<string>();

  constructor(options: LayoutOptions) {
    this.layout = new Layout(this.items, options);
  }

  /** Show other content. Returns by how much to scroll so that nothing moves on the screen. */
  update(content: GridContent, view: View): number {
    const before = this.#content;
    this.#content = content;
    if (content.index === before.index && areAlike(content.tiles, before.tiles)) {
      this.items.tiles = this.#shownTiles();
      return 0;
    }
    const isAtTop = view.top <= AT_TOP;
    const old = this.layout;
    const seen = old.itemsBetween(view.top, view.top + view.height);
    if (isAtTop || seen.length === 0) {
      this.#held.clear();
      this.news = 0;
      this.#rebuild();
      return 0;
    }
    const onScreen = new Set(seen.map((i) => old.items.keyAt(i)));
    this.news += content.arrivals.filter((uid) => !onScreen.has(uid)).length;
    const known = new Set(before.tiles.map((tile) => tile.key));
    const keys = [...content.arrivals, ...content.tiles.map((tile) => tile.key)];
    const fresh = keys.filter((key) => !known.has(key) && !this.#held.has(key));
    this.#rebuild();
    let shift = this.#shiftOf(seen, old);
    if (shift === null && fresh.length > 0) {
      for (const key of fresh) this.#held.add(key);
      this.#rebuild();
      shift = this.#shiftOf(seen, old);
    }
    return shift ?? this.#shiftOfFirst(seen, old);
  }

  /** Lay out anew for another width or size. Returns by how much to scroll, as `update` does. */
  arrange(options: LayoutOptions, view: View): number {
    const old = this.layout;
    const seen = old.itemsBetween(view.top, view.top + view.height);
    this.layout = new Layout(this.items, options, old);
    return view.top <= AT_TOP ? 0 : this.#shiftOfFirst(seen, old);
  }

  /** Show what was held back: the grid is at its top. True if anything has changed. */
  release(): boolean {
    const hadNews = this.news > 0;
    this.news = 0;
    if (this.#held.size === 0) return hadNews;
    this.#held.clear();
    this.#rebuild();
    return true;
  }

  #shownTiles(): JobTile[] {
    return this.#content.tiles.filter((tile) => !this.#held.has(tile.key));
  }

  #rebuild(): void {
    const { index } = this.#content;
    const hidden = this.#held.size > 0 ? index.findAll(this.#held) : [];
    this.items = new Items(index, this.#shownTiles(), hidden);
    this.layout = new Layout(this.items, this.layout.options, this.layout);
  }

  /** By how much all that was seen has moved down; null if not all by the same. */
  #shiftOf(seen: number[], old: Layout): number | null {
    const moves = this.#movesOf(seen, old);
    const [first] = moves;
    if (!first || moves.length < seen.length) return null;
    return moves.every(({ x, y }) => x === 0 && y === first.y) ? first.y : null;
  }

  /** By how much the first that was seen, and is there still, has moved down. */
  #shiftOfFirst(seen: number[], old: Layout): number {
    return this.#movesOf(seen, old)[0]?.y ?? 0;
  }

  /** How far each has moved of what was seen and is there still. */
  #movesOf(seen: number[], old: Layout): { x: number; y: number }[] {
    const places = this.items.locate(seen.map((i) => old.items.keyAt(i)));
    return seen.flatMap((i) => {
      const place = places.get(old.items.keyAt(i));
      if (place === undefined) return [];
      const [from, to] = [old.boxOf(i), this.layout.boxOf(place)];
      return [{ x: to.x - from.x, y: to.y - from.y }];
    });
  }
}
