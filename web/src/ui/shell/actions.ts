/** What several views do on behalf of their buttons. */
import { describeError } from "$lib/api/client";
import { live, preferences, router, screen, toasts } from "$ui/app.svelte";

/** Say what failed, as a toast. */
export function showError(error: unknown): void {
  toasts.show(describeError(error));
}

/** What the address says about the gallery, also below an image. */
export function galleryQuery(): Record<string, string> {
  const others = ["details", "use", "panel", "job", "pick"];
  return Object.fromEntries(
    [...live(router).place.query].filter(([name]) => !others.includes(name)),
  );
}

/** Show the form of a new image, in place of an image that is shown. */
export function openForm(): void {
  const isImage = router.place.path.startsWith("image/");
  if (screen.isDesktop) {
    preferences.set({ isPanelShown: true });
    if (isImage) router.push("", galleryQuery());
    else if (!["", "trash"].includes(router.place.path)) router.push("");
  } else if (isImage) {
    router.replace("", { ...galleryQuery(), panel: "generate" });
  } else {
    router.setQuery({ panel: "generate", job: null }, { push: true });
  }
}
