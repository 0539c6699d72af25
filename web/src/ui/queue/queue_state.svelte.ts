/** What the queue's panel knows beside the jobs: what the engines do. */
import { data } from "$lib/api/client";
import type { StatusView, WorkersView } from "$lib/api/schema";
import { pausedBackends } from "$lib/queue/queue";
import { api, live } from "$ui/app.svelte";
import { catalog } from "$ui/inputs/store.svelte";
import { showError } from "$ui/shell/actions";

export class QueueState {
  status = $state<StatusView | null>(null);
  workers = $state<WorkersView | null>(null);

  readonly paused = $derived(this.status ? pausedBackends(this.status) : new Set<string>());
  readonly isIdle = $derived(this.workers !== null && this.workers.workers.length === 0);

  /** Read what the engines do; with `asks` they are asked for their memory too. */
  async read(asks = false): Promise<void> {
    try {
      const query = { check: asks };
      const [status, workers] = await Promise.all([
        data(api.GET("/api/v1/status", { params: { query } })),
        data(api.GET("/api/v1/workers")),
      ]);
      const known = new Map(this.status?.engines.map((one) => [one.name, one.gpus]));
      const engines = status.engines.map((one) =>
        asks ? one : { ...one, gpus: known.get(one.name) ?? [] },
      );
      this.status = { ...status, engines };
      this.workers = workers;
    } catch {
      // The banner says that the server is away; what was known stays.
    }
  }

  labelOf(backend: string): string {
    return live(catalog).findBackend(backend)?.title || backend;
  }

  async pause(backend: string, isPaused: boolean): Promise<void> {
    const params = { path: { name: backend } };
    try {
      this.workers = await data(
        isPaused
          ? api.POST("/api/v1/backends/{name}/pause", { params })
          : api.POST("/api/v1/backends/{name}/unpause", { params }),
      );
    } catch (error) {
      showError(error);
    }
    await Promise.all([this.read(), catalog.refreshStatus()]);
  }
}
