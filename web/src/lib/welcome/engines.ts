import type { BackendView, DetectionView, FoundEngineView } from "../api/schema";

/** How an engine is connected, by its kind; `commands` are typed on the server's machine. */
export interface EngineGuide {
  /** What the page calls it. */
  name: string;
  commands: string[];
  /** A server of it, as an example. */
  address?: string;
}

const DETECT = "imagen config init --detect --write";

/** The engines that come with imagen, in the order in which most people want them. */
export const GUIDES: Record<string, EngineGuide> = {
  comfyui: {
    name: "ComfyUI",
    commands: [DETECT, "imagen config init --detect --url http://ADDRESS:8188 --write"],
    address: "http://127.0.0.1:8188",
  },
  a1111: {
    name: "A1111, Forge, SD.Next",
    commands: [DETECT, "imagen config init --detect --url http://ADDRESS:7860 --write"],
    address: "http://127.0.0.1:7860",
  },
  diffusers: {
    name: "diffusers",
    commands: ['pip install "imagen-backends[diffusers]"', DETECT],
  },
  sdcpp: {
    name: "stable-diffusion.cpp",
    commands: [DETECT],
    address: "http://127.0.0.1:1234",
  },
  openai: { name: "OpenAI", commands: ["export OPENAI_API_KEY=…", DETECT] },
  replicate: { name: "Replicate", commands: ["export REPLICATE_API_TOKEN=…", DETECT] },
};
const DEMO = "mock";

/** A row of the first run: a kind of engine, and the backends of it that are configured. */
export interface EngineRow {
  kind: string;
  name: string;
  state: "ready" | "unknown" | "broken" | "found" | "added" | "absent";
  /** Why it is not ready, or what it is. */
  about: string;
  remedies: string[];
  commands: string[];
  /** What runs and is not in the configuration yet. */
  found: FoundEngineView[];
}

/** The engines of a kind that run and are not in the configuration yet. */
export function listNew(kind: string, detection: DetectionView | null): FoundEngineView[] {
  const own = detection?.engines.filter((one) => one.kind === kind) ?? [];
  return own.filter((one) => one.configured.length < one.backends.length);
}

/** Why no engine of a kind was found, a sentence each. */
export function listReasons(kind: string, detection: DetectionView | null): string[] {
  const silent = detection?.silent.filter((one) => one.kind === kind) ?? [];
  const lacking = detection?.left_out[kind] ?? [];
  return [
    ...silent.map((one) => one.error),
    ...lacking.map((one) => [`${one.what}: ${one.why}`, one.remedy].filter(Boolean).join(" ")),
  ];
}

/** What is known of each kind of engine; the demo is not among them. */
export function listEngines(
  backends: BackendView[],
  kinds: Record<string, string>,
  detection: DetectionView | null = null,
): EngineRow[] {
  const names = new Set([
    ...Object.keys(GUIDES).filter((kind) => kind in kinds),
    ...Object.keys(kinds),
  ]);
  names.delete(DEMO);
  return [...names].map((kind) => {
    const own = backends.filter((one) => one.kind === kind);
    const best = own.find((one) => one.ok) ?? own.find((one) => one.ok === null) ?? own[0];
    const guide = GUIDES[kind] ?? { name: kind, commands: [DETECT] };
    const found = listNew(kind, detection);
    const isAdded = detection?.engines.some((one) => one.kind === kind);
    const missing = found.length ? "found" : isAdded ? "added" : "absent";
    const state = !best ? missing : best.ok ? "ready" : best.ok === null ? "unknown" : "broken";
    return {
      kind,
      name: guide.name,
      state,
      about: (best && !best.ok ? best.summary : kinds[kind]) ?? "",
      remedies: best ? (best.ok ? [] : [...best.remedies]) : listReasons(kind, detection),
      commands: guide.commands,
      found,
    };
  });
}

/** Whether nothing but the demo could make an image, and nobody has asked for it in particular. */
export function needsWelcome(backends: BackendView[], images: number): boolean {
  return images === 0 && backends.every((one) => one.kind === DEMO && !one.is_configured);
}
