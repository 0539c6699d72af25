import { type Client, data } from "./api/client";
import type { JobView } from "./api/schema";
import type { Preview, ServerEvent } from "./events";
import { Observable } from "./observable";

const LIVE = ["held", "queued", "running", "cancelling"] as const;
const MOST = 500;
/** Jobs whose state changed are read together after so many milliseconds. */
const READ_AFTER = 30;

export type JobState = JobView["state"];

export function isLive(job: JobView): boolean {
  return (LIVE as readonly string[]).includes(job.state);
}

/** The jobs that wait and run, and those that ended while the page was open. */
export class JobStore extends Observable {
  /** By id; those without jobs of their own, and the parents. */
  readonly jobs = new Map<string, JobView>();
  /** The latest preview of each running job, a data URL. */
  readonly previews = new Map<string, string>();
  #stale = new Set<string>();

  constructor(private readonly api: Client) {
    super();
  }

  /** Read all jobs that wait or run. */
  async resync(): Promise<void> {
    const query = { state: [...LIVE], limit: MOST };
    const page = await data(this.api.GET("/api/v1/jobs", { params: { query } }));
    for (const [id, job] of this.jobs) if (isLive(job)) this.#stale.add(id);
    for (const job of page.jobs) {
      if (job.kind === "plain") continue; // of a command on this machine, which is not in the queue
      this.jobs.set(job.id, job);
      this.#stale.delete(job.id);
    }
    await this.#readStale();
  }

  receive(event: ServerEvent): void {
    if (!event.job) return;
    const job = this.jobs.get(event.job);
    if (event.kind === "progress" && job) {
      this.jobs.set(event.job, { ...job, progress: event.data as JobView["progress"] });
      this.changed();
    } else if (event.kind === "state") {
      this.#stale.add(event.job);
      if (this.#stale.size === 1) setTimeout(() => void this.#readStale(), READ_AFTER);
    }
  }

  receivePreview(preview: Preview): void {
    this.previews.set(preview.job, preview.image);
    this.changed();
  }

  /** Jobs without jobs of their own, in the order in which they run. */
  listLive(): JobView[] {
    const live = [...this.jobs.values()].filter((job) => isLive(job) && !job.counts);
    const rank = (job: JobView): number => (job.started ? 0 : 1);
    return live.sort(
      (a, b) =>
        rank(a) - rank(b) ||
        (a.position ?? 0) - (b.position ?? 0) ||
        a.created.localeCompare(b.created) ||
        a.number - b.number,
    );
  }

  async #readStale(): Promise<void> {
    const ids = [...this.#stale];
    this.#stale.clear();
    await Promise.all(ids.map((id) => this.#read(id)));
    this.changed();
  }

  async #read(id: string): Promise<void> {
    const path = { id };
    try {
      const job = await data(this.api.GET("/api/v1/jobs/{id}", { params: { path } }));
      this.jobs.set(id, job);
      if (!isLive(job)) this.previews.delete(id);
    } catch {
      this.jobs.delete(id); // it is gone, or read again after the connection is back
    }
  }
}
