import { type Client, data } from "./api/client";
import type { JobView, SubmissionView } from "./api/schema";
import type { Preview, ServerEvent } from "./events";
import { Observable } from "./observable";

const LIVE = ["held", "queued", "running", "cancelling"] as const;
const MOST = 500;
/** Jobs whose state changed are read together after so many milliseconds. */
const READ_AFTER = 30;

export type JobState = JobView["state"];

/** What is known of jobs before the server has answered. */
export interface ExpectedJob {
  prompt: string;
  backend: string;
  model?: string | null;
  width?: number | null;
  height?: number | null;
  /** How many images. */
  count?: number;
}

/** Jobs that are being submitted. */
export interface Expectation {
  /** The server has answered: they are these. */
  confirm(submission: SubmissionView): void;
  /** The server has refused them. */
  withdraw(): void;
}

export function isLive(job: JobView): boolean {
  return (LIVE as readonly string[]).includes(job.state);
}

/** The jobs that wait and run, and those that ended while the page was open. */
export class JobStore extends Observable {
  /** By id; those without jobs of their own, and the parents. */
  readonly jobs = new Map<string, JobView>();
  /** The latest preview of each running job, a data URL. */
  readonly previews = new Map<string, string>();
  /** Jobs that the server does not know yet, by a made-up id. */
  readonly #expected = new Map<string, JobView>();
  #expectations = 0;
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

  /** Show jobs at once, before the server has answered that it has them. */
  expect(expected: ExpectedJob): Expectation {
    const id = `expected-${(this.#expectations += 1)}`;
    const job = placeholder(id, expected, expected.count ?? 1, 0);
    this.#expected.set(id, job);
    this.changed();
    const withdraw = (): void => {
      if (this.#expected.delete(id)) this.changed();
    };
    const confirm = ({ jobs }: SubmissionView): void => {
      if (!this.#expected.delete(id)) return;
      for (const [number, one] of jobs.entries()) {
        this.#stale.add(one);
        if (this.jobs.has(one)) continue; // its first event was faster
        const count = Math.ceil(((expected.count ?? 1) - number) / jobs.length);
        this.jobs.set(one, { ...placeholder(one, expected, count, number), created: job.created });
      }
      this.changed();
      void this.#readStale();
    };
    return { confirm, withdraw };
  }

  receivePreview(preview: Preview): void {
    this.previews.set(preview.job, preview.image);
    this.changed();
  }

  /** Jobs without jobs of their own, in the order in which they run. */
  listLive(): JobView[] {
    const all = [...this.jobs.values(), ...this.#expected.values()];
    const live = all.filter((job) => isLive(job) && !job.counts);
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

/** A job that waits, as far as the page can know it. */
function placeholder(id: string, expected: ExpectedJob, count: number, number: number): JobView {
  const now = new Date().toISOString();
  return {
    id,
    kind: "image",
    name: expected.prompt,
    state: "queued",
    parent: null,
    number,
    pool: expected.backend,
    backend: null,
    worker: null,
    priority: 0,
    caller: "",
    generation: "",
    model: expected.model ?? null,
    width: expected.width ?? null,
    height: expected.height ?? null,
    image_count: count,
    created: now,
    due: now,
    started: null,
    ended: null,
    after: null,
    attempt: 0,
    failures: 0,
    position: null,
    expected_start: null,
    expected_end: null,
    progress: null,
    counts: null,
    error: null,
  };
}
