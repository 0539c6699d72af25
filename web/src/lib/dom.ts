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
