import type { Cover } from "./shortcuts";

/** How long to wait for content that is read from the server first. */
const PATIENCE = 3000;

/** Call `then` with the first such element below `root`, now or once it appears within seconds.
 *
 * Returns what ends the waiting.
 */
export function whenThere(
  root: HTMLElement,
  selector: string,
  then: (element: HTMLElement) => void,
): () => void {
  const find = (): boolean => {
    const element = root.querySelector<HTMLElement>(selector);
    if (element) then(element);
    return element !== null;
  };
  if (find()) return () => undefined;
  const observer = new MutationObserver(() => {
    if (find()) stop();
  });
  observer.observe(root, { childList: true, subtree: true });
  const timer = setTimeout(() => stop(), PATIENCE);
  const stop = (): void => {
    observer.disconnect();
    clearTimeout(timer);
  };
  return stop;
}

const MODALS = "dialog:modal, [aria-modal=true], [popover]:popover-open:not(.toast)";

/** What is open above the page and gets its keys; a drawer only those that are pressed in it. */
export function coverOf(target: EventTarget | null): Cover | null {
  const modal = [...document.querySelectorAll(MODALS)].at(-1);
  if (modal) return { element: modal, isView: modal.matches("[data-view]") };
  const drawer = target instanceof Element ? target.closest("dialog[open]") : null;
  return drawer && { element: drawer, isView: true };
}

/** Give the focus to a heading or a part of the page that the Tab key leaves out. */
export function focusPart(part: HTMLElement): void {
  if (!part.hasAttribute("tabindex")) part.tabIndex = -1;
  part.focus({ preventScroll: true });
}

/** Give the focus back to `opener`, or where a view begins, if what had it is gone. */
export function returnFocus(opener: Element | null): void {
  const isLost = !document.activeElement || document.activeElement === document.body;
  if (!isLost) return;
  if (opener instanceof HTMLElement && opener.isConnected && opener !== document.body) {
    opener.focus();
    if (document.activeElement === opener) return;
  }
  const part = document.querySelector<HTMLElement>("[aria-modal=true]:not([inert] *), main h1");
  if (part) focusPart(part);
}

/** Show a dialog above the page; who had the focus gets it back from the returned function. */
export function showModal(dialog: HTMLDialogElement): () => void {
  const opener = document.activeElement;
  dialog.showModal();
  return () => returnFocus(opener);
}

/** Let a row that scrolls sideways fade out at the edges beyond which there is more. */
export function fadeEdges(row: HTMLElement): () => void {
  const update = (): void => {
    const beyond = row.scrollWidth - row.clientWidth;
    const isRtl = getComputedStyle(row).direction === "rtl";
    const left = isRtl ? beyond + row.scrollLeft : row.scrollLeft;
    row.style.setProperty("--fade-left", left > 1 ? "32px" : "0px");
    row.style.setProperty("--fade-right", beyond - left > 1 ? "32px" : "0px");
  };
  const observer = new ResizeObserver(update);
  for (const element of [row, ...row.children]) observer.observe(element);
  row.addEventListener("scroll", update, { passive: true });
  return () => {
    observer.disconnect();
    row.removeEventListener("scroll", update);
  };
}
