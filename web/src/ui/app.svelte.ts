/** The one of each thing that all views of the page share. */
import { untrack } from "svelte";
import { createSubscriber } from "svelte/reactivity";

import { Announcer } from "$lib/announcer";
import { createApi, data } from "$lib/api/client";
import { coverOf } from "$lib/dom";
import { EventStream, type ServerEvent } from "$lib/events";
import { Formatter } from "$lib/format";
import { Gallery } from "$lib/gallery/gallery";
import { Selection } from "$lib/gallery/selection";
import { Draft } from "$lib/generate/draft";
import { FormState } from "$lib/generate/form";
import { type MessageKey, type MessageValues, Translator } from "$lib/i18n";
import { JobStore } from "$lib/jobs";
import type { Observable } from "$lib/observable";
import { PreferenceStore } from "$lib/preferences";
import { Router } from "$lib/router";
import { Shortcuts } from "$lib/shortcuts";
import { Toasts } from "$lib/toasts";

/** The address of the page's root, also behind a proxy with a path of its own. */
export const base = new URL(import.meta.env.DEV ? "/" : "../", import.meta.url);
export const api = createApi(base, undefined, () => events.suspect());
export const jobs = new JobStore(api);
export const gallery = new Gallery(api, base);
export const selection = new Selection();
export const draft = new Draft(localStorage, sessionStorage);
export const form = new FormState(api, draft);
export const preferences = new PreferenceStore(localStorage);
export const router = new Router(base, window);
export const toasts = new Toasts();
export const translator = new Translator();
export const shortcuts = new Shortcuts({
  keys: () => preferences.values.keys,
  hasSingleKeys: () => preferences.values.hasSingleKeys,
  coverOf,
});

type EventListener = (event: ServerEvent) => void;
const eventListeners = new Set<EventListener>();
const resyncListeners = new Set<() => void>();

export const events = new EventStream(base, {
  event(event) {
    jobs.receive(event);
    gallery.receive(event);
    for (const listener of eventListeners) listener(event);
  },
  preview: (preview) => jobs.receivePreview(preview),
  resync: resyncAll,
  lose: () => void session.refresh(),
});

/** Read everything that is shown from the server anew. */
export function resyncAll(): void {
  void jobs.resync().catch(() => undefined); // it is read again with the next connection
  void gallery.refresh();
  void form.resync();
  for (const listener of resyncListeners) listener();
}

/** Whether the server is away: what needs it is disabled then, with `connection.reason`. */
export const connection = {
  get isLost(): boolean {
    return live(events).isLost;
  },
  /** Why a button is disabled, or empty: "Available again when connected". */
  get reason(): string {
    return this.isLost ? t("connection.needed") : "";
  },
};

/** Call `listener` with each event of the server, until the returned function is called. */
export function onEvent(listener: EventListener): () => void {
  eventListeners.add(listener);
  return () => eventListeners.delete(listener);
}

/** Call `listener` when events were missed, so that everything has to be read anew. */
export function onResync(listener: () => void): () => void {
  resyncListeners.add(listener);
  return () => resyncListeners.delete(listener);
}

/** For an effect: read something now, and again when events were missed, whatever state that uses. */
export function keepRead(read: () => Promise<void>): () => void {
  untrack(() => void read());
  return onResync(() => void read());
}

const subscriptions = new WeakMap<Observable, () => void>();

/** The same object; who reads it in a template or an effect does so again after each change. */
export function live<T extends Observable>(observed: T): T {
  let subscribe = subscriptions.get(observed);
  if (!subscribe) {
    subscribe = createSubscriber((update) => observed.subscribe(update));
    subscriptions.set(observed, subscribe);
  }
  subscribe();
  return observed;
}

/** A string of the page in the user's language. */
export function t(key: MessageKey, values: MessageValues = {}): string {
  return live(translator).text(key, values);
}

/** Numbers and dates in the user's language. */
export function format(): Formatter {
  return new Formatter(live(translator).locale);
}

/** What kind of screen this is; the page follows its changes. */
export class Screen {
  width = $state(innerWidth);
  height = $state(innerHeight);
  isTouch = $state(matchMedia("(pointer: coarse)").matches);

  constructor() {
    addEventListener("resize", () => {
      this.width = innerWidth;
      this.height = innerHeight;
    });
    matchMedia("(pointer: coarse)").addEventListener("change", (event) => {
      this.isTouch = event.matches;
    });
  }

  get isPhone(): boolean {
    return this.width < 640;
  }

  get isDesktop(): boolean {
    return this.width >= 1100;
  }
}
export const screen = new Screen();

/** Who the server takes this browser for; `scopes` is empty as long as it needs a token. */
export class Session {
  name = $state("");
  scopes = $state<string[] | null>(null);

  can(scope: "read" | "generate" | "admin"): boolean {
    return this.scopes?.includes(scope) ?? false;
  }

  /** Ask the server anew: a token may have been revoked. */
  async refresh(): Promise<void> {
    try {
      const view = await data(api.GET("/api/v1/session"));
      this.name = view.name;
      this.scopes = view.scopes;
    } catch {
      // It does not answer: what was known stays.
    }
  }
}
export const session = new Session();

/** The text that screen readers say next; the shell holds its live region. */
export const announcer = new Announcer();

/** Have screen readers say a short text when they are free. */
export function announce(text: string): void {
  announcer.say(text);
}
