import type { ShownImageView } from "../api/schema";
import type { Formatter } from "../format";
import type { MessageKey } from "../i18n";
import { describeValue } from "./values";

/** A line of the facts of an image. */
export interface Fact {
  label: MessageKey;
  text: string;
  /** What copying gives, if not the text. */
  copy?: string;
}

type Translate = (key: MessageKey, values?: Record<string, string | number>) => string;

/** The sampling values that are shown, in this order. */
const SETTINGS: readonly [string, MessageKey][] = [
  ["steps", "parameter.steps"],
  ["cfg", "parameter.cfg"],
  ["guidance", "parameter.guidance"],
  ["sampler", "parameter.sampler"],
  ["scheduler", "parameter.scheduler"],
  ["clip_skip", "parameter.clip_skip"],
  ["strength", "parameter.strength"],
  ["variation_seed", "parameter.variation_seed"],
  ["variation_strength", "parameter.variation_strength"],
  ["style", "parameter.style"],
];

/** How an image was made and what it cost, as far as it is known. */
export function listFacts(shown: ShownImageView, format: Formatter, t: Translate): Fact[] {
  const { library, facts } = shown;
  const resolved = withoutNulls(shown.resolved);
  const isResolved = Object.keys(resolved).length > 0;
  const used = { ...(isResolved ? {} : shown.request), ...withoutNulls(facts), ...resolved };
  const lines: (Fact | null)[] = [
    line("parameter.model", library.model),
    line("viewer.engine", joinEngine(library.backend, library.kind)),
    line("viewer.workflow", shown.workflow),
    line("viewer.tool", shown.tool === "imagen" ? "" : shown.tool),
    line("parameter.seed", library.seed ?? used.seed),
    library.width && library.height
      ? line("viewer.size", `${library.width} × ${library.height}`)
      : null,
    ...SETTINGS.map(([name, label]) => line(label, used[name])),
    line("parameter.loras", used.loras),
    seconds(facts.latency_seconds, "viewer.time", format),
    seconds(facts.queued_seconds, "viewer.waited", format),
    { label: "viewer.cost", text: describeCost(shown, format, t) },
    {
      label: "viewer.created",
      text: format.date(new Date(library.created), { dateStyle: "medium", timeStyle: "short" }),
      copy: library.created,
    },
    line("viewer.caller", library.caller),
    line("viewer.file", shown.file.file ?? fileName(library.path)),
    { label: "viewer.fileSize", text: format.bytes(library.size_bytes) },
    line("viewer.path", library.path),
    line("viewer.id", library.uid),
  ];
  return lines.filter((one): one is Fact => one !== null && one.text !== "");
}

/** "Free", an amount, an estimate, or "Price unknown": never zero for what is not known. */
export function describeCost(shown: ShownImageView, format: Formatter, t: Translate): string {
  const { cost, estimated_cost: estimated, is_paid: isPaid, source } = shown.library;
  if (isPaid === false) return t("viewer.free");
  const reported = shown.facts.cost_usd;
  const paid = cost ?? (typeof reported === "number" ? reported : null);
  if (paid !== null) return paid === 0 ? t("viewer.free") : format.usd(paid);
  if (typeof estimated === "number") {
    return t("viewer.estimated", { cost: format.usd(estimated) });
  }
  return source === "import" ? "" : t("viewer.priceUnknown");
}

function line(label: MessageKey, value: unknown): Fact | null {
  const text = describeValue(value);
  return text ? { label, text } : null;
}

function seconds(value: unknown, label: MessageKey, format: Formatter): Fact | null {
  if (typeof value !== "number") return null;
  return { label, text: format.duration(value), copy: String(value) };
}

function joinEngine(backend: string, kind: string): string {
  return backend === kind || !kind ? backend : backend ? `${backend} · ${kind}` : kind;
}

function fileName(path: string | null): string {
  return path?.split(/[/\\]/).at(-1) ?? "";
}

function withoutNulls(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== null && value !== undefined),
  );
}
