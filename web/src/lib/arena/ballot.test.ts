import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { ApiError } from "../api/client";
import type { ArenaPairView, ArenaVoteView } from "../api/schema";

import { Ballot, type BallotDoors, type Choice } from "./ballot";

const LOST = new ApiError(0, "unreachable", "The server does not answer.", "");

/** A server in memory: pairs are p1, p2, … */
class Doors implements BallotDoors {
  drawn = 0;
  besides: string[][] = [];
  votes: { pair: string; choice: Choice; took: number; key: string }[] = [];
  preloaded: string[] = [];
  failures = 0;
  time = 0;
  keys = 0;

  async draw(besides: string[]): Promise<ArenaPairView> {
    this.besides.push(besides);
    this.drawn += 1;
    return this.pair(`p${this.drawn}`);
  }

  async vote(pair: string, choice: Choice, took: number, key: string): Promise<ArenaVoteView> {
    if (this.failures-- > 0) throw LOST;
    this.votes.push({ pair, choice, took, key });
    return { id: this.votes.length, choice } as ArenaVoteView;
  }

  async undo(): Promise<{ vote: number; pair: ArenaPairView | null }> {
    const last = this.votes.pop();
    if (!last) throw new ApiError(404, "not_found", "There is no vote to undo.", "");
    return { vote: 1, pair: this.pair(last.pair) };
  }

  async preload(pair: ArenaPairView): Promise<void> {
    this.preloaded.push(pair.id);
  }

  randomKey(): string {
    this.keys += 1;
    return `k${this.keys}`;
  }

  now(): number {
    return this.time;
  }

  pair(id: string): ArenaPairView {
    const number = 1 + this.votes.filter((vote) => vote.choice !== "skip").length;
    return { id, number, width: 64, height: 64 } as ArenaPairView;
  }
}

async function openBallot(revealFor = 0): Promise<{ ballot: Ballot; doors: Doors }> {
  const doors = new Doors();
  const ballot = new Ballot(doors, { revealFor: () => revealFor });
  await ballot.open();
  return { ballot, doors };
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("the next pair is drawn and loaded while the first one is shown", async () => {
  const { ballot, doors } = await openBallot();
  await vi.runAllTimersAsync();
  expect([ballot.current?.id, doors.preloaded, doors.besides]).toEqual([
    "p1",
    ["p2"],
    [[], ["p1"]],
  ]);
  doors.time = 1234.5;
  await ballot.vote("left");
  expect([ballot.current?.id, ballot.number]).toEqual(["p2", 2]);
  expect(doors.votes).toEqual([{ pair: "p1", choice: "left", took: 1235, key: "k1" }]);
  expect(doors.besides.at(-1)).toEqual(["p2"]);
});

test("a skip is not a vote", async () => {
  const { ballot } = await openBallot();
  await ballot.vote("skip");
  expect([ballot.current?.id, ballot.number, ballot.canUndo]).toEqual(["p2", 1, true]);
});

test("after an error the pair stays, and the same key is sent again", async () => {
  const { ballot, doors } = await openBallot();
  doors.failures = 1;
  await ballot.vote("tie");
  expect([ballot.current?.id, ballot.error?.code, ballot.isBusy]).toEqual([
    "p1",
    "unreachable",
    false,
  ]);
  await ballot.vote("tie");
  expect([ballot.current?.id, ballot.error]).toEqual(["p2", null]);
  expect(doors.votes.map((vote) => vote.key)).toEqual(["k1"]);
  await ballot.vote("tie");
  expect(doors.votes.at(-1)?.key).toBe("k2");
});

test("a second press while the first vote is on its way does nothing", async () => {
  const { ballot, doors } = await openBallot();
  await Promise.all([ballot.vote("left"), ballot.vote("right")]);
  expect(doors.votes.map((vote) => vote.choice)).toEqual(["left"]);
});

test("undo shows the pair again, then the one that was waiting", async () => {
  const { ballot } = await openBallot();
  await ballot.vote("left");
  await ballot.undo();
  expect([ballot.current?.id, ballot.number, ballot.canUndo]).toEqual(["p1", 1, false]);
  await ballot.vote("right");
  expect(ballot.current?.id).toBe("p2");
  await ballot.vote("right");
  expect(ballot.current?.id).toBe("p3");
});

test("nothing to undo is said", async () => {
  const { ballot } = await openBallot();
  await ballot.undo();
  expect(ballot.error?.detail).toBe("There is no vote to undo.");
});

test("names are shown for a while, and a key ends that early", async () => {
  const { ballot, doors } = await openBallot(1200);
  const voting = ballot.vote("left");
  await vi.advanceTimersByTimeAsync(1100);
  expect([ballot.revealed?.choice, ballot.current?.id]).toEqual(["left", "p1"]);
  await vi.advanceTimersByTimeAsync(200);
  await voting;
  expect([ballot.revealed, ballot.current?.id]).toEqual([null, "p2"]);
  const second = ballot.vote("right");
  await vi.advanceTimersByTimeAsync(10);
  await ballot.vote("left");
  await second;
  expect([ballot.current?.id, doors.votes.length]).toEqual(["p3", 2]);
});

test("a skip shows no names", async () => {
  const { ballot } = await openBallot(1200);
  await ballot.vote("skip");
  expect(ballot.current?.id).toBe("p2");
});

test("a preloaded pair that is gone is replaced", async () => {
  const { ballot, doors } = await openBallot();
  doors.preload = async () => {
    throw LOST;
  };
  await ballot.vote("left"); // p2 was loaded before
  await ballot.vote("left"); // p3 could not be loaded
  expect(ballot.current?.id).toBe("p4");
});

test("a pair that cannot be voted on any more is left behind", async () => {
  const { ballot, doors } = await openBallot();
  doors.vote = async () => {
    throw new ApiError(400, "request", "This pair has a vote already.", "");
  };
  await ballot.vote("left");
  expect([ballot.current?.id, ballot.error?.code]).toEqual(["p2", "request"]);
});
