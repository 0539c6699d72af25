import { ApiError, type Client, data } from "../api/client";
import type { BackendCapabilitiesView, BackendView, PoolView } from "../api/schema";
import { Observable } from "../observable";
import { type Plan, planRequest } from "./capabilities";
import type { Draft } from "./draft";
import { inferTask, valueOf, withValues } from "./request";

const NOTHING: Plan = {
  task: "text-to-image",
  because: "",
  isPossible: true,
  parameters: {},
  slots: [],
  unused: [],
  sent: {},
};

/** What the form is made of: the draft, and what the chosen backend and model take of it. */
export class FormState extends Observable {
  backends: BackendView[] = [];
  pools: PoolView[] = [];
  /** False until the backends are known. */
  isLoaded = false;
  /** What the chosen backend can do with the chosen model; the former's while it is read. */
  capabilities: BackendCapabilitiesView | null = null;
  /** Why the backends or capabilities cannot be read. */
  error: ApiError | null = null;
  /** How the backend would understand the draft. */
  plan: Plan = NOTHING;
  #known = new Map<string, BackendCapabilitiesView>();
  #reading: AbortController | null = null;
  #shown = "";

  constructor(
    private readonly api: Client,
    readonly draft: Draft,
  ) {
    super();
    draft.subscribe(() => this.#follow());
  }

  /** The backend that the form is made for: the first that is chosen, else the default. */
  get backend(): string {
    const isKnown = (name: string): boolean =>
      [...this.backends, ...this.pools].some((one) => one.name === name);
    const chosen = this.draft.backends.find(isKnown);
    const usual = [...this.pools, ...this.backends].find((one) => one.default);
    if (!this.isLoaded) return this.draft.backends[0] ?? "";
    return chosen ?? usual?.name ?? this.backends[0]?.name ?? "";
  }

  /** The chosen checkpoint; empty for the backend's own. */
  get model(): string {
    return (this.draft.request.model as string | undefined) ?? "";
  }

  /** Whether images of several backends are compared. */
  get isComparison(): boolean {
    return this.draft.backends.length > 1;
  }

  /** The value of a parameter in the draft, or the model's default. */
  value(name: string): unknown {
    return valueOf(this.draft.request, name) ?? this.plan.parameters[name]?.default ?? undefined;
  }

  /** Choose one backend and perhaps one of its models, in place of those chosen before. */
  choose(backend: string, model = ""): void {
    const request = withValues(this.draft.request, { model: model || null });
    this.draft.restore({ request, backends: [backend] });
  }

  /** Read the backends and capabilities anew. */
  async resync(): Promise<void> {
    try {
      const view = await data(this.api.GET("/api/v1/backends"));
      this.backends = view.backends;
      this.pools = view.pools;
      this.isLoaded = true;
      this.error = null;
      this.#known.clear();
      this.#shown = "";
      this.#follow();
    } catch (error) {
      this.#fail(error);
    }
  }

  #follow(): void {
    const key = `${this.backend}\n${this.model}`;
    if (this.isLoaded && this.backend && key !== this.#shown) {
      this.#shown = key;
      void this.#read(key);
    }
    this.#update();
  }

  async #read(key: string): Promise<void> {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    const path = { name: this.backend };
    const query = this.model ? { model: this.model } : {};
    try {
      const view =
        this.#known.get(key) ??
        (await data(
          this.api.GET("/api/v1/backends/{name}", {
            params: { path, query },
            signal: reading.signal,
          }),
        ));
      if (reading.signal.aborted) return;
      this.#known.set(key, view);
      this.capabilities = view;
      this.error = null;
      this.#update();
    } catch (error) {
      if (!reading.signal.aborted) this.#fail(error);
    }
  }

  #update(): void {
    const { request } = this.draft;
    this.plan = this.capabilities
      ? planRequest(request, this.capabilities)
      : { ...NOTHING, ...inferTask(request), sent: request };
    this.changed();
  }

  #fail(error: unknown): void {
    this.error =
      error instanceof ApiError ? error : new ApiError(0, "unreachable", String(error), "");
    this.#shown = "";
    this.changed();
  }
}
