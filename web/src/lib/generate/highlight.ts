export type MarkKind = "wildcard" | "unknown" | "choice" | "weight" | "lora";

/** A part of a prompt that means more than its words. */
export interface Mark {
  kind: MarkKind;
  start: number;
  end: number;
}

const WILDCARD = /__(?=[^\W_]|\*)([\w*./\\-]|(?<=[^\W_]) (?=[^\W_])){1,200}?__/g;
const LORA = /<(?:lora|lyco):[^<>:]+(?::[^<>]*)?>/g;
const JSON_KEY = /["']\s{0,9}:/;
const ENDS_IN_WEIGHT = /:\s{0,3}[+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s{0,3}$/;
const RATIO_OR_TIME = /\d:\s{0,3}[+-]?\d+\s{0,3}$/;

/** What to highlight in a prompt, in order and without overlaps; weights only where they are read. */
export function findMarks(
  text: string,
  options: { wildcards: readonly string[]; hasWeights: boolean },
): Mark[] {
  const marks: Mark[] = [];
  for (const found of text.matchAll(WILDCARD)) {
    const name = found[0].slice(2, -2);
    const isKnown = options.wildcards.some((one) => matchesWildcard(one, name));
    const kind = isKnown ? "wildcard" : "unknown";
    marks.push({ kind, start: found.index, end: found.index + found[0].length });
  }
  for (const found of text.matchAll(LORA)) {
    marks.push({ kind: "lora", start: found.index, end: found.index + found[0].length });
  }
  marks.push(...findPairs(text, options.hasWeights));
  marks.sort((a, b) => a.start - b.start || b.end - a.end);
  let last = 0;
  return marks.filter((mark) => {
    const isFree = mark.start >= last;
    if (isFree) last = mark.end;
    return isFree;
  });
}

/** Whether a name with `*` in a prompt stands for a wildcard. */
function matchesWildcard(wildcard: string, name: string): boolean {
  if (!name.includes("*")) return wildcard === name;
  const pattern = name
    .split("*")
    .map((part) => part.replace(/[.\\+^$()[\]{}|?]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^${pattern}$`).test(wildcard);
}

/** `{a|b}`, and `(words:1.1)`: the outermost of each. */
function findPairs(text: string, hasWeights: boolean): Mark[] {
  const marks: Mark[] = [];
  const opened: { brace: string; at: number }[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === "\\") at += 1;
    else if (character === "{" || character === "(") opened.push({ brace: character, at });
    else if (character === "}" || character === ")") {
      const wanted = character === "}" ? "{" : "(";
      const open = opened.at(-1);
      if (open?.brace !== wanted) continue;
      opened.pop();
      const inside = text.slice(open.at + 1, at);
      const isChoice = wanted === "{" && !JSON_KEY.test(inside);
      const isWeight =
        wanted === "(" && hasWeights && ENDS_IN_WEIGHT.test(inside) && !RATIO_OR_TIME.test(inside);
      if (!isChoice && !isWeight) continue;
      marks.push({ kind: isChoice ? "choice" : "weight", start: open.at, end: at + 1 });
    }
  }
  return marks;
}

/** The wildcard that is being typed at the cursor: where its name begins, and how far it is. */
export function typedWildcard(
  text: string,
  cursor: number,
): { start: number; name: string } | null {
  const before = text.slice(0, cursor);
  const [, name] = /(?:^|[^\w])__([\w./\\-]*)$/.exec(before) ?? [];
  return name === undefined ? null : { start: cursor - name.length - 2, name };
}
