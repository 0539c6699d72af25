import type { Keys } from "./shortcuts";

/** Every action of the page that has a key, by its id; `keys.<id>` is what the page calls it.
 *
 * The first word says where it is active: `global` is everywhere.
 */
export const CATALOG = {
  "global.keys": "?",
  "global.queue": "Shift+Q",
  "global.undo": "Ctrl+Z",
  "gallery.date": "g",
  "gallery.select": "x",
  "gallery.selectAll": "Ctrl+A",
  "viewer.previous": "ArrowLeft",
  "viewer.next": "ArrowRight",
  "viewer.first": "Home",
  "viewer.last": "End",
  "viewer.details": "i",
  "viewer.star": ".",
  "viewer.rate1": "1",
  "viewer.rate2": "2",
  "viewer.rate3": "3",
  "viewer.rate4": "4",
  "viewer.rate5": "5",
  "viewer.reset": "0",
  "viewer.zoomIn": "+",
  "viewer.zoomInPlain": "=",
  "viewer.zoomOut": "-",
  "viewer.reuseAll": "a",
  "viewer.reusePrompt": "p",
  "viewer.reuseSeed": "s",
  "viewer.remix": "r",
  "viewer.reuseSize": "d",
  "viewer.compare": "c",
  "viewer.delete": "Delete",
  "viewer.close": "z",
  "arena.left": "ArrowLeft",
  "arena.right": "ArrowRight",
  "arena.tie": "ArrowUp",
  "arena.bothBad": "ArrowDown",
  "arena.skip": "s",
  "arena.undo": "u",
  "gallery.search": "/",
  "gallery.star": ".",
  "gallery.delete": "Delete",
  "gallery.rate1": "1",
  "gallery.rate2": "2",
  "gallery.rate3": "3",
  "gallery.rate4": "4",
  "gallery.rate5": "5",
  "gallery.unrate": "0",
  "generate.submit": "Ctrl+Enter",
  "generate.front": "Ctrl+Shift+Enter",
  "generate.prompt": "Alt+A",
  "generate.panel": "t",
} as const satisfies Record<string, Keys>;

export type ActionId = keyof typeof CATALOG;

/** Where an action is active. */
export function areaOf(id: string): string {
  return id.split(".")[0] ?? "";
}

/** The actions of each area, in the order of the catalog. */
export function listAreas(): [string, ActionId[]][] {
  const areas = new Map<string, ActionId[]>();
  for (const id of Object.keys(CATALOG) as ActionId[]) {
    areas.set(areaOf(id), [...(areas.get(areaOf(id)) ?? []), id]);
  }
  return [...areas];
}

/** The keys of each action, as the user chose them. */
export function effectiveKeys(chosen: Record<string, Keys>): Record<ActionId, Keys> {
  const entries = Object.entries(CATALOG).map(([id, keys]) => [id, chosen[id] ?? keys]);
  return Object.fromEntries(entries) as Record<ActionId, Keys>;
}

/** The other actions that have the same keys at a place where both are active. */
export function findConflicts(id: ActionId, chosen: Record<string, Keys>): ActionId[] {
  const all = effectiveKeys(chosen);
  if (!all[id]) return [];
  return (Object.keys(all) as ActionId[]).filter((other) => {
    const isShared =
      areaOf(other) === areaOf(id) || areaOf(other) === "global" || areaOf(id) === "global";
    return other !== id && isShared && all[other] === all[id];
  });
}
