import { type ActionId, areaOf, CATALOG, isSingle, type Keys } from "./shortcut_catalog";

/** What the actions of a view do. */
export type Actions = Partial<Record<ActionId, (event: KeyboardEvent) => void>>;

/** What is open above the page and has the keys. */
export interface Cover {
  element: Element;
  /** Whether the keys that work everywhere still do: in an image over the whole page, for one. */
  isView: boolean;
}

/** The keys of an event as the catalog writes them; Cmd counts as Ctrl. */
export function keysOf(event: KeyboardEvent): Keys {
  const key = event.key === " " ? "Space" : event.key;
  const isLetter = /^\p{L}$/u.test(key);
  const words: string[] = [];
  if (event.ctrlKey || event.metaKey) words.push("Ctrl");
  if (event.altKey) words.push("Alt");
  if (event.shiftKey && (isLetter || key.length > 1)) words.push("Shift");
  words.push(isLetter ? (words.length > 0 ? key.toUpperCase() : key.toLowerCase()) : key);
  return words.join("+");
}

export interface ShortcutOptions {
  /** Other keys for an action, by its id; empty turns it off. */
  keys: () => Record<string, Keys>;
  hasSingleKeys: () => boolean;
  /** What is open above the page, for a key that is pressed there. */
  coverOf: (target: EventTarget | null) => Cover | null;
}

interface Scope {
  actions: Actions;
  within: () => Element | null | undefined;
}

/** All shortcuts that are active: views add theirs while they are shown. */
export class Shortcuts {
  #scopes: Scope[] = [];
  #listener: ((event: KeyboardEvent) => void) | null = null;

  constructor(private readonly options: ShortcutOptions) {}

  /** Make actions active until the returned function is called; later ones take precedence.
   *
   * While something modal is open, only those within it are.
   */
  add(actions: Actions, within: Scope["within"] = () => null): () => void {
    const scope = { actions, within };
    this.#scopes.push(scope);
    return () => {
      this.#scopes = this.#scopes.filter((one) => one !== scope);
    };
  }

  /** The keys of an action as the user chose them; empty if it has none. */
  keysFor(id: ActionId): Keys {
    const keys = this.options.keys()[id] ?? CATALOG[id];
    return isSingle(keys) && !this.options.hasSingleKeys() ? "" : keys;
  }

  /** Give all keys to `listener` instead, until the returned function is called. */
  capture(listener: (event: KeyboardEvent) => void): () => void {
    this.#listener = listener;
    return () => {
      if (this.#listener === listener) this.#listener = null;
    };
  }

  handle(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.isComposing) return;
    if (this.#listener) return this.#listener(event);
    const pressed = keysOf(event);
    const isTyping = isField(event.target);
    const cover = this.options.coverOf(event.target);
    for (const { actions, within } of [...this.#scopes].reverse()) {
      const own = within();
      const isWithin = cover === null || Boolean(own && cover.element.contains(own));
      for (const [id, run] of Object.entries(actions) as [ActionId, Actions[ActionId]][]) {
        if (this.keysFor(id) !== pressed) continue;
        if (isTyping && (areaOf(id) !== "generate" || isSingle(pressed))) continue;
        const isGlobal = areaOf(id) === "global" && (cover?.isView || /^(Ctrl|Alt)/.test(pressed));
        if (!isWithin && !isGlobal) continue;
        event.preventDefault();
        run?.(event);
        return;
      }
    }
  }
}

function isField(target: EventTarget | null): boolean {
  const element = target as Partial<HTMLElement> | null;
  if (element?.isContentEditable || element?.tagName === "TEXTAREA") return true;
  if (element?.tagName === "SELECT") return true;
  const kind = (element as Partial<HTMLInputElement> | null)?.type ?? "";
  return element?.tagName === "INPUT" && !["range", "checkbox", "radio", "button"].includes(kind);
}
