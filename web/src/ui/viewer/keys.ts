import type { Reuse } from "$lib/generate/draft";
import type { Actions } from "$lib/shortcuts";

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
export function viewerShortcuts(actions: ViewerActions): Actions {
  return {
    "viewer.previous": () => actions.step(-1),
    "viewer.next": () => actions.step(1),
    "viewer.first": () => actions.goTo("first"),
    "viewer.last": () => actions.goTo("last"),
    "viewer.details": actions.toggleInfo,
    "viewer.star": actions.star,
    "viewer.rate1": () => actions.rate(1),
    "viewer.rate2": () => actions.rate(2),
    "viewer.rate3": () => actions.rate(3),
    "viewer.rate4": () => actions.rate(4),
    "viewer.rate5": () => actions.rate(5),
    "viewer.reset": actions.reset,
    "viewer.zoomIn": () => actions.zoom(1),
    "viewer.zoomInPlain": () => actions.zoom(1),
    "viewer.zoomOut": () => actions.zoom(-1),
    "viewer.reuseAll": () => actions.reuse("all"),
    "viewer.reusePrompt": () => actions.reuse("prompt"),
    "viewer.reuseSeed": () => actions.reuse("seed"),
    "viewer.remix": () => actions.reuse("remix"),
    "viewer.reuseSize": () => actions.reuse("size"),
    "viewer.compare": actions.compare,
    "viewer.delete": actions.remove,
    "viewer.close": actions.close,
  };
}
