import { ApiError, type Client, data, readProblem } from "../api/client";
import type { ServerEvent } from "../events";
import { Observable } from "../observable";
import { ImageIndex } from "./image_index";

/** Which images the gallery shows: the parameters of `GET /api/v1/images/index`. */
export type Filters = Record<string, string | string[]>;

/** Above so many changed images, the whole index is read anew. */
const MOST_CHANGED = 200;
/** Events of so many milliseconds are followed by one request. */
const GATHER = 10;
/** So many generations are remembered as known. */
const MOST_KNOWN = 500;
const STAR = 5;

/** The images of the library that match the filters. */
export class Gallery extends Observable {
  index = ImageIndex.empty();
  filters: Filters = {};
  isOldestFirst = false;
  /** False until the first index is here. */
  isLoaded = false;
  error: ApiError | null = null;
  /** The image that the keyboard is at in the grid, or empty. */
  focused = "";
  #isReading = false;
  #isStale = false;
  #stale = new Set<string>();
  #arrivals: string[] = [];
  #known = new Set<string>();
  #epoch = 0;
  #reconciling: Promise<void> = Promise.resolve();

  constructor(
    private readonly api: Client,
    private readonly base: URL,
    private readonly fetcher: typeof fetch = (...request) => fetch(...request),
  ) {
    super();
  }

  async setFilters(filters: Filters, isOldestFirst = false): Promise<void> {
    this.filters = filters;
    this.isOldestFirst = isOldestFirst;
    this.#epoch += 1;
    await this.refresh();
  }

  receive(event: ServerEvent): void {
    if (!event.kind.startsWith("images_")) return;
    const uids = event.data.images;
    if (!Array.isArray(uids)) void this.refresh();
    else this.#expire(uids as string[]);
  }

  /** The images that came since this was asked last, not those of an index read as a whole. */
  takeArrivals(): string[] {
    const arrivals = this.#arrivals;
    this.#arrivals = [];
    return arrivals;
  }

  /** Whether the images of a generation are here, or do not match the filters. */
  isKnown(generation: string): boolean {
    return this.#known.has(generation);
  }

  /** Read the index; the browser answers from its cache if it has not changed. */
  async refresh(): Promise<void> {
    this.#isStale = true;
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#isStale) {
        this.#isStale = false;
        await this.#read();
      }
    } finally {
      this.#isReading = false;
    }
  }

  /** Rate images from 1 to 5; null takes their rating away. A star is a rating. */
  async rate(uids: string[], rating: number | null): Promise<void> {
    this.index = this.index.remark(uids, (marks) => (marks & ~7) | (rating ?? 0));
    this.changed();
    await this.#change(uids, () =>
      this.api.PATCH("/api/v1/images", { body: { images: uids, rating } }),
    );
  }

  /** Give all of these a star, or take it from all if all have one. */
  async toggleStar(uids: string[]): Promise<void> {
    const found = this.index.findAll(uids);
    const isStarred = found.every((i) => this.index.at(i).rating > 0);
    await this.rate(uids, isStarred ? null : STAR);
  }

  async moveToTrash(uids: string[]): Promise<void> {
    await this.#change(uids, () => this.api.POST("/api/v1/trash", { body: { images: uids } }));
  }

  async restore(uids: string[]): Promise<void> {
    await this.#change(uids, () =>
      this.api.POST("/api/v1/trash/restore", { body: { images: uids } }),
    );
  }

  /** Change images on the server, then show them as they are there: also if it refuses. */
  async #change(uids: string[], act: () => Promise<{ data?: unknown }>): Promise<void> {
    try {
      await data(act());
    } finally {
      await this.#reconcile(new Set(uids));
    }
  }

  #expire(uids: string[]): void {
    if (this.#stale.size === 0) {
      setTimeout(() => {
        const stale = this.#stale;
        this.#stale = new Set();
        void this.#reconcile(stale);
      }, GATHER);
    }
    for (const uid of uids) this.#stale.add(uid);
  }

  /** Ask which of these images match the filters, and show those and not the others. */
  #reconcile(uids: Set<string>): Promise<void> {
    this.#reconciling = this.#reconciling.then(() => this.#readSome(uids));
    return this.#reconciling;
  }

  async #readSome(uids: Set<string>): Promise<void> {
    if (this.#isReading || !this.isLoaded || uids.size > MOST_CHANGED) return this.refresh();
    const epoch = this.#epoch;
    try {
      const fresh = await this.#fetch({ ids: [...uids].join(",") });
      if (epoch !== this.#epoch) return;
      const before = new Set(this.index.findAll(uids).map((i) => this.index.uid(i)));
      const removed = new Set(before);
      for (let i = 0; i < fresh.length; i += 1) {
        const uid = fresh.uid(i);
        removed.delete(uid);
        if (!before.has(uid)) this.#arrivals.push(uid);
      }
      this.index = this.index.merge(fresh, removed);
      for (const uid of uids) this.#remember(uid.slice(0, uid.lastIndexOf(".")));
      this.changed();
    } catch {
      await this.refresh();
    }
  }

  #remember(generation: string): void {
    this.#known.add(generation);
    const [oldest] = this.#known;
    if (this.#known.size > MOST_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }

  async #read(): Promise<void> {
    const epoch = this.#epoch;
    try {
      const index = await this.#fetch({ limit: "1000000" });
      if (epoch !== this.#epoch) return;
      this.index = index;
      this.#epoch += 1; // what is asked about single images is older
      this.#arrivals = [];
      this.isLoaded = true;
      this.error = null;
    } catch (error) {
      if (epoch !== this.#epoch) return;
      this.error =
        error instanceof ApiError ? error : new ApiError(0, "unreachable", String(error), "");
    }
    this.changed();
  }

  async #fetch(query: Record<string, string>): Promise<ImageIndex> {
    const { isOldestFirst } = this;
    const url = new URL("api/v1/images/index", this.base);
    for (const [name, value] of Object.entries({ ...this.filters, ...query })) {
      for (const one of [value].flat()) url.searchParams.append(name, one);
    }
    const response = await this.fetcher(url);
    if (!response.ok) throw await readProblem(response);
    const index = new ImageIndex(await response.arrayBuffer());
    return isOldestFirst ? index.reversed() : index;
  }
}
