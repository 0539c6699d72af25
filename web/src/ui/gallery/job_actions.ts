/** What the grid does with jobs on behalf of its buttons. */
import { data } from "$lib/api/client";
import type { JobView } from "$lib/api/schema";
import { api, draft, jobs, t, toasts } from "$ui/app.svelte";
import { openForm, showError } from "$ui/shell/actions";

/** Cancel a job at once; the toast offers to queue it again. */
export async function cancelJob(job: JobView): Promise<void> {
  const params = { params: { path: { id: job.id } } };
  try {
    jobs.put(await data(api.POST("/api/v1/jobs/{id}/cancel", params)));
    const undo = async (): Promise<void> => {
      try {
        jobs.put(await data(api.POST("/api/v1/jobs/{id}/retry", params)));
      } catch (error) {
        showError(error);
      }
    };
    toasts.show(t("gallery.cancelled"), { label: t("common.undo"), run: () => void undo() });
  } catch (error) {
    showError(error);
  }
}

/** Open the form with the request of a job that failed. */
export async function retryJob(job: JobView): Promise<void> {
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
