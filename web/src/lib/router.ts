import { Observable } from "./observable";

export interface Place {
  /** The path below the page's root, without a slash at its ends: `image/9f3c.1`. */
  path: string;
  query: URLSearchParams;
}

type Query = Record<string, string | null | undefined>;

/** The address of the page: every state that a user may want to return to. */
export class Router extends Observable {
  place: Place;
  /** How many entries of this page are before the current one in the history. */
  depth: number;

  constructor(
    private readonly base: URL,
    private readonly window: Window,
  ) {
    super();
    this.place = this.#read();
    this.depth = (window.history.state as { depth?: number } | null)?.depth ?? 0;
    window.addEventListener("popstate", () => {
      this.depth = (window.history.state as { depth?: number } | null)?.depth ?? 0;
      this.#follow();
    });
    window.document.addEventListener("click", (event) => this.#click(event));
  }

  /** The address of a path below the root, for links. */
  href(path: string, query: Query = {}): string {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
    return url.href;
  }

  /** Go to a path, as a new entry of the history. */
  push(path: string, query: Query = {}): void {
    this.#go(this.href(path, query), false);
  }

  replace(path: string, query: Query = {}): void {
    this.#go(this.href(path, query), true);
  }

  /** Go to an address of this page in place of the current one. */
  replaceHref(href: string): void {
    this.#go(href, true);
  }

  /** Change some parameters of the query and keep the others; null removes one. */
  setQuery(change: Query, { push = false } = {}): void {
    const url = new URL(this.window.location.href);
    for (const [name, value] of Object.entries(change)) {
      if (value) url.searchParams.set(name, value);
      else url.searchParams.delete(name);
    }
    this.#go(url.href, !push);
  }

  /** Go so many entries back if this page was there, else replace the address with the given one. */
  back(path: string, query: Query = {}, entries = 1): void {
    if (this.depth >= entries) this.window.history.go(-entries);
    else this.replace(path, query);
  }

  #go(href: string, isReplaced: boolean): void {
    if (!isReplaced) this.depth += 1;
    const state = { depth: this.depth };
    if (isReplaced) this.window.history.replaceState(state, "", href);
    else this.window.history.pushState(state, "", href);
    this.#follow();
  }

  #follow(): void {
    this.place = this.#read();
    this.changed();
  }

  #read(): Place {
    const url = new URL(this.window.location.href);
    let path = url.pathname.slice(this.base.pathname.length);
    try {
      path = decodeURIComponent(path);
    } catch {
      // A lone percent sign: the path is as it is.
    }
    return { path: path.replace(/\/+$/, ""), query: url.searchParams };
  }

  /** Follow links of this page without loading it again. */
  #click(event: MouseEvent): void {
    const link = (event.target as Element | null)?.closest?.<HTMLAnchorElement>("a[href]");
    const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey);
    if (!link || !isPlain || event.altKey || event.defaultPrevented) return;
    if (link.target || link.hasAttribute("download")) return;
    const isOwn = link.href.startsWith(this.base.href) && !link.href.includes("/api/");
    if (!isOwn) return;
    event.preventDefault();
    this.#go(link.href, link.href === this.window.location.href);
  }
}
