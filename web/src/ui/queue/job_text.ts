import type { JobView } from "$lib/api/schema";
import { isRunning, secondsLeft } from "$lib/jobs";
import { describeJob } from "$lib/queue/queue";
import { format, jobs, live, t } from "$ui/app.svelte";
import { cancelled } from "$ui/queue/job_actions";

interface Engines {
  unserved: Record<string, number>;
  paused: ReadonlySet<string>;
}

/** What is said about a job in one line. */
export function jobText(job: JobView, engines: Engines): string {
  const nameOf = (id: string): string => live(jobs).jobs.get(id)?.name ?? t("queue.another");
  const { key, ...values } = describeJob(job, { ...engines, nameOf, cancelled });
  if (key === "queue.error" && "text" in values) return values.text;
  if ("share" in values) return t(key, { share: format().percent(values.share) });
  return t(key, values as Record<string, string | number>);
}

/** What follows `jobText` of a job whose end can be expected; empty for others. */
export function timeLeft(job: JobView, now: number): string {
  const seconds = isRunning(job) ? secondsLeft(job, now) : null;
  if (seconds === null) return "";
  return t("queue.left", { time: format().duration(Math.max(1, Math.ceil(seconds))) });
}
