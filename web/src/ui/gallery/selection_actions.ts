/** What can be done with the images that are selected, or with one that has the focus. */
import { data, fileUrl } from "$lib/api/client";
import { PLACES } from "$lib/compare/difference";
import { inBatches } from "$lib/gallery/batches";
import { api, base, gallery, router, selection, t, toasts } from "$ui/app.svelte";
import { showError } from "$ui/shell/actions";

/** Of one change; the server takes 1000. */
const MOST_CHANGED = 500;
/** More ids than this do not fit into an address. */
const MOST_IN_ADDRESS = 200;
export const MOST_ZIPPED = 5000;
export const MOST_COMPARED = PLACES.length;
/** More images are too many to vote on. */
export const MOST_VOTED = 100;

/** The selected images, else the one that the keyboard is at. */
export function chosenImages(): string[] {
  if (selection.size > 0) return selection.uids;
  return gallery.focused ? [gallery.focused] : [];
}

/** Do something with many images, and say what went wrong. */
async function change(uids: string[], act: (some: string[]) => Promise<unknown>): Promise<boolean> {
  try {
    for (const some of inBatches(uids, MOST_CHANGED)) await act(some);
    return true;
  } catch (error) {
    showError(error);
    return false;
  }
}

export async function toggleStars(uids: string[]): Promise<void> {
  await gallery.toggleStar(uids).catch(showError);
}

export async function rateImages(uids: string[], rating: number | null): Promise<void> {
  await change(uids, (some) => gallery.rate(some, rating));
}

/** Move images to the trash; Undo puts them back. */
export async function trashImages(uids: string[]): Promise<void> {
  if (!(await change(uids, (some) => gallery.moveToTrash(some)))) return;
  selection.clear();
  toasts.show(t("find.trashed", { count: uids.length }), {
    label: t("common.undo"),
    run: () => void change(uids, (some) => gallery.restore(some)),
  });
}

export async function restoreImages(uids: string[]): Promise<void> {
  if (!(await change(uids, (some) => gallery.restore(some)))) return;
  selection.clear();
  toasts.show(t("find.restored", { count: uids.length }));
}

/** Delete images of the trash for good: these, or all. */
export async function deleteForGood(uids: string[] | null): Promise<void> {
  const empty = async (some: string[] | null): Promise<void> => {
    await data(api.POST("/api/v1/trash/empty", { body: { images: some } }));
  };
  const isDone = uids
    ? await change(uids, empty)
    : await empty(null).then(
        () => true,
        (error: unknown) => {
          showError(error);
          return false;
        },
      );
  if (!isDone) return;
  selection.clear();
  await gallery.refresh();
}

/** Save images: one as its file, several as a zip file. */
export function downloadImages(uids: string[]): void {
  const [first] = uids;
  if (first === undefined) return;
  if (uids.length === 1) return follow(fileUrl(base, `images/${first}/file`, { download: 1 }));
  if (uids.length > MOST_ZIPPED) {
    toasts.show(t("find.tooMany", { count: MOST_ZIPPED }));
    return;
  }
  const ids = uids.join(",");
  if (uids.length <= MOST_IN_ADDRESS) return follow(fileUrl(base, "images/zip", { ids }));
  const form = document.createElement("form");
  form.method = "post";
  form.action = fileUrl(base, "images/zip");
  const field = document.createElement("input");
  field.type = "hidden";
  field.name = "ids";
  field.value = ids;
  form.append(field);
  document.body.append(form);
  form.submit();
  form.remove();
}

function follow(href: string): void {
  const link = document.createElement("a");
  link.href = href;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
}

export function compareImages(uids: string[]): void {
  router.push(
    "compare/images",
    Object.fromEntries(PLACES.map((name, at) => [name, uids[at] ?? null])),
  );
}

/** Vote on images by themselves, to find the best of them. */
export function voteOnImages(uids: string[]): void {
  router.push("arena", { images: uids.join(",") });
}

/** Add tags to images and remove others. */
export async function changeTags(
  uids: string[],
  tags: { add_tags?: string[]; remove_tags?: string[] },
): Promise<void> {
  for (const some of inBatches(uids, MOST_CHANGED)) {
    await data(api.PATCH("/api/v1/images", { body: { images: some, ...tags } }));
  }
}

/** Add images to an album, or take them out. */
export async function changeAlbum(
  id: string,
  uids: string[],
  what: "add" | "remove",
): Promise<void> {
  for (const some of inBatches(uids, MOST_CHANGED)) {
    const body = { [what]: some };
    await data(api.PATCH("/api/v1/albums/{id}", { params: { path: { id } }, body }));
  }
}
