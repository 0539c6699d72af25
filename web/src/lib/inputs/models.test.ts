import { describe, expect, it } from "vitest";

import type { BackendView, Model, ModelUsageView, StatusView } from "../api/schema";
import {
  canCompare,
  filterGroups,
  findChoice,
  groupChoices,
  type ModelSources,
  POOLS,
  splitName,
  tagOf,
} from "./models";

function backend(name: string, values: Partial<BackendView> = {}): BackendView {
  return {
    name,
    kind: "comfyui",
    label: "ComfyUI",
    title: "",
    engine: "http://10.0.0.2:8188",
    default: false,
    is_configured: true,
    ok: true,
    summary: "ok",
    remedies: [],
    facts: {},
    gpus: [],
    lacking: [],
    tasks: ["text-to-image"],
    takes: ["prompt"],
    price: { is_free: true, usd: null, basis: "" },
    ...values,
  };
}

function checkpoint(name: string, values: Partial<Model> = {}): Model {
  return {
    kind: "checkpoint",
    name,
    family: "",
    size_bytes: null,
    vram_bytes: null,
    is_default: false,
    usd: null,
    ...values,
  };
}

function used(
  backend: string,
  model: string,
  values: Partial<ModelUsageView> = {},
): ModelUsageView {
  return {
    backend,
    model,
    images: 3,
    last_used: "2026-11-30T10:00:00Z",
    seconds: 3.2,
    usd: null,
    ...values,
  };
}

function sources(backends: BackendView[], values: Partial<ModelSources> = {}): ModelSources {
  return {
    backends: { backends, pools: [], kinds: {} },
    models: null,
    status: null,
    usage: [],
    budgets: [],
    ...values,
  };
}

function status(values: Partial<StatusView>): StatusView {
  return {
    version: "1",
    started: "",
    uptime_seconds: 1,
    backend: "a",
    model: null,
    max_upload_bytes: 1,
    has_worker: true,
    workers: 1,
    queue: { running: 0, waiting: 0, pools: {}, unserved: {} },
    engines: [],
    ...values,
  };
}

describe("groupChoices", () => {
  it("puts the backends of one engine together, with its address and cards", () => {
    const gpus = [{ name: "RTX 4090", vram_total_bytes: null, vram_free_bytes: null }];
    const groups = groupChoices(
      sources([
        backend("flux", { gpus }),
        backend("sd15"),
        backend("other", { engine: "http://10.0.0.3:8188" }),
      ]),
    );
    expect(groups.map((group) => group.choices.map((one) => one.name))).toEqual([
      ["flux", "sd15"],
      ["other"],
    ]);
    expect(groups[0]).toMatchObject({ label: "ComfyUI", place: "10.0.0.2:8188, RTX 4090" });
  });

  it("has a row for each checkpoint that a request may name; its own needs no name", () => {
    const local = backend("local", { kind: "a1111", takes: ["prompt", "model"] });
    const models = [
      {
        name: "local",
        gpus: [],
        error: null,
        models: [
          checkpoint("a.safetensors"),
          checkpoint("b.safetensors", { is_default: true, family: "sdxl" }),
          checkpoint("detail", { kind: "lora" }),
        ],
      },
    ];
    const [group] = groupChoices(sources([local], { models }));
    expect(group?.choices.map(({ name, model }) => [name, model])).toEqual([
      ["b.safetensors", null],
      ["a.safetensors", "a.safetensors"],
    ]);
  });

  it("names the rows of several backends by the backend, and says which model is meant", () => {
    const own = (name: string) => ({
      name,
      gpus: [],
      error: null,
      models: [checkpoint(`${name}.gguf`, { is_default: true }), checkpoint("extra.gguf")],
    });
    const takes = ["model"];
    const [group] = groupChoices(
      sources([backend("x", { takes }), backend("y", { takes })], { models: [own("x"), own("y")] }),
    );
    expect(group?.choices.map(({ name, detail }) => [name, detail])).toEqual([
      ["x", "x.gguf"],
      ["extra.gguf", "x"],
      ["y", "y.gguf"],
      ["extra.gguf", "y"],
    ]);
    expect(new Set(group?.choices.map((one) => one.id)).size).toBe(4);
  });

  it("says what an image costs: free, a price, or unknown, which is never zero", () => {
    const paid = { is_free: false, usd: null, basis: "" };
    const takes = ["model"];
    const cloud = backend("cloud", { kind: "replicate", price: paid, takes });
    const models = [
      {
        name: "cloud",
        gpus: [],
        error: null,
        models: [
          checkpoint("own", { is_default: true }),
          checkpoint("listed", { usd: 0.03 }),
          checkpoint("spent"),
          checkpoint("new"),
        ],
      },
    ];
    const usage = [used("cloud", "spent", { usd: 0.055 })];
    const groups = groupChoices(sources([backend("free"), cloud], { models, usage }));
    const prices = groups.flatMap((group) => group.choices.map((one) => [one.name, one.price]));
    expect(Object.fromEntries(prices)).toEqual({
      free: { kind: "free" },
      own: { kind: "unknown" },
      listed: { kind: "usd", usd: 0.03 },
      spent: { kind: "usd", usd: 0.055 },
      new: { kind: "unknown" },
    });
  });

  it("does not know the price of an engine that was not asked", () => {
    const [group] = groupChoices(sources([backend("a", { ok: null, price: null })]));
    expect(group?.state).toBe("unchecked");
    expect(group?.choices[0]?.price).toEqual({ kind: "unknown" });
  });

  it("puts what cannot be used last, with the reason, apart from its engine's others", () => {
    const broken = backend("broken", { ok: false, summary: "No answer.", remedies: ["Start it."] });
    const groups = groupChoices(sources([broken, backend("fine")]));
    expect(groups.map((group) => group.state)).toEqual(["ready", "unavailable"]);
    expect(groups[1]?.choices[0]).toMatchObject({ reason: "No answer.", remedies: ["Start it."] });
  });

  it("gathers backends that cannot be used for one reason", () => {
    const dead = { ok: false, summary: "No answer." };
    const groups = groupChoices(sources([backend("a", dead), backend("b", dead)]));
    expect(groups.map((group) => group.choices.length)).toEqual([2]);
  });

  it("knows how many jobs wait, what is loaded, and that an engine is paused", () => {
    const engine = { name: "e", at_once: 1, busy: 1, gpus: [], backends: ["a", "b"] };
    const queue = { running: 1, waiting: 3, pools: { a: 1, b: 2 }, unserved: {} };
    const at = status({ engines: [{ ...engine, model: "flux-dev", paused: null }], queue });
    const facts = { workflow: "flux-dev" };
    const [group] = groupChoices(sources([backend("a"), backend("b", { facts })], { status: at }));
    expect(group).toMatchObject({ waiting: 3, state: "busy" });
    expect(group?.choices.map(tagOf)).toEqual([null, "loaded"]);
    const paused = { until: "", error: null };
    const held = status({ engines: [{ ...engine, model: null, paused }] });
    expect(groupChoices(sources([backend("a")], { status: held }))[0]?.state).toBe("paused");
  });

  it("says what is left of the narrowest budget of a paid engine", () => {
    const price = { is_free: false, usd: 0.03, basis: "" };
    const budget = { currency: "USD", warn_at: 0.8, unknown: 0 };
    const budgets = [
      { ...budget, amount: 10, per: "month", backend: null, spent: 6.98 } as const,
      { ...budget, amount: 5, per: "day", backend: "cloud", spent: 1 } as const,
      { ...budget, amount: 1, per: "run", backend: null, spent: null } as const,
    ];
    const cloud = backend("cloud", { price, engine: "replicate" });
    const groups = groupChoices(sources([cloud, backend("free")], { budgets }));
    expect(groups[0]?.budget?.left).toBeCloseTo(3.02);
    expect(groups[1]?.budget).toBeNull();
  });

  it("takes the time of a backend with one model from whatever the engine calls it", () => {
    const usage = [used("a", "flux1-dev-fp8.safetensors", { seconds: 14 })];
    const [group] = groupChoices(sources([backend("a")], { usage }));
    expect(group?.choices[0]?.seconds).toBe(14);
  });

  it("lists pools first, at the price of their dearest member", () => {
    const paid = backend("b", { engine: "x", price: { is_free: false, usd: 0.02, basis: "" } });
    const given = sources([backend("a"), paid]);
    given.backends.pools = [{ name: "all", backends: ["a", "b"], default: true }];
    const [pools] = groupChoices(given);
    expect(pools?.id).toBe(POOLS);
    expect(pools?.choices[0]).toMatchObject({
      backend: "all",
      detail: "a, b",
      price: { kind: "usd", usd: 0.02 },
    });
  });
});

describe("filterGroups", () => {
  const groups = groupChoices(
    sources(
      [
        backend("flux1-schnell", { takes: ["loras"] }),
        backend("qwen-edit", { tasks: ["edit"] }),
        backend("cloud", { price: null, engine: "y", label: "Replicate" }),
      ],
      {
        usage: [
          used("flux1-schnell", "x", { last_used: "2026-11-01" }),
          used("qwen-edit", "y", { last_used: "2026-11-02" }),
        ],
      },
    ),
  );
  const names = (
    ...search: Parameters<typeof filterGroups> extends [unknown, ...infer R] ? R : never
  ) => filterGroups(groups, ...search).flatMap((group) => group.choices.map((one) => one.name));

  it.each([
    ["all", "", ["flux1-schnell", "qwen-edit", "cloud"]],
    ["free", "", ["flux1-schnell", "qwen-edit"]],
    ["recent", "", ["qwen-edit", "flux1-schnell"]],
    ["edit", "", ["qwen-edit"]],
    ["inpaint", "", []],
    ["lora", "", ["flux1-schnell"]],
    ["all", "SCHNELL flux", ["flux1-schnell"]],
    ["all", "replicate", ["cloud"]],
    ["all", "nothing", []],
  ] as const)("%s %s", (filter, search, expected) => {
    expect(names(filter, search)).toEqual(expected);
  });
});

describe("findChoice", () => {
  const models = [
    {
      name: "a",
      gpus: [],
      error: null,
      models: [checkpoint("one", { is_default: true }), checkpoint("two")],
    },
  ];
  const groups = groupChoices(sources([backend("a", { takes: ["model"] })], { models }));

  it.each([
    ["a", null, "one"],
    ["a", "two", "two"],
    ["a", "one", "one"],
    ["a", "gone", undefined],
    ["b", null, undefined],
  ])("%s %s", (name, model, expected) => {
    expect(findChoice(groups, name, model)?.name).toBe(expected);
  });
});

describe("splitName", () => {
  it.each([
    ["flux1-dev", "flux1-dev", ""],
    [
      "juggernautXL_v9Rdphoto2Lightning_4S.safetensors",
      "juggernautXL_v9Rdphoto2L",
      "ightning_4S.safetensors",
    ],
    [
      "black-forest-labs/flux-1.1-pro-ultra-finetuned",
      "black-forest-labs/flux-1.1-pro-ult",
      "ra-finetuned",
    ],
  ])("%s", (name, start, end) => {
    expect(splitName(name)).toEqual([start, end]);
  });

  it("loses nothing", () => {
    for (const name of ["", "a", "x".repeat(300), "ünïcode-🦊".repeat(9) + ".gguf"]) {
      expect(splitName(name).join("")).toBe(name);
      expect(() => splitName(name).map(encodeURIComponent)).not.toThrow(); // no halves
    }
  });
});

describe("canCompare", () => {
  const takes = ["model"];
  const list = (name: string) => ({
    name,
    gpus: [],
    error: null,
    models: [checkpoint("m1", { is_default: true }), checkpoint("m2")],
  });
  const all = groupChoices(
    sources([backend("a", { takes }), backend("b", { takes })], { models: [list("a"), list("b")] }),
  ).flatMap((group) => group.choices);
  const [a, a2, b, b2] = all as [never, never, never, never];

  it("takes backends with their own models, or models of one backend", () => {
    expect(canCompare(b, [a])).toBe(true);
    expect(canCompare(a2, [a])).toBe(true);
    expect(canCompare(b2, [a])).toBe(false);
    expect(canCompare(b, [a, a2])).toBe(false);
    expect(canCompare(a2, [])).toBe(true);
  });
});
