import type { Router } from "./router";

/**
 * Lets Back close something that has no address: a menu, a selection, a search.
 *
 * It is an entry of the history with the same address. What the address became while it was open
 * stays after it is closed, in either way.
 */
export class BackLayer {
  #depth = 0;
  #href = "";
  #then: (() => void) | undefined;
  #stop: (() => void) | undefined;

  constructor(
    private readonly router: Router,
    private readonly window: Window,
    private readonly onclose: () => void,
  ) {}

  get isOpen(): boolean {
    return this.#stop !== undefined;
  }

  open(): void {
    if (this.isOpen) return;
    this.router.setQuery({}, { push: true });
    this.#depth = this.router.depth;
    this.#href = this.window.location.href;
    this.#stop = this.router.subscribe(() => this.#follow());
  }

  /** Close it as Back does, then go on: `then` may change the address. */
  close(then?: () => void): void {
    if (!this.isOpen) {
      then?.();
      return;
    }
    this.#then = then;
    if (this.router.depth === this.#depth) this.window.history.back();
    else this.release();
  }

  /** Leave its entry in the history: the user has gone to another place. */
  release(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#then?.();
    this.#then = undefined;
  }

  #follow(): void {
    if (this.router.depth === this.#depth) {
      this.#href = this.window.location.href;
      return;
    }
    if (this.router.depth > this.#depth) return;
    const then = this.#then;
    this.#then = undefined;
    this.release();
    const before = new URL(this.#href);
    const now = new URL(this.window.location.href);
    if (before.pathname === now.pathname && before.search !== now.search) {
      const gone = [...now.searchParams.keys()].filter((name) => !before.searchParams.has(name));
      this.router.setQuery({
        ...Object.fromEntries(gone.map((name) => [name, null])),
        ...Object.fromEntries(before.searchParams),
      });
    }
    this.onclose();
    then?.();
  }
}
