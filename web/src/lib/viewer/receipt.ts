/** What became of a parameter, worst first. */
export const OUTCOMES = ["dropped", "clamped", "mapped", "applied"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface ReceiptLine {
  name: string;
  outcome: Outcome;
  asked: unknown;
  /** Undefined for one that was dropped. */
  used: unknown;
  /** Why, in the server's words; perhaps empty. */
  why: string;
}

export interface Receipt {
  /** What is not as it was asked for, worst first. */
  changed: ReceiptLine[];
  applied: ReceiptLine[];
}

/** The lines of a receipt as `GET /images/{id}` has it; what is not one is left out. */
export function readReceipt(receipt: Record<string, unknown>): Receipt {
  const lines = Object.entries(receipt).flatMap(([name, value]) => readLine(name, value));
  const rank = (line: ReceiptLine): number => OUTCOMES.indexOf(line.outcome);
  return {
    changed: lines
      .filter((line) => line.outcome !== "applied")
      .sort((one, other) => rank(one) - rank(other)),
    applied: lines.filter((line) => line.outcome === "applied"),
  };
}

function readLine(name: string, value: unknown): ReceiptLine[] {
  if (typeof value !== "object" || value === null) return [];
  const { outcome, asked, used, why } = value as Record<string, unknown>;
  const known = OUTCOMES.find((one) => one === outcome);
  if (!known) return [];
  return [
    {
      name,
      outcome: known,
      asked,
      used: known === "dropped" ? undefined : known === "applied" ? asked : used,
      why: typeof why === "string" ? why : "",
    },
  ];
}
