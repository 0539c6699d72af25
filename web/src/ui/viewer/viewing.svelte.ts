import { fileUrl } from "$lib/api/client";
import { isStarred, STAR } from "$lib/viewer/star";
import {
  base,
  format,
  gallery,
  live,
  preferences,
  router,
  screen,
  t,
  toasts,
} from "$ui/app.svelte";
import { galleryQuery, showError } from "$ui/shell/actions";
import { imagePath } from "$ui/viewer/actions";
import { ShownImage } from "$ui/viewer/shown.svelte";

/** Which image the viewer shows, and what it does with it. */
export class Viewing {
  readonly shown = new ShownImage();
  /** The image that was in the index last, and where. */
  #last = { uid: "", at: 0, isTrashed: false };

  readonly #place = $derived(live(router).place);
  readonly uid = $derived(this.#place.path.split("/")[1] ?? "");
  readonly index = $derived(live(gallery).index);
  /** Its place in the index, or -1. */
  readonly at = $derived(this.index.find(this.uid));
  readonly detail = $derived(
    this.shown.detail?.library.uid === this.uid ? this.shown.detail : null,
  );
  /** What has to be known to show it, or null. */
  readonly image = $derived(this.at >= 0 ? this.index.at(this.at) : this.#fromDetail());
  readonly prompt = $derived(this.detail?.library.prompt ?? "");
  readonly rating = $derived(
    this.detail
      ? (this.detail.library.rating ?? 0)
      : this.at >= 0
        ? this.index.at(this.at).rating
        : 0,
  );
  readonly isStarred = $derived(isStarred(this.rating));
  readonly isTrashed = $derived(this.detail?.library.is_trashed ?? this.image?.isTrashed ?? false);
  /** Whether someone else moved it to the trash or deleted it for ever while it was shown. */
  readonly isGone = $derived(
    this.at < 0 &&
      this.uid === this.#last.uid &&
      (this.shown.error?.status === 404 || (this.isTrashed && !this.#last.isTrashed)),
  );
  readonly counter = $derived(
    this.at >= 0
      ? t("viewer.counter", {
          number: format().number(this.at + 1),
          all: format().number(this.index.length),
        })
      : "",
  );
  /** The files of the next and the previous image. */
  readonly neighbours = $derived(
    [this.at + 1, this.at - 1]
      .filter((one) => this.at >= 0 && one >= 0 && one < this.index.length)
      .map((one) => this.index.at(one))
      .map((one) => this.url("file", one.uid, one.version)),
  );
  /** What can be done with it, as far as the address says: `1` is the list. */
  readonly use = $derived(this.#place.query.get("use"));
  readonly job = $derived(this.#place.query.get("job"));
  readonly #hasDetails = $derived(this.#place.query.get("details") === "1");
  readonly isSheetOpen = $derived(screen.isPhone && this.#hasDetails);
  /** Whether the details are over a part of the image. */
  readonly isOverlayOpen = $derived(!screen.isPhone && !screen.isDesktop && this.#hasDetails);
  readonly isInfoShown = $derived(
    this.isOverlayOpen || (screen.isDesktop && live(preferences).values.isViewerInfoShown),
  );

  #fromDetail() {
    if (!this.detail) return null;
    const { width, height, sha256, is_trashed } = this.detail.library;
    return {
      width: width ?? 0,
      height: height ?? 0,
      version: sha256.slice(0, 8),
      isTrashed: is_trashed,
    };
  }

  url(kind: "thumbnail" | "file", uid: string, version: string): string {
    return fileUrl(base, `images/${uid}/${kind}`, { v: version });
  }

  /** Remember where the image is, or find out what became of it if it is not there any more. */
  follow(): void {
    if (this.at >= 0) {
      this.#last = { uid: this.uid, at: this.at, isTrashed: this.index.at(this.at).isTrashed };
    } else if (gallery.isLoaded && this.uid === this.#last.uid) {
      this.shown.forget(this.uid);
      void this.shown.reload();
    }
  }

  /** Go on from an image that is gone. */
  leave(): void {
    toasts.show(t("viewer.deletedElsewhere"));
    this.goTo(Math.min(this.#last.at, this.index.length - 1));
  }

  goTo(next: number): void {
    if (this.index.length === 0 || next < 0) return this.close();
    if (next >= this.index.length) return;
    const details = this.isOverlayOpen ? "1" : null;
    router.replace(`image/${this.index.at(next).uid}`, { ...galleryQuery(), details });
  }

  step(by: 1 | -1): void {
    if (this.at < 0) this.goTo(Math.min(this.#last.at, this.index.length - 1));
    else if (this.at + by >= 0) this.goTo(this.at + by);
  }

  close(): void {
    router.back(this.isTrashed ? "trash" : "", galleryQuery());
  }

  open(sheet: "details" | "use", value = "1"): void {
    router.setQuery({ details: null, use: null, job: null, [sheet]: value }, { push: true });
  }

  /** Put a form in the place of the details, or open it. */
  openForm(form: string): void {
    router.setQuery({ details: null, use: form, job: null }, { push: !this.isSheetOpen });
  }

  closeSheet(): void {
    router.back(imagePath(this.uid));
  }

  toggleInfo(): void {
    if (screen.isDesktop) preferences.set({ isViewerInfoShown: !this.isInfoShown });
    else if (this.isOverlayOpen) this.closeSheet();
    else this.open("details");
  }

  toggleStar(): void {
    void this.rate(this.isStarred ? 0 : STAR);
  }

  async rate(stars: number): Promise<void> {
    const { uid, rating } = this;
    this.shown.patch(uid, { rating: stars || null });
    try {
      await gallery.rate([uid], stars || null);
    } catch (error) {
      this.shown.patch(uid, { rating: rating || null });
      showError(error);
    }
  }

  /** Move it to the trash and show the next one; put it back if it is in the trash. */
  async remove(): Promise<void> {
    const { uid, at, index } = this;
    if (this.isTrashed) return this.restore(uid);
    if (at >= 0 && index.length > 1) this.goTo(at + 1 < index.length ? at + 1 : at - 1);
    else this.close();
    try {
      await gallery.moveToTrash([uid]);
      this.shown.forget(uid);
      const undo = (): void => void this.restore(uid);
      toasts.show(t("viewer.trashed"), { label: t("common.undo"), run: undo });
    } catch (error) {
      showError(error);
    }
  }

  async restore(uid: string): Promise<void> {
    try {
      await gallery.restore([uid]);
      this.shown.forget(uid);
      if (!router.place.path.startsWith("image/")) return; // the viewer was closed meanwhile
      router.replace(imagePath(uid));
      await this.shown.reload();
    } catch (error) {
      showError(error);
    }
  }
}
