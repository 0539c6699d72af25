import type { JobView } from "./api/schema";
import { fractionOf, isExpected, isLive } from "./jobs";
import { Observable } from "./observable";

/** Texts for screen readers, one after the other: a region that changes too fast is not read. */
export class Announcer extends Observable {
  text = "";
  #queue: string[] = [];
  #isBusy = false;

  constructor(private readonly pause = 1000) {
    super();
  }

  say(text: string): void {
    if (this.#queue.at(-1) === text) return;
    this.#queue.push(text);
    if (this.#queue.length > 5) this.#queue.shift();
    if (this.#isBusy) return;
    this.#isBusy = true;
    setTimeout(() => this.#next(), 0);
  }

  #next(): void {
    const next = this.#queue.shift();
    this.text = next ?? "";
    this.#isBusy = next !== undefined;
    if (this.#isBusy) setTimeout(() => this.#next(), this.pause);
    this.changed();
  }
}

/** What to say of the jobs: a step of progress, or what has ended since. */
export interface Report {
  kind: "progress" | "done" | "failed";
  /** The share of all that is done in percent, or how many jobs have ended. */
  number: number;
}

const STEP = 10;
const SECONDS = 5;

/** Says of the jobs what is worth hearing: every 10 % but at most every 5 seconds, and ends. */
export class ProgressReporter {
  #states = new Map<string, JobView["state"]>();
  #step = 0;
  #at = -Infinity;

  /** `jobs` are all that are known, `share` is how much of those that wait and run is done. */
  report(jobs: Iterable<JobView>, share: number, now: number): Report[] {
    const reports: Report[] = [];
    const ended = { done: 0, failed: 0 };
    let isBusy = false;
    const states = new Map<string, JobView["state"]>();
    for (const job of jobs) {
      if (job.counts || isExpected(job)) continue;
      states.set(job.id, job.state);
      isBusy ||= isLive(job) && fractionOf(job) !== null;
      const before = this.#states.get(job.id);
      if (!before || before === job.state || isLive(job)) continue;
      if (job.state === "done") ended.done += 1;
      if (job.state === "failed" || job.state === "lost") ended.failed += 1;
    }
    this.#states = states;
    for (const kind of ["done", "failed"] as const) {
      if (ended[kind]) reports.push({ kind, number: ended[kind] });
    }
    const step = Math.floor((share * 100) / STEP) * STEP;
    if (!isBusy || step < this.#step) this.#step = isBusy ? step : 0;
    else if (step > this.#step && now - this.#at >= SECONDS * 1000) {
      this.#step = step;
      this.#at = now;
      reports.push({ kind: "progress", number: step });
    }
    return reports;
  }
}
