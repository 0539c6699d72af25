import { ApiError, type Client, data } from "../api/client";
import type {
  BackendModelsView,
  BackendsView,
  BackendView,
  Model,
  StatusView,
} from "../api/schema";
import { Observable } from "../observable";
import { type ChoiceGroup, groupChoices, type ModelSources } from "./models";

const EMPTY: BackendsView = { backends: [], pools: [], kinds: {} };
/** What was read so many milliseconds ago is read again when a picker opens. */
const STALE_AFTER = 30_000;

/** The models of all backends: what is configured at once, then what the engines say. */
export class ModelCatalog extends Observable {
  groups: ChoiceGroup[] = [];
  /** False until the configured backends are known. */
  isLoaded = false;
  /** Whether engines are being asked. */
  isReading = false;
  error: ApiError | null = null;
  #sources: ModelSources = { backends: EMPTY, models: null, status: null, usage: [], budgets: [] };
  #readAt = 0;

  constructor(
    private readonly api: Client,
    private readonly now: () => number = Date.now,
  ) {
    super();
  }

  /** The largest upload in bytes; infinite until it is known. */
  get maxUploadBytes(): number {
    return this.#sources.status?.max_upload_bytes ?? Infinity;
  }

  /** Whether all engines were asked, so that what is missing is really missing. */
  get isComplete(): boolean {
    return this.#sources.models !== null && !this.isReading;
  }

  /** What the engines do, as far as it is known. */
  get status(): StatusView | null {
    return this.#sources.status;
  }

  findBackend(name: string): BackendView | undefined {
    return this.#sources.backends.backends.find((one) => one.name === name);
  }

  /** What a backend has of some kinds: LoRAs, VAEs, upscalers. */
  modelsOf(backend: string, kinds: readonly string[]): Model[] {
    const pool = this.#sources.backends.pools.find((one) => one.name === backend);
    const names = pool ? pool.backends : [backend];
    const listed = (this.#sources.models ?? []).filter((one) => names.includes(one.name));
    return listed.flatMap((one) => one.models.filter((model) => kinds.includes(model.kind)));
  }

  /** Why the models of a backend are not known; empty if they are. */
  problemOf(backend: string): string {
    return this.#listing(backend)?.error?.message ?? "";
  }

  #listing(backend: string): BackendModelsView | undefined {
    return this.#sources.models?.find((one) => one.name === backend);
  }

  /** Read everything unless that was done a moment ago. */
  async load(): Promise<void> {
    if (this.isReading || this.now() - this.#readAt < STALE_AFTER) return;
    await this.refresh();
  }

  /** Ask all engines; what is known is shown as it comes. */
  async refresh(): Promise<void> {
    if (this.isReading) return;
    this.isReading = true;
    this.changed();
    const query = (check: boolean) => ({ params: { query: { check } } });
    const take = async <T>(read: Promise<T>, use: (value: T) => Partial<ModelSources>) => {
      this.#update(use(await read));
    };
    try {
      const quick = [
        take(data(this.api.GET("/api/v1/status")), (status) => ({ status })),
        take(data(this.api.GET("/api/v1/usage/models")), ({ models }) => ({ usage: models })),
        take(data(this.api.GET("/api/v1/budgets")), ({ budgets }) => ({ budgets })),
      ];
      if (!this.isLoaded) {
        quick.push(
          take(data(this.api.GET("/api/v1/backends", query(false))), (backends) => ({ backends })),
        );
      }
      await Promise.all(quick);
      this.isLoaded = true;
      this.changed();
      await Promise.all([
        take(data(this.api.GET("/api/v1/backends", query(true))), (backends) => ({ backends })),
        take(data(this.api.GET("/api/v1/models")), ({ backends }) => ({ models: backends })),
      ]);
      this.#readAt = this.now();
      this.error = null;
    } catch (error) {
      this.error = error instanceof ApiError ? error : new ApiError(0, "failed", String(error), "");
    } finally {
      this.isReading = false;
      this.changed();
    }
  }

  /** Read how much waits, after jobs came or went. */
  async refreshStatus(): Promise<void> {
    try {
      this.#update({ status: await data(this.api.GET("/api/v1/status")) });
    } catch {
      // The banner says that the connection is lost; what was read stays.
    }
  }

  #update(change: Partial<ModelSources>): void {
    this.#sources = { ...this.#sources, ...change };
    this.groups = groupChoices(this.#sources);
    this.changed();
  }
}
