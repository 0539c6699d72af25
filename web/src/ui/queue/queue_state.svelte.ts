/** What the queue's panel knows beside the jobs, and what it does to them. */
import { SvelteSet } from "svelte/reactivity";

import { ApiError, data } from "$lib/api/client";
import type { BackendView, JobView, StatusView, WorkersView } from "$lib/api/schema";
import { isLive } from "$lib/jobs";
import { type Move, readWorkers } from "$lib/queue/queue";
import { api, jobs, t, toasts } from "$ui/app.svelte";

/** How long to wait for the end of a job that is cancelled, before it can run again. */
const PATIENCE = 60_000;

export class QueueState {
  status = $state<StatusView | null>(null);
  workers = $state<WorkersView | null>(null);
  backends = $state<BackendView[]>([]);
  /** Jobs that were cancelled here and have not ended yet. */
  readonly cancelled = new SvelteSet<string>();
  /** Jobs whose retry has to be confirmed. */
  readonly confirming = new SvelteSet<string>();

  readonly paused = $derived(
    this.workers && this.status ? readWorkers(this.workers, this.status).paused : new Set<string>(),
  );
  readonly isIdle = $derived(this.workers !== null && this.workers.workers.length === 0);

  /** Read what the engines do; with `asks` they are asked for their memory and prices too. */
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
      if (!asks) return;
      this.backends = (await data(api.GET("/api/v1/backends", { params: { query } }))).backends;
    } catch {
      // The banner says that the server is away; what was known stays.
    }
  }

  labelOf(backend: string): string {
    return this.backends.find((one) => one.name === backend)?.title || backend;
  }

  async cancel(job: JobView): Promise<void> {
    this.cancelled.add(job.id);
    const forget = jobs.subscribe(() => {
      const now = jobs.jobs.get(job.id);
      if (now && isLive(now)) return;
      this.cancelled.delete(job.id);
      forget();
    });
    const isCharged = job.started !== null && this.#isPaid(job.backend ?? job.pool);
    const ok = await attempt(async () => {
      jobs.put(
        await data(api.POST("/api/v1/jobs/{id}/cancel", { params: { path: { id: job.id } } })),
      );
    });
    if (!ok) {
      this.cancelled.delete(job.id);
      return;
    }
    const pool = this.labelOf(job.backend ?? job.pool);
    toasts.show(isCharged ? t("queue.cancelledPaid", { pool }) : t("queue.cancelledToast"), {
      label: t("common.undo"),
      run: () => void this.queueAgain([job.id]),
    });
  }

  async cancelAll(waiting: JobView[]): Promise<void> {
    const ids = waiting.map((job) => job.id);
    await attempt(async () => {
      for (const id of ids) {
        jobs.put(await data(api.POST("/api/v1/jobs/{id}/cancel", { params: { path: { id } } })));
      }
      toasts.show(t("queue.cancelledMany", { count: ids.length }), {
        label: t("common.undo"),
        run: () => void this.queueAgain(ids),
      });
    });
  }

  /** Queue cancelled jobs again, once they have ended. */
  async queueAgain(ids: string[]): Promise<void> {
    for (const id of ids) {
      await whenEnded(id);
      await attempt(() => this.#retry(id, false));
    }
  }

  /** Run again what failed; what may have cost money only once that is confirmed. */
  async retry(job: JobView, isConfirmed = false): Promise<void> {
    try {
      await this.#retry(job.id, isConfirmed);
      this.confirming.delete(job.id);
    } catch (error) {
      if (error instanceof ApiError && error.remedy.includes("confirm=true")) {
        this.confirming.add(job.id);
      } else showError(error);
    }
  }

  async move(id: string, move: Move): Promise<void> {
    await attempt(async () => {
      const path = { id };
      jobs.put(await data(api.PATCH("/api/v1/jobs/{id}", { params: { path }, body: move })));
      await jobs.resync();
    });
  }

  async pause(backend: string, isPaused: boolean): Promise<void> {
    const path = { name: backend };
    await attempt(async () => {
      this.workers = await data(
        isPaused
          ? api.POST("/api/v1/backends/{name}/pause", { params: { path } })
          : api.POST("/api/v1/backends/{name}/unpause", { params: { path } }),
      );
    });
    await this.read();
  }

  #isPaid(backend: string): boolean {
    return this.backends.find((one) => one.name === backend)?.price?.is_free === false;
  }

  async #retry(id: string, confirm: boolean): Promise<void> {
    const params = { path: { id }, query: { confirm } };
    jobs.put(await data(api.POST("/api/v1/jobs/{id}/retry", { params })));
  }
}

/** Whether it worked; what did not is said. */
async function attempt(action: () => Promise<void>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    showError(error);
    return false;
  }
}

function showError(error: unknown): void {
  if (error instanceof ApiError) toasts.show(`${error.detail} ${error.remedy}`.trim());
  else throw error;
}

function whenEnded(id: string): Promise<void> {
  const isEnded = (): boolean => {
    const job = jobs.jobs.get(id);
    return !job || !isLive(job);
  };
  if (isEnded()) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = (): void => {
      stop();
      clearTimeout(timer);
      resolve();
    };
    const stop = jobs.subscribe(() => isEnded() && finish());
    const timer = setTimeout(finish, PATIENCE);
  });
}
