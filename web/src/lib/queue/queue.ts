import type { JobView, StatusView } from "../api/schema";
import { fractionOf, isRunning, isScheduled } from "../jobs";

/** The sections of the queue's panel. */
export interface Sections {
  running: JobView[];
  waiting: JobView[];
  scheduled: JobView[];
  failed: JobView[];
  finished: JobView[];
}

/** Sort what waits, runs and has ended into the sections of the panel. */
export function sortJobs(live: JobView[], ended: JobView[], now: number): Sections {
  const sections: Sections = { running: [], waiting: [], scheduled: [], failed: [], finished: [] };
  for (const job of live) {
    if (isRunning(job)) sections.running.push(job);
    else if (isScheduled(job, now)) sections.scheduled.push(job);
    else sections.waiting.push(job);
  }
  for (const job of ended) sections[hasFailed(job) ? "failed" : "finished"].push(job);
  return sections;
}

/** Whether a job, or one of its jobs, has failed or is lost. */
export function hasFailed(job: JobView): boolean {
  const { counts, state } = job;
  if (counts) return Boolean(counts.failed || counts.lost);
  return state === "failed" || state === "lost";
}

/** How many of a parent's jobs have ended, and of how many; of a comparison, its cells. */
export function countsOf(job: JobView): { done: number; all: number } | null {
  if (!job.counts) return null;
  const jobs = Object.values(job.counts).reduce((sum, one) => sum + one, 0);
  const all = Math.max(1, job.kind === "grid" ? jobs - 1 : jobs); // without its sheet
  return { all, done: Math.min(all, Math.round((fractionOf(job) ?? 0) * jobs)) };
}

export type Move = { first: true } | { behind: string };

/** What to ask of the server so that a job is at this index among those that wait. */
export function moveTo(waiting: JobView[], id: string, index: number): Move | null {
  const from = waiting.findIndex((job) => job.id === id);
  const to = Math.max(0, Math.min(waiting.length - 1, index));
  if (from < 0 || from === to) return null;
  const others = waiting.filter((job) => job.id !== id);
  const above = others[to - 1];
  return above ? { behind: above.id } : { first: true };
}

/** Where a row whose middle was dragged to `y` would be dropped, from the middles of all rows. */
export function dropIndex(middles: number[], y: number): number {
  return middles.slice(1).filter((middle, n) => y > (middle + (middles[n] as number)) / 2).length;
}

/** What a row says about its job, as a message and its values. */
export type JobText =
  | { key: "queue.step"; step: number; steps: number }
  | { key: "queue.image"; image: number; images: number }
  | { key: "queue.percent"; share: number }
  | { key: "queue.fetching" | "queue.atEngine" | "queue.runs" | "queue.cancelling" }
  | { key: "queue.counts"; done: number; all: number }
  | { key: "queue.next" | "queue.unserved" | "queue.paused"; pool: string }
  | { key: "queue.position"; position: number; pool: string }
  | { key: "queue.after"; name: string }
  | { key: "queue.waits" | "queue.done" | "queue.cancelled" | "queue.failedUnknown" }
  | { key: "queue.failedSome"; failed: number; all: number }
  | { key: "queue.error"; text: string };

export interface Surroundings {
  /** The names of jobs, by id. */
  nameOf: (id: string) => string;
  unserved: Record<string, number>;
  /** Backends whose engines are paused. */
  paused: ReadonlySet<string>;
  /** Jobs that were cancelled here and have not ended yet. */
  cancelled: ReadonlySet<string>;
}

/** What to say about a job in one line. */
export function describeJob(job: JobView, around: Surroundings): JobText {
  if (["done", "failed", "lost", "cancelled"].includes(job.state)) return describeEnd(job);
  if (job.state === "cancelling" || around.cancelled.has(job.id))
    return { key: "queue.cancelling" };
  const counts = countsOf(job);
  if (counts && counts.done) return { key: "queue.counts", ...counts };
  if (isRunning(job)) return counts ? { key: "queue.counts", ...counts } : describeRun(job);
  const { pool, position } = job;
  if (around.unserved[pool]) return { key: "queue.unserved", pool };
  if (around.paused.has(pool)) return { key: "queue.paused", pool };
  if (job.state === "held" && job.after) {
    return { key: "queue.after", name: around.nameOf(job.after) };
  }
  if (position === 1) return { key: "queue.next", pool };
  if (position) return { key: "queue.position", position, pool };
  return { key: "queue.waits" };
}

function describeRun(job: JobView): JobText {
  const { stage, step, steps, image, images } = (job.progress ?? {}) as Record<string, unknown>;
  if (typeof step === "number" && typeof steps === "number") {
    return { key: "queue.step", step, steps };
  }
  if (typeof image === "number" && typeof images === "number" && images > 1) {
    return { key: "queue.image", image, images };
  }
  if (stage === "fetching") return { key: "queue.fetching" };
  if (stage === "submitted" || stage === "queued") return { key: "queue.atEngine" };
  const share = fractionOf(job);
  return share ? { key: "queue.percent", share } : { key: "queue.runs" };
}

function describeEnd(job: JobView): JobText {
  if (job.state === "cancelled") return { key: "queue.cancelled" };
  if (!hasFailed(job)) return { key: "queue.done" };
  const counts = job.counts;
  if (counts) {
    const failed = (counts.failed ?? 0) + (counts.lost ?? 0);
    return { key: "queue.failedSome", failed, all: countsOf(job)?.all ?? failed };
  }
  const text = errorOf(job)?.message;
  return text ? { key: "queue.error", text } : { key: "queue.failedUnknown" };
}

export interface JobError {
  code: string;
  message: string;
  remedy: string;
}

/** Why a job failed. */
export function errorOf(job: Pick<JobView, "error">): JobError | null {
  const { code, message, remedy } = (job.error ?? {}) as Record<string, unknown>;
  if (typeof message !== "string") return null;
  return { code: String(code ?? ""), message, remedy: typeof remedy === "string" ? remedy : "" };
}

/** How long a job took, in seconds. */
export function secondsOf(job: Pick<JobView, "started" | "ended">): number | null {
  if (!job.started || !job.ended) return null;
  return Math.max(0, (Date.parse(job.ended) - Date.parse(job.started)) / 1000);
}

/** The backends whose engines are paused. */
export function pausedBackends({ engines }: StatusView): Set<string> {
  return new Set(engines.flatMap((engine) => (engine.paused ? engine.backends : [])));
}
