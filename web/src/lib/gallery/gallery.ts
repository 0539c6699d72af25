import { ApiError, type Client, data, readProblem } from "../api/client";
import type { ServerEvent } from "../events";
import { Observable } from "../observable";
import { ImageIndex } from "./image_index";

/** Which images the gallery shows: the parameters of `GET /api/v1/images/index`. */
export type Filters = Record<string, string | string[]>;

/** The images of the library that match the filters, newest first. */
export class Gallery extends Observable {
  index = ImageIndex.empty();
  filters: Filters = {};
  /** False until the first index is here. */
  isLoaded = false;
  error: ApiError | null = null;
  #isReading = false;
  #isStale = false;

  constructor(
    private readonly api: Client,
    private readonly base: URL,
    private readonly fetcher: typeof fetch = (...request) => fetch(...request),
  ) {
    super();
  }

  async setFilters(filters: Filters): Promise<void> {
    this.filters = filters;
    await this.refresh();
  }

  receive(event: ServerEvent): void {
    if (event.kind.startsWith("images_")) void this.refresh();
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
    await data(this.api.PATCH("/api/v1/images", { body: { images: uids, rating } }));
    await this.refresh();
  }

  async moveToTrash(uids: string[]): Promise<void> {
    await data(this.api.POST("/api/v1/trash", { body: { images: uids } }));
    await this.refresh();
  }

  async restore(uids: string[]): Promise<void> {
    await data(this.api.POST("/api/v1/trash/restore", { body: { images: uids } }));
    await this.refresh();
  }

  async #read(): Promise<void> {
    const url = new URL("api/v1/images/index", this.base);
    url.searchParams.set("limit", "1000000");
    for (const [name, value] of Object.entries(this.filters)) {
      for (const one of [value].flat()) url.searchParams.append(name, one);
    }
    try {
      const response = await this.fetcher(url);
      if (!response.ok) throw await readProblem(response);
      this.index = new ImageIndex(await response.arrayBuffer());
      this.isLoaded = true;
      this.error = null;
    } catch (error) {
      this.error =
        error instanceof ApiError ? error : new ApiError(0, "unreachable", String(error), "");
    }
    this.changed();
  }
}
