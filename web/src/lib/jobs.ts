import { ApiError, type Client, data } from "./api/client";
import type { JobView, SubmissionView } from "./api/schema";
import type { Preview, ServerEvent } from "./events";
import { Observable } from "./observable";

const LIVE = ["held", "queued", "running", "cancelling"] as const;
const ENDED = ["done", "failed", "cancelled", "lost"] as const;
const MOST = 500;
const MOST_ENDED = 100;
/** Jobs whose state changed are read together after so many milliseconds. */
const READ_AFTER = 30;
/** With more stale jobs than this at once, the whole list is read instead of each. */
const MOST_READ = 20;
/** From this share and so many seconds on, progress says how long a job will take. */
const SURE_FRACTION = 0.05;
const SURE_SECONDS = 1;

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

/** Whether a job stands for something that was submitted a moment ago, without an answer yet. */
export function isExpected(job: JobView): boolean {
  return job.id.startsWith("expected-");
}

/** The jobs that wait and run, and those that ended today. */
export class JobStore extends Observable {
  /** By id; those without jobs of their own, and the parents. */
  readonly jobs = new Map<string, JobView>();
  /** The latest preview of each running job, a data URL. */
  readonly previews = new Map<string, string>();
  /** False until the jobs were read for the first time. */
  isLoaded = false;
  /** False until that was tried, with the jobs of parents. */
  isSettled = false;
  /** When a job last made progress, in milliseconds as of Date.now(). */
  readonly heard = new Map<string, number>();
  #stale = new Set<string>();
  #isScheduled = false;
  #reading: Promise<void> | null = null;
  #isAgain = false;
  /** Jobs that the server does not know yet, by a made-up id. */
  readonly #expected = new Map<string, JobView>();
  #expectations = 0;
  #parents = new Map<string, Promise<void>>();

  constructor(
    private readonly api: Client,
    private readonly now: () => Date = () => new Date(),
  ) {
    super();
  }

  /** Read all jobs that wait or run, and those that ended today. */
  async resync(): Promise<void> {
    this.#isAgain = true;
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = null;
      this.isSettled = true;
      this.changed();
    });
    await this.#reading;
  }

  receive(event: ServerEvent): void {
    if (!event.job) return;
    const job = this.jobs.get(event.job);
    if (event.kind === "progress" && job && isLive(job)) {
      this.#put({ ...job, progress: event.data as JobView["progress"] });
      this.heard.set(event.job, Date.now());
      this.changed();
    } else if (event.kind === "state") {
      this.#stale.add(event.job);
      this.#schedule();
    }
  }

  receivePreview(preview: Preview): void {
    const job = this.jobs.get(preview.job);
    if (job && !isLive(job)) return;
    this.previews.set(preview.job, preview.image);
    this.changed();
  }

  /** Show jobs at once, before the server has answered that it has them. */
  expect(expected: ExpectedJob): Expectation {
    const id = `expected-${(this.#expectations += 1)}`;
    const job = placeholder(id, expected, expected.count ?? 1, 0);
    this.#expected.set(id, job);
    this.changed();
    const forget = (): boolean => {
      const isForgotten = this.#expected.delete(id);
      if (this.#stale.size) this.#schedule();
      return isForgotten;
    };
    const withdraw = (): void => {
      if (forget()) this.changed();
    };
    const confirm = (submission: SubmissionView): void => {
      if (!forget()) return;
      const ids = submission.jobs;
      for (const [number, one] of ids.entries()) {
        this.#stale.add(one);
        if (this.jobs.has(one)) continue;
        const count = Math.ceil(((expected.count ?? 1) - number) / ids.length);
        const parent = submission.job === one ? null : submission.job;
        const known = placeholder(one, expected, count, number);
        this.jobs.set(one, { ...known, parent, created: job.created });
      }
      if (submission.job) this.#stale.add(submission.job);
      this.changed();
      void this.#readStale();
    };
    return { confirm, withdraw };
  }

  /** Take over what the server answered to a change of a job. */
  put(job: JobView): void {
    this.#put(job);
    this.changed();
  }

  /** Jobs without jobs of their own that wait or run, in the order in which they run. */
  listLive(): JobView[] {
    return this.#all()
      .filter((job) => isLive(job) && !job.counts)
      .sort(byTurn);
  }

  /** What was submitted by itself and waits or runs: parents instead of their jobs. */
  listTop(): JobView[] {
    return this.#all()
      .filter((job) => isLive(job) && !job.parent)
      .sort(byTurn);
  }

  /** The jobs of a parent that are here, by their number. */
  listChildren(parent: string): JobView[] {
    const children = [...this.jobs.values()].filter((job) => job.parent === parent);
    return children.sort((a, b) => a.number - b.number);
  }

  /** What was submitted by itself and ended today, the latest first. */
  listEnded(): JobView[] {
    const ended = [...this.jobs.values()].filter((job) => !isLive(job) && !job.parent);
    return ended.sort((a, b) => (b.ended ?? "").localeCompare(a.ended ?? ""));
  }

  /** How much of all that waits and runs is done, from 0 to 1. */
  get progress(): number {
    let all = 0;
    let done = 0;
    for (const job of this.listTop()) {
      const counts = job.counts ?? { [job.state]: 1 };
      for (const [state, number] of Object.entries(counts)) {
        all += number;
        if (!(LIVE as readonly string[]).includes(state)) done += number;
      }
      const running = job.counts ? this.listChildren(job.id) : [job];
      for (const one of running) if (isLive(one)) done += fractionOf(one) ?? 0;
    }
    return all === 0 ? 0 : Math.min(1, done / all);
  }

  /** How many jobs run and wait; those of parents are counted, not the parents. */
  get numbers(): { running: number; waiting: number } {
    const numbers = { running: 0, waiting: 0 };
    for (const job of this.listTop()) {
      const counts: Partial<Record<JobState, number>> = job.counts ?? { [job.state]: 1 };
      numbers.running += (counts.running ?? 0) + (counts.cancelling ?? 0);
      numbers.waiting += (counts.queued ?? 0) + (counts.held ?? 0);
    }
    return numbers;
  }

  #all(): JobView[] {
    return [...this.jobs.values(), ...this.#expected.values()];
  }

  #put(job: JobView): void {
    this.jobs.set(job.id, job);
    if (isLive(job)) return;
    this.previews.delete(job.id);
    this.heard.delete(job.id);
  }

  async #readAll(): Promise<void> {
    while (this.#isAgain) {
      this.#isAgain = false;
      const before = new Map(this.jobs);
      const found = new Map<string, JobView>();
      await Promise.all([
        this.#readPage({ state: [...LIVE], limit: MOST }, found),
        this.#readPage({ state: [...ENDED], limit: MOST_ENDED }, found, this.#midnight()),
      ]);
      this.#takeOver(found, before);
      const below = new Map<string, JobView>();
      await this.#readBelow([...found.values()], below);
      this.#takeOver(below, before);
      for (const [id, job] of before) {
        const isSame = this.jobs.get(id) === job;
        if (isSame && !found.has(id) && !below.has(id)) this.jobs.delete(id);
      }
      this.changed();
    }
  }

  /** Show what was read; but what an event brought in the meantime is newer. */
  #takeOver(found: Map<string, JobView>, before: Map<string, JobView>): void {
    for (const [id, job] of found) {
      if (this.jobs.get(id) === before.get(id)) this.#put(job);
    }
    this.isLoaded = true;
    this.changed();
  }

  async #readPage(
    query: { state: JobState[]; limit: number; parent?: string },
    found: Map<string, JobView>,
    since = "",
  ): Promise<void> {
    const page = await data(this.api.GET("/api/v1/jobs", { params: { query } }));
    for (const job of page.jobs) {
      if (job.kind === "plain") continue; // of a command on this machine, which is not in the queue
      if (!since || (job.ended && new Date(job.ended).toISOString() >= since)) {
        found.set(job.id, job);
      }
    }
  }

  /** Read the jobs of these parents that wait, run or failed. */
  async #readBelow(jobs: JobView[], found: Map<string, JobView>): Promise<void> {
    const parents = jobs.filter(
      ({ counts }) =>
        counts && [...LIVE, "failed", "lost"].some((state) => counts[state as JobState]),
    );
    await Promise.all(
      parents.map(async ({ id }) => {
        const children = new Map<string, JobView>();
        const state: JobState[] = [...LIVE, "failed", "lost"];
        await this.#readPage({ state, limit: MOST, parent: id }, children);
        for (const [child, job] of children) found.set(child, job);
        await this.#readBelow([...children.values()], found);
      }),
    );
  }

  /** The beginning of today, as the server writes moments. */
  #midnight(): string {
    const day = this.now();
    return new Date(day.getFullYear(), day.getMonth(), day.getDate()).toISOString();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setTimeout(() => void this.#readStale(), READ_AFTER);
  }

  async #readStale(): Promise<void> {
    this.#isScheduled = false;
    // A new job may be one that is expected: it is shown twice unless that is known first.
    const ids = [...this.#stale].filter((id) => this.#expected.size === 0 || this.jobs.has(id));
    for (const id of ids) this.#stale.delete(id);
    if (ids.length > MOST_READ) await this.resync().catch(() => undefined);
    else await Promise.all(ids.map((id) => this.#read(id)));
    this.#forget();
    this.changed();
  }

  /** A page that is open for long keeps the latest of the jobs that are done. */
  #forget(): void {
    const done = [...this.jobs.values()].filter(
      ({ state }) => state === "done" || state === "cancelled",
    );
    if (done.length <= 2 * MOST_ENDED) return;
    done.sort((a, b) => (b.ended ?? "").localeCompare(a.ended ?? ""));
    for (const { id } of done.slice(MOST_ENDED)) this.jobs.delete(id);
  }

  async #read(id: string): Promise<void> {
    const path = { id };
    try {
      const isNew = !this.jobs.has(id);
      const job = await data(this.api.GET("/api/v1/jobs/{id}", { params: { path } }));
      this.#put(job);
      if (isNew && job.counts) {
        // Of what is submitted together, events only name the parent.
        const children = new Map<string, JobView>();
        await this.#readBelow([job], children);
        for (const child of children.values()) if (!this.jobs.has(child.id)) this.#put(child);
      }
      if (job.parent && !this.#stale.has(job.parent)) await this.#readParent(job.parent);
    } catch (error) {
      // Otherwise it stays as it was, and is read again after the connection is back.
      if (error instanceof ApiError && error.status === 404) this.jobs.delete(id);
    }
  }

  /** Read the counts of a parent, of which no event tells; once for all that ended together. */
  #readParent(id: string): Promise<void> {
    const known = this.#parents.get(id);
    if (known) return known;
    const reading = this.#read(id).finally(() => this.#parents.delete(id));
    this.#parents.set(id, reading);
    return reading;
  }
}

/** Those that began first, then those that wait in the order of their turn, then what is expected. */
export function byTurn(a: JobView, b: JobView): number {
  const rank = (job: JobView): number => (isExpected(job) ? 2 : job.started ? 0 : 1);
  const time = (moment: string | null): number => (moment ? Date.parse(moment) : 0);
  return (
    rank(a) - rank(b) ||
    time(a.started) - time(b.started) ||
    (a.started ? 0 : b.priority - a.priority) ||
    time(a.created) - time(b.created) ||
    a.number - b.number ||
    a.id.localeCompare(b.id)
  );
}

/** Whether an engine or a worker has it, or one of its jobs. */
export function isRunning(job: JobView): boolean {
  if (job.counts) return Boolean(job.counts.running || job.counts.cancelling || job.started);
  return job.state === "running" || job.state === "cancelling";
}

/** Whether a job waits for a moment that was set for it. This clock may differ from the server's. */
export function isScheduled(job: JobView, now: number): boolean {
  const due = Date.parse(job.due);
  const isSet = due > Date.parse(job.created) + 1000;
  return isLive(job) && !isRunning(job) && isSet && due > now + 1000;
}

/** How much of a job is done, from 0 to 1, as far as that is known. */
export function fractionOf(job: JobView): number | null {
  if (job.counts) {
    const all = Object.values(job.counts).reduce((sum, one) => sum + one, 0);
    const ended = ENDED.reduce((sum, state) => sum + (job.counts?.[state] ?? 0), 0);
    return all ? ended / all : null;
  }
  const fraction = job.progress?.fraction;
  return typeof fraction === "number" ? fraction : null;
}

/** In how many seconds a running job is likely to end; null if that is unknown. */
export function secondsLeft(job: JobView, now: number): number | null {
  if (!job.started) return null;
  const elapsed = (now - Date.parse(job.started)) / 1000;
  const fraction = fractionOf(job);
  if (fraction !== null && fraction >= SURE_FRACTION && elapsed >= SURE_SECONDS) {
    return Math.max(0, (elapsed / fraction) * (1 - fraction));
  }
  const left = job.expected_end ? (Date.parse(job.expected_end) - now) / 1000 : 0;
  return left > 0 ? left : null;
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
