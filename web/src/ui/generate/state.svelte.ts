/** What the parts of the form share: the estimate, submissions, and what is wrong. */
import { ApiError, data } from "$lib/api/client";
import type { CompareBody } from "$lib/compare/form";
import type { StylesView } from "$lib/api/schema";
import {
  Estimate,
  estimateOfOne,
  estimateOfSeveral,
  type ShownEstimate,
} from "$lib/generate/estimate";
import { PromptHistory } from "$lib/generate/history";
import { type FormProblem, readProblems } from "$lib/generate/problems";
import { type RequestDraft, withValues } from "$lib/generate/request";
import { currentSize, nearestRatio, sizeChips, sizeKind } from "$lib/generate/sizes";
import { type Order, Submitter, TO_THE_FRONT } from "$lib/generate/submit";
import {
  announce,
  api,
  connection,
  draft,
  form,
  jobs,
  live,
  onResync,
  router,
  session,
  t,
} from "$ui/app.svelte";

/** What is estimated: a request to a backend, or a comparison of several. */
type Estimated = { request: RequestDraft; backend: string } | CompareBody;

export const estimate = new Estimate<Estimated, ShownEstimate>(async (asked, signal) => {
  if ("models" in asked) {
    const body = { ...IN_LINE, ...asked, skip: [] } as never;
    return estimateOfSeveral(
      await data(api.POST("/api/v1/comparisons/estimate", { body, signal })),
    );
  }
  const body = { ...asked, literal: false, strict: false };
  return estimateOfOne(await data(api.POST("/api/v1/estimate", { body, signal })));
});
export const submitter = new Submitter(api, jobs);
export const promptHistory = new PromptHistory(api, localStorage);

/** How a comparison is put in line. */
const IN_LINE = { backend: "", priority: 0, strict: false, literal: false };
const FLASH_MS = 800;
const NEEDS_PROMPT = ["text-to-image", "variation"];

export interface Way {
  toFront?: boolean;
  isRepeated?: boolean;
  at?: Date;
}

class GenerateState {
  /** What the server said about the last submission, until its fields are changed. */
  problem = $state.raw<FormProblem | null>(null);
  /** Whether something was put in line a moment ago. */
  isFlashing = $state(false);
  /** Counts up when the fields with problems should be shown. */
  shown = $state(0);
  isAdvancedOpen = $state(false);
  styles = $state.raw<StylesView["styles"]>({});
  wildcards = $state.raw<string[]>([]);
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** The backends that are compared, or the models of one; empty for one. */
  get compared(): string[] {
    const { backends, models } = live(draft);
    return [models, backends].find((names) => names.length > 1) ?? [];
  }

  /** The request as it would be sent now. */
  get request(): RequestDraft {
    const { request } = live(draft);
    if (this.compared.length > 0) return withValues(request, { model: null });
    const { sent, parameters } = live(form).plan;
    if (sizeKind(parameters) !== "ratios") return sent;
    const ratio = nearestRatio(request, sizeChips(parameters));
    const isChosen = (sent.extra as RequestDraft | undefined)?.aspect_ratio !== undefined;
    return ratio && !isChosen ? withValues(sent, { aspect_ratio: ratio }) : sent;
  }

  /** What several backends or models would be compared with; null for one. */
  get comparison(): CompareBody | null {
    if (this.compared.length === 0) return null;
    const { models } = live(draft);
    return {
      request: this.request,
      models: models.length > 1 ? [live(form).backend] : this.compared,
      vary: models.length > 1 ? [{ name: "model", values: [...models] }] : [],
    };
  }

  get count(): number {
    return Number(live(form).value("count") ?? 1);
  }

  get needsPrompt(): boolean {
    return NEEDS_PROMPT.includes(live(form).plan.task) && !live(draft).request.prompt;
  }

  /** Why nothing can be generated now; empty if it can. */
  get reason(): string {
    const state = live(form);
    if (connection.isLost) return connection.reason;
    if (!session.can("generate")) return t("generate.reason.scope");
    if (state.error && state.error.status !== 0) return state.error.detail;
    if (state.isLoaded && !state.backend) return t("generate.reason.backend");
    if (this.needsPrompt) return t("generate.reason.prompt");
    if (!state.plan.isPossible && this.compared.length === 0) {
      return t("generate.reason.task", { task: t(`generate.task.${state.plan.task}`) });
    }
    if (this.isOverBudget && !session.can("admin")) return live(estimate).view?.budgets[0] ?? "";
    return "";
  }

  get isOverBudget(): boolean {
    return live(estimate).view?.is_over_budget === true || this.problem?.code === "over_budget";
  }

  /** What is wrong with a field; empty if nothing is. */
  errorOf(name: string): string {
    return this.problem?.fields[name] ?? "";
  }

  /** Set a value; what was wrong with it is no longer said. */
  set(values: RequestDraft): void {
    draft.set(values);
    if (!this.problem) return;
    const fields = Object.fromEntries(
      Object.entries(this.problem.fields).filter(([name]) => !(name in values)),
    );
    const isEmpty = Object.keys(fields).length === 0 && !this.problem.general;
    this.problem = isEmpty ? null : { ...this.problem, fields };
  }

  async readLists(): Promise<void> {
    const [styles, wildcards] = await Promise.all([
      data(api.GET("/api/v1/styles")),
      data(api.GET("/api/v1/wildcards")),
    ]);
    this.styles = styles.styles;
    this.wildcards = [...wildcards.wildcards];
  }

  /** Put what the form holds in line; every call is one submission. */
  async generate(way: Way = {}): Promise<void> {
    if (this.reason) {
      announce(this.reason);
      if (this.needsPrompt) document.getElementById("prompt")?.focus();
      return;
    }
    const isOverBudget = this.isOverBudget;
    this.problem = null;
    this.#flash();
    promptHistory.add(String(draft.request.prompt ?? ""));
    try {
      if (this.comparison) await this.#compare(this.comparison, isOverBudget);
      else if (way.isRepeated) await submitter.start(this.#order(way, isOverBudget));
      else await submitter.submit(this.#order(way, isOverBudget));
      estimate.refresh();
    } catch (error) {
      this.#refuse(error);
    }
  }

  #order(way: Way, isOverBudget: boolean): Order {
    const { parameters } = form.plan;
    return {
      request: this.request,
      backend: form.backend,
      size: sizeKind(parameters) ? currentSize(draft.request, parameters) : null,
      priority: way.toFront ? TO_THE_FRONT : 0,
      isOverBudget,
      ...(way.at ? { at: way.at } : {}),
    };
  }

  async #compare(comparison: CompareBody, isOverBudget: boolean): Promise<void> {
    const body = { ...IN_LINE, ...comparison, over_budget: isOverBudget, skip: [] };
    const made = await data(api.POST("/api/v1/comparisons", { body: body as never }));
    router.push(`compare/${made.id}`);
  }

  #refuse(error: unknown): void {
    if (!(error instanceof ApiError)) throw error;
    this.isFlashing = false;
    this.problem = readProblems(error, new Set(Object.keys(form.plan.parameters)));
    const names = Object.keys(this.problem.fields);
    if (names.some((name) => !MAIN_FIELDS.has(name))) this.isAdvancedOpen = true;
    this.shown += 1;
    announce(error.detail);
  }

  #flash(): void {
    clearTimeout(this.#timer);
    this.isFlashing = true;
    this.#timer = setTimeout(() => (this.isFlashing = false), FLASH_MS);
  }
}

/** The fields outside of the advanced ones. */
export const MAIN_FIELDS: ReadonlySet<string> = new Set([
  ...["prompt", "negative", "width", "height", "aspect_ratio", "seed", "count", "model", "loras"],
  ...["style", "image", "mask", "references", "controls", "strength", "feather", "outpaint"],
  ...["upscale", "restore", "preprocess"],
]);

export const generating = new GenerateState();
onResync(() => void generating.readLists().catch(() => undefined));
