/** What the viewer does with an image on behalf of its buttons and keys. */
import { ApiError, data } from "$lib/api/client";
import type { ShownImageView } from "$lib/api/schema";
import type { Reuse } from "$lib/generate/draft";
import type { MessageKey } from "$lib/i18n";
import { copyText } from "$lib/platform";
import { imageName, type RequestValues, type Slot } from "$lib/viewer/use";
import { api, draft, format, preferences, router, screen, t, toasts } from "$ui/app.svelte";

/** The query of the gallery below the viewer. */
export function galleryQuery(): URLSearchParams {
  const query = new URLSearchParams(router.place.query);
  for (const name of ["details", "use", "panel", "job"]) query.delete(name);
  return query;
}

function withQuery(path: string, query: URLSearchParams): string {
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** Where the viewer leads back to: the gallery, or the trash. */
export function galleryPath(isTrashed: boolean): string {
  return withQuery(isTrashed ? "trash" : "", galleryQuery());
}

export function imagePath(uid: string): string {
  return withQuery(`image/${uid}`, galleryQuery());
}

/** Go to the form of a new image. */
export function openForm(): void {
  const query = galleryQuery();
  if (screen.isDesktop) {
    preferences.set({ isPanelShown: true });
    router.push(withQuery("", query));
  } else {
    query.set("panel", "generate");
    router.replace(withQuery("", query));
  }
}

/** Say what failed, as a toast. */
export function showError(error: unknown): void {
  const sentences = error instanceof ApiError ? [error.detail, error.remedy] : [String(error)];
  toasts.show(sentences.filter(Boolean).join(" "));
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

/** Put an image into a slot of the form, beside those that are there. */
export function useAsInput(uid: string, slot: Slot, control = ""): void {
  const image = imageName(uid);
  const listed = (name: string): unknown[] => {
    const value = draft.request[name];
    return Array.isArray(value) ? value : [];
  };
  if (slot === "image") draft.set({ image });
  else if (slot === "mask") draft.set({ mask: image });
  else if (slot === "reference") draft.set({ references: [...listed("references"), image] });
  else {
    const one = { kind: control, image, preprocess: true };
    draft.set({ controls: [...listed("controls"), one] });
  }
  openForm();
  toasts.show(t("viewer.addedToForm"));
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
