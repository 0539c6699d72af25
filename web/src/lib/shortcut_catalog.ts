/** A key or a combination, as people write it: `Ctrl+Enter`, `Shift+X`, `.`, `ArrowLeft`. */
export type Keys = string;

/** Every action of the page that has a key, by its id; `keys.<id>` is what the page calls it.
 *
 * The first word says where it is active: `global` is everywhere.
 */
export const CATALOG = {
  "global.keys": "?",
  "global.queue": "Shift+Q",
  "global.cancel": "Shift+X",
  "global.undo": "Ctrl+Z",
  "generate.submit": "Ctrl+Enter",
  "generate.front": "Ctrl+Shift+Enter",
  "generate.prompt": "Alt+A",
  "generate.panel": "t",
  "gallery.search": "/",
  "gallery.open": "z",
  "gallery.select": "x",
  "gallery.selectAll": "Ctrl+A",
  "gallery.deselect": "Escape",
  "gallery.star": ".",
  "gallery.delete": "Delete",
  "gallery.rate1": "1",
  "gallery.rate2": "2",
  "gallery.rate3": "3",
  "gallery.rate4": "4",
  "gallery.rate5": "5",
  "gallery.unrate": "0",
  "gallery.date": "g",
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
  "compare.swap": "c",
  "compare.flicker": "m",
  "compare.keepA": "1",
  "compare.keepB": "2",
  "compare.link": "l",
  "compare.zoomIn": "+",
  "compare.zoomInPlain": "=",
  "compare.zoomOut": "-",
  "compare.zoomReset": "0",
  "arena.left": "ArrowLeft",
  "arena.right": "ArrowRight",
  "arena.tie": "ArrowUp",
  "arena.bothBad": "ArrowDown",
  "arena.skip": "s",
  "arena.undo": "u",
} as const satisfies Record<string, Keys>;

/** Keys that cannot be changed, because lists and text fields have them in every program. */
export const FIXED = {
  "generate.weight": ["Ctrl+ArrowUp", "Ctrl+ArrowDown"],
  "gallery.move": ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"],
  "gallery.ends": ["Home", "End"],
  "gallery.view": ["Enter"],
  "gallery.toggle": ["Space"],
  "gallery.extend": ["Shift+ArrowLeft", "Shift+ArrowRight"],
  "queue.move": ["Alt+ArrowUp", "Alt+ArrowDown"],
} as const satisfies Record<string, readonly Keys[]>;

export type ActionId = keyof typeof CATALOG;
export type FixedId = keyof typeof FIXED;
export type FixedKeys = (typeof FIXED)[FixedId][number];

/** Where an action is active. */
export function areaOf(id: string): string {
  return id.split(".")[0] ?? "";
}

/** The actions of an area, and its keys that cannot be changed. */
export interface KeyArea {
  area: string;
  ids: ActionId[];
  fixed: FixedId[];
}

/** All keys, in the order of the catalog. */
export function listAreas(): KeyArea[] {
  const ids = Object.keys(CATALOG) as ActionId[];
  const fixed = Object.keys(FIXED) as FixedId[];
  return [...new Set([...ids, ...fixed].map(areaOf))].map((area) => ({
    area,
    ids: ids.filter((id) => areaOf(id) === area),
    fixed: fixed.filter((id) => areaOf(id) === area),
  }));
}

/** Whether a key is one without Ctrl or Alt: a letter, a digit or a sign. */
export function isSingle(keys: Keys): boolean {
  return keys.replace("Shift+", "").length === 1;
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
  const isBeside = (one: string, other: string): boolean =>
    one === "global" || (one === "generate" && other === "gallery");
  return (Object.keys(all) as ActionId[]).filter((other) => {
    const [own, its] = [areaOf(id), areaOf(other)];
    const isShared = own === its || isBeside(own, its) || isBeside(its, own);
    return other !== id && isShared && all[other] === all[id];
  });
}
