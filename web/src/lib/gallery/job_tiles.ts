import type { JobView } from "../api/schema";
import { byTurn, isLive, isScheduled } from "../jobs";
import type { ImageIndex } from "./image_index";

/** A place in the grid for an image that a job makes. */
export interface JobTile {
  /** The unique id that the image will have. */
  key: string;
  job: JobView;
  kind: "running" | "waiting" | "failed" | "more";
  /** Height by width. */
  ratio: number;
  /** When it began, or now, in milliseconds since 1970. */
  time: number;
  /** Of `more`: how many images it stands for. */
  count: number;
}

/** More images that wait than this are one tile. */
const MOST_WAITING = 8;
/** Jobs that begin later than in so many milliseconds are not shown. */
const SOON = 60_000;
/** The image of a job that has ended comes within so many milliseconds, or does not match. */
const IMAGE_WITHIN = 3000;

interface Shown {
  /** What the grid shows. */
  index: ImageIndex;
  /** Whether the images of a generation are here, or do not match the filters. */
  isKnown: (generation: string) => boolean;
  /** Whether a job was here before it ended: else the index is newer than its images. */
  wasLive: (job: string) => boolean;
  now: number;
}

/** The tiles of jobs that wait, run and have failed, newest first, so that each is where its image will be. */
export function listJobTiles(jobs: Iterable<JobView>, shownNow: Shown): JobTile[] {
  const { index, now } = shownNow;
  const byId = new Map([...jobs].map((job) => [job.id, job]));
  const shown = [...byId.values()].filter(
    (job) => (job.image_count ?? 1) > 0 && isShown(job, byId, shownNow),
  );
  shown.sort(byTurn);
  const all = shown.flatMap((job) => tilesOf(job, now));
  const here = new Set(index.findAll(all.map((tile) => tile.key)).map((i) => index.uid(i)));
  const tiles = all.filter((tile) => tile.kind === "failed" || !here.has(tile.key));
  const waiting = tiles.filter((tile) => tile.kind === "waiting");
  const last = waiting[MOST_WAITING];
  if (!last || waiting.length === MOST_WAITING + 1) return tiles.reverse();
  const rest = waiting.slice(MOST_WAITING);
  const kept = tiles.filter((tile) => !rest.includes(tile));
  kept.push({ ...last, key: "more", kind: "more", ratio: 1, count: rest.length });
  return kept.reverse();
}

/** Whether two lists of tiles look alike to a layout. */
export function areAlike(a: readonly JobTile[], b: readonly JobTile[]): boolean {
  return (
    a.length === b.length &&
    a.every((tile, i) => tile.key === b[i]?.key && tile.ratio === b[i].ratio)
  );
}

function isShown(
  job: JobView,
  jobs: Map<string, JobView>,
  { isKnown, wasLive, now }: Shown,
): boolean {
  if (job.kind !== "image") return false;
  if (job.state === "failed" || job.state === "lost") return !isOfComparison(job, jobs);
  if (job.state === "done") {
    const ended = job.ended ? Date.parse(job.ended) : now;
    return wasLive(job.id) && !isKnown(job.generation) && now - ended < IMAGE_WITHIN;
  }
  return isLive(job) && !isScheduled(job, now + SOON);
}

/** Whether a job is a cell of a comparison, which shows it; also as long as a parent is unknown. */
function isOfComparison(job: JobView, jobs: Map<string, JobView>): boolean {
  if (job.parent === null) return job.kind === "grid";
  const parent = jobs.get(job.parent);
  return !parent || parent.kind === "grid" || isOfComparison(parent, jobs);
}

function tilesOf(job: JobView, now: number): JobTile[] {
  const hasFailed = job.state === "failed" || job.state === "lost";
  const isWaiting = isLive(job) && !job.started;
  const kind: JobTile["kind"] = hasFailed ? "failed" : isWaiting ? "waiting" : "running";
  const tile = {
    job,
    kind,
    ratio: job.width && job.height ? job.height / job.width : 1,
    time: job.started ? Date.parse(job.started) : now,
    count: 1,
  };
  const count = hasFailed ? 1 : (job.image_count ?? 1);
  const id = job.generation || job.id;
  return Array.from({ length: count }, (_, i) => ({ ...tile, key: `${id}.${i + 1}` }));
}
