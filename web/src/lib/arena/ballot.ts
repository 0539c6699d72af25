import type { ArenaPairView, ArenaVoteView, UndoneVoteView } from "../api/schema";
import { ApiError } from "../api/client";
import { Observable } from "../observable";

export type Choice = "left" | "right" | "tie" | "both_bad" | "skip";

/** What the ballot asks of the server and the browser. */
export interface BallotDoors {
  draw(besides: string[]): Promise<ArenaPairView>;
  vote(pair: string, choice: Choice, milliseconds: number, key: string): Promise<ArenaVoteView>;
  undo(): Promise<UndoneVoteView>;
  /** Load the images of a pair, so that they are there when it is shown. */
  preload(pair: ArenaPairView): Promise<void>;
  randomKey(): string;
  now(): number;
}

export interface BallotOptions {
  /** How long the names are shown after each vote, in milliseconds; 0 shows none. */
  revealFor: () => number;
}

/** One voter's way through the pairs of a set: the next pair is loaded while one looks at this. */
export class Ballot extends Observable {
  current: ArenaPairView | null = null;
  /** The vote whose names are shown now. */
  revealed: ArenaVoteView | null = null;
  /** Which vote the current one is, from 1. */
  number = 0;
  error: ApiError | null = null;
  isBusy = false;
  canUndo = false;
  #next: Promise<ArenaPairView> | null = null;
  /** A pair that an undone vote has pushed away. */
  #waiting: ArenaPairView | null = null;
  #shownAt = 0;
  #key = "";
  #endReveal: (() => void) | null = null;
  #isClosed = false;

  constructor(
    private readonly doors: BallotDoors,
    private readonly options: BallotOptions,
  ) {
    super();
  }

  async open(): Promise<void> {
    await this.#guard(async () => {
      const pair = await this.doors.draw([]);
      this.number = pair.number;
      this.canUndo = pair.number > 1;
      this.#show(pair);
    });
  }

  /** Nothing is shown any more: the view is gone. */
  close(): void {
    this.#isClosed = true;
    this.#endReveal?.();
  }

  /** Vote on the current pair; while names are shown, go on to the next one instead. */
  async vote(choice: Choice): Promise<void> {
    if (this.#endReveal) return this.#endReveal();
    const pair = this.current;
    if (!pair || this.isBusy) return;
    const took = Math.round(this.doors.now() - this.#shownAt);
    // The same key after an error: the vote may have arrived all the same.
    const key = (this.#key ||= this.doors.randomKey());
    await this.#guard(async () => {
      const vote = await this.doors.vote(pair.id, choice, took, key).catch(async (error) => {
        // It was voted on in another tab, or forgotten: there are others.
        if (error instanceof ApiError && [400, 404].includes(error.status)) await this.#goOn(pair);
        throw error;
      });
      this.canUndo = true;
      if (choice !== "skip") {
        this.number += 1;
        await this.#reveal(vote);
      }
      if (!this.#isClosed) await this.#goOn(pair);
    });
  }

  async undo(): Promise<void> {
    if (this.#endReveal) this.#endReveal();
    if (this.isBusy && !this.revealed) return;
    await this.#guard(async () => {
      const undone = await this.doors.undo();
      if (!undone.pair) return;
      this.#waiting = this.current;
      this.number = undone.pair.number;
      this.canUndo = undone.pair.number > 1;
      this.#show(undone.pair);
    });
  }

  async #goOn(done: ArenaPairView): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting) return this.#show(waiting);
    const next = this.#next;
    this.#next = null;
    const pair = await (next ?? this.doors.draw([done.id])).catch(() => this.doors.draw([]));
    this.#show(pair);
  }

  #show(pair: ArenaPairView): void {
    this.current = pair;
    this.revealed = null;
    this.#key = "";
    this.#shownAt = this.doors.now();
    this.#next ??= this.#prepare(pair);
  }

  /** Draw and load the next pair; that it failed is said when it is needed. */
  #prepare(current: ArenaPairView): Promise<ArenaPairView> {
    const besides = [current.id, ...(this.#waiting ? [this.#waiting.id] : [])];
    const next = this.doors.draw(besides).then(async (pair) => {
      await this.doors.preload(pair);
      return pair;
    });
    next.catch(() => undefined);
    return next;
  }

  async #reveal(vote: ArenaVoteView): Promise<void> {
    const span = this.options.revealFor();
    if (span <= 0) return;
    this.revealed = vote;
    this.changed();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(end, span);
      const endNow = (): void => end();
      function end(): void {
        clearTimeout(timer);
        resolve();
      }
      this.#endReveal = endNow;
    });
    this.#endReveal = null;
  }

  async #guard(act: () => Promise<void>): Promise<void> {
    this.isBusy = true;
    this.error = null;
    this.changed();
    try {
      await act();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
    } finally {
      this.isBusy = false;
      this.changed();
    }
  }
}
