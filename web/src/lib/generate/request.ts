/** The values of a request by their names, as `POST /api/v1/generations` takes them. */
export type RequestDraft = Record<string, unknown>;

export type Task =
  | "text-to-image"
  | "image-to-image"
  | "inpaint"
  | "outpaint"
  | "edit"
  | "control"
  | "variation"
  | "upscale"
  | "restore"
  | "preprocess";

/** The values that every engine calls the same; an engine's own are in `extra`. */
const FIELDS = new Set([
  ...["prompt", "negative", "prompt_2", "negative_2", "width", "height", "aspect", "seed"],
  ...["steps", "cfg", "guidance", "sampler", "scheduler", "count", "latent_batch", "style"],
  ...["model", "max_compute", "loras", "image", "strength", "mask", "feather", "outpaint"],
  ...["references", "controls", "variation_seed", "variation_strength", "upscale", "restore"],
  ...["preprocess", "extra"],
]);
/** Values that are the server's matter, whatever an engine accepts. */
export const ALWAYS_SENT = new Set(["style", "aspect", "latent_batch", "max_compute"]);

export function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0);
}

/** A value of a request by the name of its parameter, also one that is an engine's own. */
export function valueOf(request: RequestDraft, name: string): unknown {
  return FIELDS.has(name) ? request[name] : (request.extra as RequestDraft | undefined)?.[name];
}

/** All values that are set, by the names of their parameters. */
export function listValues(request: RequestDraft): [string, unknown][] {
  const { extra, ...fields } = request;
  return [...Object.entries(fields), ...Object.entries((extra as RequestDraft) ?? {})].filter(
    ([, value]) => isSet(value),
  );
}

/** A request with these values; undefined, null and an empty list take one away. */
export function withValues(request: RequestDraft, values: RequestDraft): RequestDraft {
  const result: RequestDraft = { ...request };
  const extra: RequestDraft = { ...(request.extra as RequestDraft | undefined) };
  for (const [name, value] of Object.entries(values)) {
    if (name === "extra") Object.assign(extra, value);
    else if (FIELDS.has(name)) result[name] = value;
    else extra[name] = value;
  }
  const kept = (entries: RequestDraft): RequestDraft =>
    Object.fromEntries(Object.entries(entries).filter(([, value]) => isSet(value)));
  delete result.extra;
  return kept({ ...result, extra: Object.keys(kept(extra)).length > 0 ? kept(extra) : null });
}

/** What kind of work a request is, and the value that says so: as the server infers it. */
export function inferTask(request: RequestDraft): { task: Task; because: string } {
  const isRedrawn = Boolean(request.prompt) || isSet(request.strength);
  const signs: [Task, string, boolean?][] = [
    ["preprocess", "preprocess"],
    ["restore", "restore"],
    ["upscale", "upscale", !isRedrawn],
    ["outpaint", "outpaint"],
    ["inpaint", "mask"],
    ["edit", "references"],
    ["image-to-image", "image"],
    ["control", "controls"],
    ["variation", "variation_strength"],
  ];
  for (const [task, name, applies = true] of signs) {
    if (applies && isSet(request[name])) return { task, because: name };
  }
  return { task: "text-to-image", because: "" };
}
