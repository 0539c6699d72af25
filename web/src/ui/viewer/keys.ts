import type { Reuse } from "$lib/generate/draft";
import type { Shortcut } from "$lib/shortcuts";

/** What the keys of the viewer do. */
export interface ViewerActions {
  step: (by: 1 | -1) => void;
  goTo: (end: "first" | "last") => void;
  toggleInfo: () => void;
  star: () => void;
  rate: (stars: number) => void;
  /** Show the whole image again, or clear the rating if it is shown. */
  reset: () => void;
  remove: () => void;
  reuse: (what: Reuse) => void;
  compare: () => void;
  zoom: (direction: 1 | -1) => void;
  close: () => void;
}

/** The shortcuts that are active while an image is shown. */
export function viewerShortcuts(actions: ViewerActions): Shortcut[] {
  return [
    { id: "viewer.previous", keys: "ArrowLeft", run: () => actions.step(-1) },
    { id: "viewer.next", keys: "ArrowRight", run: () => actions.step(1) },
    { id: "viewer.first", keys: "Home", run: () => actions.goTo("first") },
    { id: "viewer.last", keys: "End", run: () => actions.goTo("last") },
    { id: "viewer.details", keys: "i", run: actions.toggleInfo },
    { id: "viewer.star", keys: ".", run: actions.star },
    ...[1, 2, 3, 4, 5].map((stars) => ({
      id: `viewer.rate${stars}`,
      keys: String(stars),
      run: () => actions.rate(stars),
    })),
    { id: "viewer.reset", keys: "0", run: actions.reset },
    { id: "viewer.delete", keys: "Delete", run: actions.remove },
    { id: "viewer.reuseAll", keys: "a", run: () => actions.reuse("all") },
    { id: "viewer.reusePrompt", keys: "p", run: () => actions.reuse("prompt") },
    { id: "viewer.reuseSeed", keys: "s", run: () => actions.reuse("seed") },
    { id: "viewer.remix", keys: "r", run: () => actions.reuse("remix") },
    { id: "viewer.reuseSize", keys: "d", run: () => actions.reuse("size") },
    { id: "viewer.compare", keys: "c", run: actions.compare },
    { id: "viewer.zoomIn", keys: "+", run: () => actions.zoom(1) },
    { id: "viewer.zoomInUnshifted", keys: "=", run: () => actions.zoom(1) },
    { id: "viewer.zoomOut", keys: "-", run: () => actions.zoom(-1) },
    { id: "viewer.close", keys: "z", run: actions.close },
  ];
}
