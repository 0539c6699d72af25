import type {
  BackendModelsView,
  BackendsView,
  BackendView,
  BudgetView,
  Model,
  ModelUsageView,
  StatusView,
} from "../api/schema";

/** What is known of the backends and their models; what was not read yet is null. */
export interface ModelSources {
  backends: BackendsView;
  models: BackendModelsView[] | null;
  status: StatusView | null;
  usage: ModelUsageView[];
  budgets: BudgetView[];
}

/** What an image costs; an unknown price is never zero. */
export type Price = { kind: "free" } | { kind: "unknown" } | { kind: "usd"; usd: number };

export type State = "unchecked" | "ready" | "busy" | "paused" | "unavailable";

/** A model of a backend that can be chosen to generate with. */
export interface Choice {
  /** Differs from that of any other choice. */
  id: string;
  backend: string;
  /** The `model` of a request; null for the backend's own. */
  model: string | null;
  name: string;
  /** What tells it from others of the same name: the backend, its title or its model. */
  detail: string;
  family: string;
  tasks: readonly string[];
  takes: readonly string[];
  state: State;
  isLoaded: boolean;
  /** How long an image usually takes; null if unknown. */
  seconds: number | null;
  price: Price;
  /** When it was used last, as the server writes moments; empty if it was not of late. */
  lastUsed: string;
  /** Why it cannot be used, and what to do. */
  reason: string;
  remedies: readonly string[];
}

/** The models of one engine. */
export interface ChoiceGroup {
  id: string;
  label: string;
  /** Its address or its graphics cards. */
  place: string;
  state: State;
  /** How many jobs wait for it. */
  waiting: number;
  /** What is left of the budget of a paid engine. */
  budget: BudgetLeft | null;
  choices: Choice[];
}

export interface BudgetLeft {
  left: number;
  amount: number;
  currency: string;
  per: "run" | "day" | "month";
}

export type Filter = "all" | "free" | "recent" | "edit" | "inpaint" | "lora";
export const FILTERS: readonly Filter[] = ["all", "free", "recent", "edit", "inpaint", "lora"];

/** The id of the group of pools, whose name the page translates. */
export const POOLS = "pools";

const MAIN_KINDS = ["checkpoint", "diffusion_model"];
const RANK: Record<State, number> = { ready: 0, busy: 0, unchecked: 0, paused: 1, unavailable: 2 };

/** The models by engine: the engines that can be used first, in the order of the configuration. */
export function groupChoices(sources: ModelSources): ChoiceGroup[] {
  const { backends, models, usage } = sources;
  const listed = new Map((models ?? []).map((one) => [one.name, one]));
  const used = groupBy(usage, (one) => one.backend);
  const engines = groupBy(backends.backends, keyOf);
  const groups = [...engines].map(([id, members]) =>
    buildGroup(id, members, listed, used, sources),
  );
  const pools = buildPools(groups, sources);
  if (pools) groups.unshift(pools);
  return groups.sort((a, b) => RANK[a.state] - RANK[b.state]);
}

/** The choice that a request stands for. */
export function findChoice(
  groups: readonly ChoiceGroup[],
  backend: string,
  model: string | null,
): Choice | undefined {
  const own = groups.flatMap((group) => group.choices.filter((one) => one.backend === backend));
  const exact = own.find((one) => one.model === model);
  if (exact || model === null) return exact ?? own[0];
  return own.find((one) => one.model === null && (one.name === model || one.detail === model));
}

/** Those of the groups that match the filter and all words, without empty groups. */
export function filterGroups(
  groups: readonly ChoiceGroup[],
  filter: Filter,
  search: string,
): ChoiceGroup[] {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const shown = groups.map((group) => ({
    ...group,
    choices: group.choices.filter((one) => {
      const text = [one.name, one.detail, one.family, one.backend, group.label].join("\n");
      const lower = text.toLocaleLowerCase();
      return passes(one, filter) && words.every((word) => lower.includes(word));
    }),
  }));
  if (filter === "recent") {
    for (const group of shown) {
      group.choices.sort((a, b) => b.lastUsed.localeCompare(a.lastUsed));
    }
  }
  return shown.filter((group) => group.choices.length > 0);
}

function passes(choice: Choice, filter: Filter): boolean {
  switch (filter) {
    case "all":
      return true;
    case "free":
      return choice.price.kind === "free";
    case "recent":
      return choice.lastUsed !== "";
    case "lora":
      return choice.takes.includes("loras");
    default:
      return choice.tasks.includes(filter);
  }
}

/** The one word that a row says about a model, beside its name. */
export function tagOf(choice: Choice): "loaded" | "edit" | "inpaint" | "family" | null {
  if (choice.isLoaded) return "loaded";
  const draws = choice.tasks.includes("text-to-image");
  if (choice.tasks.includes("edit") && !draws) return "edit";
  if (choice.tasks.includes("inpaint") && !draws) return "inpaint";
  const isTold = choice.name.toLowerCase().includes(choice.family.toLowerCase());
  return isTold ? null : "family"; // an empty family is part of any name
}

/** A name cut in its middle, so that its version and its file type stay readable. */
export function splitName(name: string, tail = 12): [start: string, end: string] {
  if (name.length <= tail * 2) return [name, ""];
  const dot = name.lastIndexOf(".");
  const type = dot > 0 && name.length - dot <= 12 ? name.length - dot : 0;
  let cut = name.length - Math.min(type + tail, Math.floor(name.length / 2));
  if (/[\udc00-\udfff]/.test(name[cut] ?? "")) cut -= 1; // within a character of two units
  return [name.slice(0, cut), name.slice(cut)];
}

/** Which choices can be checked beside those that are: a comparison has one list of backends, and
 * models only where these are of one backend. */
export function canCompare(choice: Choice, checked: readonly Choice[]): boolean {
  if (choice.state === "unavailable") return false;
  const others = checked.filter((one) => one.id !== choice.id);
  if (others.every((one) => one.backend === choice.backend)) return true;
  return [...others, choice].every((one) => one.model === null);
}

function buildGroup(
  id: string,
  members: readonly BackendView[],
  listed: ReadonlyMap<string, BackendModelsView>,
  used: ReadonlyMap<string, ModelUsageView[]>,
  sources: ModelSources,
): ChoiceGroup {
  const [first] = members as [BackendView];
  const engines = sources.status?.engines ?? [];
  const engine = engines.find((one) =>
    members.some((member) => one.backends.includes(member.name)),
  );
  const pools = sources.status?.queue.pools ?? {};
  const waiting = members.reduce((sum, member) => sum + (pools[member.name] ?? 0), 0);
  const state = stateOf(first, waiting + (engine?.busy ?? 0), Boolean(engine?.paused));
  const gpus = (first.gpus.length ? first.gpus : (listed.get(first.name)?.gpus ?? [])).map(
    (gpu) => gpu.name,
  );
  const choices = members.flatMap((member) =>
    buildChoices(
      member,
      listed.get(member.name)?.models ?? [],
      used.get(member.name) ?? [],
      members.length === 1,
      state,
      engine?.model ?? null,
    ),
  );
  const isPaid = choices.some((one) => one.price.kind !== "free");
  return {
    id,
    label: first.label || first.kind,
    place: [addressOf(first.engine), ...new Set(gpus)].filter(Boolean).join(", "),
    state,
    waiting,
    budget: isPaid ? budgetOf(members, sources.budgets) : null,
    choices,
  };
}

function buildChoices(
  backend: BackendView,
  models: readonly Model[],
  usage: readonly ModelUsageView[],
  isAlone: boolean,
  state: State,
  loaded: string | null,
): Choice[] {
  const common = {
    backend: backend.name,
    tasks: backend.tasks,
    takes: backend.takes,
    state,
    reason: state === "unavailable" ? backend.summary : "",
    remedies: state === "unavailable" ? backend.remedies : [],
  };
  const main = backend.takes.includes("model")
    ? models.filter((one) => MAIN_KINDS.includes(one.kind))
    : [];
  const own = main.find((one) => one.is_default);
  const others = main.filter((one) => one !== own);
  const isNamedByModel = isAlone && own !== undefined;
  const useOf = (name: string | undefined): ModelUsageView | undefined =>
    usage.find((one) => one.model === name);
  // What a backend of one model used is that, whatever the engine calls it.
  const ownUse = useOf(own?.name) ?? (others.length === 0 ? usage[0] : undefined);
  const rows: Choice[] = [
    {
      ...common,
      id: backend.name,
      model: null,
      name: isNamedByModel ? own.name : backend.name,
      detail: backend.title || (isNamedByModel ? "" : (own?.name ?? "")),
      family: own?.family ?? "",
      isLoaded:
        loaded !== null &&
        [own?.name, ownUse?.model, backend.name, ...Object.values(backend.facts)].includes(loaded),
      seconds: ownUse?.seconds ?? null,
      price: priceOf(backend, own, ownUse),
      lastUsed: ownUse?.last_used ?? "",
    },
  ];
  for (const model of others) {
    const use = useOf(model.name);
    rows.push({
      ...common,
      id: `${backend.name}\n${model.name}`,
      model: model.name,
      name: model.name,
      detail: isAlone ? "" : backend.name,
      family: model.family ?? "",
      isLoaded: model.name === loaded,
      seconds: use?.seconds ?? null,
      price: priceOf(backend, model, use),
      lastUsed: use?.last_used ?? "",
    });
  }
  return rows;
}

/** The price of the service for an image, else what an image of the model cost of late. */
function priceOf(backend: BackendView, model: Model | undefined, use?: ModelUsageView): Price {
  if (backend.price?.is_free) return { kind: "free" };
  const own = model === undefined || model.is_default ? backend.price?.usd : null;
  const usd = own ?? model?.usd ?? use?.usd ?? null;
  return usd === null ? { kind: "unknown" } : { kind: "usd", usd };
}

function buildPools(groups: readonly ChoiceGroup[], sources: ModelSources): ChoiceGroup | null {
  const choices = groups.flatMap((group) => group.choices);
  const pools = sources.backends.pools.map((pool): Choice => {
    const members = choices.filter(
      (one) => one.model === null && pool.backends.includes(one.backend),
    );
    const usable = members.filter((one) => one.state !== "unavailable");
    const [first] = usable.length ? usable : members;
    const prices = members.map((one) => one.price);
    const dearest = prices.reduce<number>(
      (most, one) => Math.max(most, one.kind === "usd" ? one.usd : 0),
      0,
    );
    const isUnknown = prices.length === 0 || prices.some((one) => one.kind === "unknown");
    return {
      id: `pool\n${pool.name}`,
      backend: pool.name,
      model: null,
      name: pool.name,
      detail: pool.backends.join(", "),
      family: "",
      tasks: first?.tasks ?? [],
      takes: first?.takes ?? [],
      state: first?.state ?? "unchecked",
      isLoaded: false,
      seconds: first?.seconds ?? null,
      price: isUnknown
        ? { kind: "unknown" }
        : dearest > 0
          ? { kind: "usd", usd: dearest }
          : { kind: "free" },
      lastUsed: "",
      reason: first?.reason ?? "",
      remedies: first?.remedies ?? [],
    };
  });
  if (pools.length === 0) return null;
  const waiting = pools.reduce(
    (sum, pool) => sum + (sources.status?.queue.pools[pool.backend] ?? 0),
    0,
  );
  const state = pools.some((one) => one.state !== "unavailable") ? "unchecked" : "unavailable";
  return { id: POOLS, label: "", place: "", state, waiting, budget: null, choices: pools };
}

function stateOf(backend: BackendView, jobs: number, isPaused: boolean): State {
  if (backend.ok === false) return "unavailable";
  if (isPaused) return "paused";
  if (backend.ok === null) return "unchecked";
  return jobs > 0 ? "busy" : "ready";
}

/** Backends of one engine are a group; those that cannot be used, if that has one reason. */
function keyOf(backend: BackendView): string {
  const reason = backend.ok === false ? backend.summary : "";
  return [backend.kind, backend.engine, reason].join("\n");
}

/** The host of an engine that is named by a URL. */
function addressOf(engine: string): string {
  const match = /https?:\/\/([^/]+)/.exec(engine);
  return match?.[1] ?? "";
}

/** What is left of the narrowest budget of these backends. */
function budgetOf(
  members: readonly BackendView[],
  budgets: readonly BudgetView[],
): BudgetLeft | null {
  const names = members.map((one) => one.name);
  const left = budgets
    .filter((one) => one.spent !== null && (one.backend === null || names.includes(one.backend)))
    .map((one) => ({
      left: Math.max(0, one.amount - (one.spent ?? 0)),
      amount: one.amount,
      currency: one.currency,
      per: one.per,
    }));
  return left.sort((a, b) => a.left - b.left)[0] ?? null;
}

function groupBy<T>(values: Iterable<T>, key: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const name = key(value);
    const group = groups.get(name);
    if (group) group.push(value);
    else groups.set(name, [value]);
  }
  return groups;
}
