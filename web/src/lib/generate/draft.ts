import { Observable } from "../observable";
import { readJson, writeJson } from "../preferences";
import { type RequestDraft, withValues } from "./request";

export type { RequestDraft } from "./request";

/** What to take over from the request of an image. */
export type Reuse = "all" | "prompt" | "seed" | "size" | "remix";

export interface DraftValues {
  request: RequestDraft;
  /** The backends to generate with: with several, the images are compared. Empty for the default. */
  backends: string[];
  /** The models of the one backend that are compared; else empty. */
  models: string[];
}

const NAME = "imagen.draft";

/** What the form of a new image holds; kept on this device, and by each tab for itself. */
export class Draft extends Observable {
  request: RequestDraft = {};
  /** The backends to generate with: with several, the images are compared. Empty for the default. */
  backends: string[] = [];
  /** The models of the one backend that are compared; else empty. */
  models: string[] = [];
  readonly #stores: Storage[];

  /** `tab` lives as long as a tab: what another tab wrote meanwhile does not replace it. */
  constructor(storage: Storage, tab?: Storage) {
    super();
    this.#stores = tab ? [tab, storage] : [storage];
    for (const store of this.#stores) {
      const kept = readJson<Partial<DraftValues> | null>(store, NAME, null);
      if (!kept) continue;
      this.request = kept.request ?? {};
      this.backends = kept.backends ?? [];
      this.models = kept.models ?? [];
      break;
    }
  }

  get values(): DraftValues {
    return { request: this.request, backends: this.backends, models: this.models };
  }

  /** Replace all of it, for instance by what `values` was before. */
  restore(values: Omit<DraftValues, "models"> & Partial<DraftValues>): void {
    this.request = values.request;
    this.backends = values.backends;
    this.models = values.models ?? [];
    this.#keep();
  }

  /** Set values by the names of their parameters; undefined and null remove one. */
  set(values: RequestDraft): void {
    this.request = withValues(this.request, values);
    this.#keep();
  }

  setBackends(backends: string[]): void {
    this.backends = backends;
    this.models = [];
    this.#keep();
  }

  /** Generate with a model of a backend, with the backends' own ones, or compare several models. */
  choose(backends: string[], models: string[]): void {
    this.backends = backends;
    this.models = models.length > 1 ? models : [];
    const [model] = models.length === 1 ? models : [];
    this.request = withValues(this.request, { model });
    this.#keep();
  }

  /** Take over the request of an image, or a part of it; `remix` is all but the seed. */
  reuse(request: RequestDraft, backend: string, what: Reuse): void {
    const part: Record<Reuse, (name: string) => boolean> = {
      all: () => true,
      remix: (name) => name !== "seed",
      prompt: (name) => name === "prompt" || name === "negative",
      seed: (name) => name === "seed",
      size: (name) => ["width", "height", "aspect"].includes(name),
    };
    const taken = Object.entries(request).filter(([name]) => part[what](name));
    const isWhole = what === "all" || what === "remix";
    const emptied = what === "size" ? { width: null, height: null, aspect: null } : {};
    this.request = withValues(isWhole ? {} : withValues(this.request, emptied), {
      ...Object.fromEntries(taken),
    });
    if (isWhole && backend) {
      this.backends = [backend];
      this.models = [];
    }
    this.#keep();
  }

  #keep(): void {
    for (const store of this.#stores) writeJson(store, NAME, this.values);
    this.changed();
  }
}
