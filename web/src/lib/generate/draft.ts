import { Observable } from "../observable";
import { readJson, writeJson } from "../preferences";

/** The values of a request by their names, as `POST /api/v1/generations` takes them. */
export type RequestDraft = Record<string, unknown>;

/** What to take over from the request of an image. */
export type Reuse = "all" | "prompt" | "seed" | "size" | "remix";

const NAME = "imagen.draft";

/** What the form of a new image holds; kept on this device. */
export class Draft extends Observable {
  request: RequestDraft = {};
  /** The backends to generate with: with several, the images are compared. Empty for the default. */
  backends: string[] = [];

  constructor(private readonly storage: Storage) {
    super();
    const kept = readJson<{ request?: RequestDraft; backends?: string[] }>(storage, NAME, {});
    this.request = kept.request ?? {};
    this.backends = kept.backends ?? [];
  }

  /** Set values; undefined and null remove one. */
  set(values: RequestDraft): void {
    const entries = Object.entries({ ...this.request, ...values });
    this.request = Object.fromEntries(
      entries.filter(([, value]) => value !== null && value !== undefined),
    );
    this.#keep();
  }

  setBackends(backends: string[]): void {
    this.backends = backends;
    this.#keep();
  }

  /** Take over the request of an image, or a part of it; `remix` is all but the seed. */
  reuse(request: RequestDraft, backend: string, what: Reuse): void {
    const part: Record<Reuse, (name: string) => boolean> = {
      all: () => true,
      remix: (name) => name !== "seed",
      prompt: (name) => name === "prompt" || name === "negative",
      seed: (name) => name === "seed",
      size: (name) => name === "width" || name === "height",
    };
    const taken = Object.entries(request).filter(([name]) => part[what](name));
    const isWhole = what === "all" || what === "remix";
    this.request = { ...(isWhole ? {} : this.request), ...Object.fromEntries(taken) };
    if (isWhole && backend) this.backends = [backend];
    this.#keep();
  }

  #keep(): void {
    writeJson(this.storage, NAME, { request: this.request, backends: this.backends });
    this.changed();
  }
}
