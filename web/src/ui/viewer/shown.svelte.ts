import { ApiError, data } from "$lib/api/client";
import type { ShownImageView } from "$lib/api/schema";
import { api } from "$ui/app.svelte";

const KEPT = 20;

/** The record of the image that is shown; those of the last images are kept. */
export class ShownImage {
  detail = $state.raw<ShownImageView | null>(null);
  error = $state.raw<ApiError | null>(null);
  #uid = "";
  #kept = new Map<string, ShownImageView>();
  #abort: AbortController | null = null;

  /** Read the record of an image, unless it is known. */
  show(uid: string): void {
    if (uid === this.#uid) return;
    this.#uid = uid;
    this.detail = this.#kept.get(uid) ?? null;
    this.error = null;
    if (!this.detail) void this.reload();
    else this.#abort?.abort();
  }

  /** Read the record again. */
  async reload(): Promise<void> {
    const id = this.#uid;
    if (!id) return;
    this.#abort?.abort();
    const { signal } = (this.#abort = new AbortController());
    try {
      const path = { id };
      const detail = await data(api.GET("/api/v1/images/{id}", { params: { path }, signal }));
      this.#keep(detail);
      if (id === this.#uid) [this.detail, this.error] = [detail, null];
    } catch (error) {
      if (signal.aborted || id !== this.#uid) return;
      this.error =
        error instanceof ApiError ? error : new ApiError(0, "unreachable", String(error), "");
      if (this.error.status !== 0) this.forget(id);
    }
  }

  /** Show what the user just changed before the server confirms it. */
  patch(uid: string, change: Partial<ShownImageView["library"]>): void {
    const known = this.#kept.get(uid);
    if (!known) return;
    const changed = { ...known, library: { ...known.library, ...change } };
    this.#kept.set(uid, changed);
    if (uid === this.detail?.library.uid) this.detail = changed;
  }

  /** Read the records of images anew when they are shown next; the one that is shown now. */
  forget(uid?: string): void {
    if (uid) this.#kept.delete(uid);
    else this.#kept.clear();
  }

  #keep(detail: ShownImageView): void {
    const { uid } = detail.library;
    this.#kept.delete(uid);
    this.#kept.set(uid, detail);
    for (const old of this.#kept.keys()) {
      if (this.#kept.size <= KEPT) break;
      this.#kept.delete(old);
    }
  }
}
