/** What people do to jobs, in the queue and at the tiles of the gallery. */
import { SvelteSet } from "svelte/reactivity";

import { ApiError, data } from "$lib/api/client";
import type { JobView } from "$lib/api/schema";
import { isLive } from "$lib/jobs";
import type { Move } from "$lib/queue/queue";
import { api, draft, jobs, router, t, toasts } from "$ui/app.svelte";
import { catalog } from "$ui/inputs/store.svelte";
import { openForm, showError } from "$ui/shell/actions";

/** How long to wait for the end of a job that is cancelled. */
const PATIENCE = 60_000;

/** Jobs that were cancelled here and have not ended yet. */
export const cancelled = new SvelteSet<string>();
/** Jobs whose retry has to be confirmed. */
export const confirming = new SvelteSet<string>();

/** Cancel jobs at once; the toast offers to queue them again. */
export async function cancelJobs(these: JobView[]): Promise<void> {
  const ids = these.map((job) => job.id);
  const pools = these.filter((job) => job.started).map((job) => job.backend ?? job.pool);
  const paid = pools
    .map((name) => catalog.findBackend(name))
    .find((one) => one?.price?.is_free === false);
  for (const id of ids) {
    cancelled.add(id);
    void whenEnded(id).then(() => cancelled.delete(id));
  }
  try {
    for (const id of ids) {
      jobs.put(await data(api.POST("/api/v1/jobs/{id}/cancel", { params: { path: { id } } })));
    }
  } catch (error) {
    for (const id of ids) cancelled.delete(id);
    showError(error);
    return;
  }
  const text = paid
    ? t("queue.cancelledPaid", { pool: paid.title || paid.name })
    : t("queue.cancelledMany", { count: ids.length });
  toasts.show(text, { label: t("common.undo"), run: () => void queueAgain(ids) });
}

/** Queue cancelled jobs again, once they have ended. */
async function queueAgain(ids: string[]): Promise<void> {
  try {
    for (const id of ids) {
      await whenEnded(id);
      await retry(id, false);
    }
  } catch (error) {
    showError(error);
  }
}

/** Run again what failed; what may have cost money only once that is confirmed. */
export async function retryJob(job: JobView, isConfirmed = false): Promise<void> {
  try {
    await retry(job.id, isConfirmed);
    confirming.delete(job.id);
  } catch (error) {
    if (error instanceof ApiError && error.remedy.includes("confirm=true")) confirming.add(job.id);
    else showError(error);
  }
}

async function retry(id: string, confirm: boolean): Promise<void> {
  const params = { path: { id }, query: { confirm } };
  jobs.put(await data(api.POST("/api/v1/jobs/{id}/retry", { params })));
}

export async function moveJob(id: string, move: Move): Promise<void> {
  try {
    const params = { path: { id } };
    jobs.put(await data(api.PATCH("/api/v1/jobs/{id}", { params, body: move })));
    await jobs.resync();
  } catch (error) {
    showError(error);
  }
}

/** Open the form with the request of a job that failed. */
export async function fixJob(job: JobView): Promise<void> {
  try {
    const { request } = await data(
      api.GET("/api/v1/jobs/{id}", { params: { path: { id: job.id } } }),
    );
    draft.reuse(request ?? {}, job.pool, "all");
    openForm();
  } catch (error) {
    showError(error);
  }
}

/** Show one job in the queue. */
export function showJob(job: JobView): void {
  router.setQuery({ panel: "queue", job: job.id }, { push: true });
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
