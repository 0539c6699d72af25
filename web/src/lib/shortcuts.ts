/** A key or a combination, as people write it: `Ctrl+Enter`, `Shift+X`, `.`, `ArrowLeft`. */
export type Keys = string;

export interface Shortcut {
  /** What the settings call it: `gallery.star`. */
  id: string;
  keys: Keys;
  run: (event: KeyboardEvent) => void;
  /** Also while the user types in a field. */
  inFields?: boolean;
}

/** The keys of an event as `Shortcut.keys` writes them; Cmd counts as Ctrl. */
export function keysOf(event: KeyboardEvent): Keys {
  const { key } = event;
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
}

/** All shortcuts that are active: views add theirs while they are shown. */
export class Shortcuts {
  #scopes: Shortcut[][] = [];
  #listener: ((event: KeyboardEvent) => void) | null = null;

  constructor(private readonly options: ShortcutOptions) {}

  /** Make shortcuts active until the returned function is called; later ones take precedence. */
  add(shortcuts: Shortcut[]): () => void {
    this.#scopes.push(shortcuts);
    return () => {
      this.#scopes = this.#scopes.filter((one) => one !== shortcuts);
    };
  }

  list(): Shortcut[] {
    return this.#scopes.flat();
  }

  /** The keys of an action, as the user chose them. */
  keysFor(shortcut: Shortcut): Keys {
    return this.options.keys()[shortcut.id] ?? shortcut.keys;
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
    const isSingle = !/^(Ctrl|Alt)\+/.test(pressed) && pressed.replace("Shift+", "").length === 1;
    const isTyping = isField(event.target);
    for (const scope of [...this.#scopes].reverse()) {
      for (const shortcut of scope) {
        if (this.keysFor(shortcut) !== pressed) continue;
        if (isTyping && !shortcut.inFields) continue;
        if (isSingle && !this.options.hasSingleKeys()) continue;
        event.preventDefault();
        shortcut.run(event);
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
