import { data } from "$lib/api/client";
import type { BackendView, PoolView } from "$lib/api/schema";
import { api } from "$ui/app.svelte";

/** The backends and pools that can be compared, and how their engines are called. */
export class Engines {
  backends = $state.raw<BackendView[]>([]);
  pools = $state.raw<PoolView[]>([]);
  isLoaded = $state(false);

  async read(): Promise<void> {
    try {
      const known = await data(api.GET("/api/v1/backends"));
      this.backends = known.backends;
      this.pools = known.pools;
      this.isLoaded = true;
    } catch {
      // Names are shown without their engines until it is asked again.
    }
  }

  find(name: string): BackendView | undefined {
    const member = this.pools.find((pool) => pool.name === name)?.backends[0];
    return this.backends.find((backend) => backend.name === (member ?? name));
  }

  /** The engine of a backend, as people write it; empty if that is its name already. */
  labelOf(name: string): string {
    const label = this.find(name)?.label ?? "";
    return label.toLowerCase() === name.toLowerCase() ? "" : label;
  }
}

const known = new Engines();
let isAsked = false;

/** The one list of all views of comparisons; read when the first of them is shown. */
export function engines(): Engines {
  if (!isAsked) {
    isAsked = true;
    void known.read();
  }
  return known;
}
