import { data } from "$lib/api/client";
import type { KnownBackend } from "$lib/viewer/use";
import { api } from "$ui/app.svelte";

/** The backends and what each can do, read when something wants to know. */
class Engines {
  list = $state.raw<KnownBackend[]>([]);
  isLoaded = $state(false);
  error = $state("");
  #isReading = false;

  /** Read them, unless that is under way. */
  async load(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const { backends } = await data(api.GET("/api/v1/backends"));
      this.list = await Promise.all(
        backends.map(async (view): Promise<KnownBackend> => {
          const params = { path: { name: view.name } };
          const call = data(api.GET("/api/v1/backends/{name}", { params }));
          return { view, capabilities: await call.catch(() => null) };
        }),
      );
      this.isLoaded = true;
      this.error = "";
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
    } finally {
      this.#isReading = false;
    }
  }
}
export const engines = new Engines();
