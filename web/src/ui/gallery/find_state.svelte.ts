/** What the gallery is filtered by, and what it could be filtered by. */
import type { components } from "$lib/api/schema";
import { data } from "$lib/api/client";
import { type Find, readFind, toFilters, writeFind } from "$lib/find/find";
import { Observable } from "$lib/observable";
import type { Preferences } from "$lib/preferences";
import { api, gallery, live, onEvent, onResync, preferences, router } from "$ui/app.svelte";

type Schemas = components["schemas"];
export type Facets = Schemas["ImageFacetsView"];
export type Album = Schemas["AlbumView"];
export type SavedView = Schemas["SavedViewView"];
type FacetQuery = NonNullable<
  import("$lib/api/schema").paths["/api/v1/facets"]["get"]["parameters"]["query"]
>;

const GATHER = 150;
/** Where the gallery is shown: also below an image. */
const SECTIONS = ["", "image"];

/** Whether the trash is shown instead of the gallery. */
export function isTrash(): boolean {
  return live(router).place.path.split("/")[0] === "trash";
}

/** The filters in the address. */
export function currentFind(): Find {
  return readFind(live(router).place.query);
}

/** Filter by these; the history keeps the entry that it has. */
export function setFind(find: Find): void {
  router.setQuery(writeFind(find));
}

/** How the images are laid out: as the address says, else as on this device before. */
export function currentLayout(): Preferences["layout"] {
  const isGrid = live(router).place.query.get("layout") === "grid";
  return isGrid ? "squares" : live(preferences).values.layout;
}

export function setLayout(layout: Preferences["layout"]): void {
  preferences.set({ layout });
  router.setQuery({ layout: layout === "squares" ? "grid" : null });
}

/** Let the gallery show what the address says, as long as it shows the gallery. */
export function followAddress(): void {
  const { path, query } = router.place;
  const section = path.split("/")[0] ?? "";
  // An image of the trash is shown over the trash.
  const inTrash = section === "trash" || (section === "image" && "trash" in gallery.filters);
  if (!inTrash && !SECTIONS.includes(section)) return;
  const filters = toFilters(readFind(query), { isTrash: inTrash });
  const isOldestFirst = query.get("sort") === "oldest";
  const isSame = JSON.stringify(filters) === JSON.stringify(gallery.filters);
  if (isSame && isOldestFirst === gallery.isOldestFirst) return;
  void gallery.setFilters(filters, isOldestFirst);
}

/** How many images each choice would find: read when a part that shows it asks for it. */
class FacetStore extends Observable {
  facets: Facets | null = null;
  #wanted = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = 0;

  /** Keep them up to date until the returned function is called. */
  follow(): () => void {
    this.#wanted += 1;
    this.refresh();
    return () => (this.#wanted -= 1);
  }

  refresh(): void {
    if (this.#wanted === 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#read(), this.facets ? GATHER : 0);
  }

  async #read(): Promise<void> {
    const asked = (this.#asked += 1);
    const query = { ...gallery.filters, utc_offset: -new Date().getTimezoneOffset() };
    try {
      const facets = await data(
        api.GET("/api/v1/facets", { params: { query: query as FacetQuery } }),
      );
      if (asked !== this.#asked) return;
      this.facets = facets;
      this.changed();
    } catch {
      // the counts are missing until the next change
    }
  }
}
export const facets = new FacetStore();

/** The albums and the saved views of the library. */
class Collections extends Observable {
  albums: Album[] = [];
  views: SavedView[] = [];
  isLoaded = false;

  async refresh(): Promise<void> {
    try {
      [this.albums, this.views] = await Promise.all([
        data(api.GET("/api/v1/albums")),
        data(api.GET("/api/v1/saved-views")),
      ]);
      this.isLoaded = true;
      this.changed();
    } catch {
      // read again with the next event
    }
  }

  albumName(id: string): string {
    return this.albums.find((album) => album.id === id)?.name ?? "";
  }
}
export const collections = new Collections();

/** Read what the server has now and with each change, until the returned function is called. */
export function followLibrary(): () => void {
  void collections.refresh();
  const stops = [
    onEvent(({ kind }) => {
      if (kind === "albums_changed" || kind === "views_changed") void collections.refresh();
      if (kind.startsWith("images_") || kind === "albums_changed") facets.refresh();
    }),
    onResync(() => {
      void collections.refresh();
      facets.refresh();
    }),
    gallery.subscribe(() => facets.refresh()),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
