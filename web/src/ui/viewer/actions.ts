/** What the viewer does with an image on behalf of its buttons and keys. */
import { data } from "$lib/api/client";
import type { ShownImageView } from "$lib/api/schema";
import type { Reuse } from "$lib/generate/draft";
import type { MessageKey } from "$lib/i18n";
import { copyText } from "$lib/platform";
import type { RequestValues } from "$lib/viewer/use";
import { api, draft, format, router, t, toasts } from "$ui/app.svelte";
import { galleryQuery, openForm, showError } from "$ui/shell/actions";

export function imagePath(uid: string): string {
  const query = new URLSearchParams(galleryQuery()).toString();
  return `image/${uid}${query && `?${query}`}`;
}

const REUSED: Record<Reuse, MessageKey> = {
  all: "viewer.reusedAll",
  remix: "viewer.reusedRemix",
  prompt: "viewer.reusedPrompt",
  seed: "viewer.reusedSeed",
  size: "viewer.reusedSize",
};

/** Fill the form with the request of an image, or a part of it. */
export async function reuse(uid: string, what: Reuse): Promise<void> {
  try {
    const { request, backend } = await readRequest(uid);
    draft.reuse(request, backend, what);
    openForm();
    toasts.show(t(REUSED[what]));
  } catch (error) {
    showError(error);
  }
}

export async function readRequest(
  uid: string,
): Promise<{ request: RequestValues; backend: string }> {
  const params = { path: { id: uid } };
  return await data(api.GET("/api/v1/images/{id}/use", { params }));
}

/** Submit a request, and get its job. Raises ApiError. */
export async function submit(request: RequestValues, backend: string): Promise<string | null> {
  const body = { backend, request, literal: true } as never;
  const sent = await data(api.POST("/api/v1/generations", { body }));
  return "jobs" in sent ? sent.job : sent.job.id;
}

/** Say that a job waits; the toast leads to the queue. */
export function showQueued(job: string | null): void {
  toasts.show(t("viewer.queued"), {
    label: t("viewer.show"),
    run: () => router.setQuery({ panel: "queue", job }, { push: true }),
  });
}

/** Copy text; where the browser does not let us, select it in `element`. */
export async function copyOrSelect(text: string, element?: Element | null): Promise<void> {
  if (await copyText(text)) {
    toasts.show(t("common.copied"));
    return;
  }
  if (element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection?.removeAllRanges();
    selection?.addRange(range);
  }
  toasts.show(t("viewer.copyByHand"));
}

/** The line below the prompt of the caption. */
export function describeBriefly(shown: ShownImageView): string {
  const { seed, width, height } = shown.library;
  const steps = shown.resolved.steps ?? shown.facts.steps;
  return [
    seed === null ? "" : t("viewer.briefSeed", { seed: String(seed) }),
    width && height ? `${width} × ${height}` : "",
    typeof steps === "number" ? t("viewer.briefSteps", { steps: format().number(steps) }) : "",
  ]
    .filter(Boolean)
    .join(" · ");
}
