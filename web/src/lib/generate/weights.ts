/** A text and what is selected of it. */
export interface Edit {
  text: string;
  start: number;
  end: number;
}

const STEP = 0.1;
const WEIGHT = /^(.*):\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*$/s;
const [SMALLEST, LARGEST] = [-10, 10];

/**
 * Raise or lower the weight of what is selected, else of the word at the cursor: `(word:1.1)`.
 *
 * At 1 the parentheses go away. The selection stays on the words.
 */
export function changeWeight(edit: Edit, direction: 1 | -1): Edit {
  const chosen = findWeighted(edit) ?? findWords(edit);
  if (!chosen) return edit;
  const weight = Math.round((chosen.weight + direction * STEP) * 100) / 100;
  if (weight < SMALLEST || weight > LARGEST) return edit;
  const before = edit.text.slice(0, chosen.start);
  const after = edit.text.slice(chosen.end);
  if (weight === 1) {
    const start = chosen.start;
    return { text: before + chosen.words + after, start, end: start + chosen.words.length };
  }
  const start = chosen.start + 1;
  const text = `${before}(${chosen.words}:${weight})${after}`;
  return { text, start, end: start + chosen.words.length };
}

interface Weighted {
  /** Where it begins and ends with its parentheses, if it has any. */
  start: number;
  end: number;
  words: string;
  weight: number;
}

/** The innermost `(words:1.1)` around the selection. */
function findWeighted({ text, start, end }: Edit): Weighted | null {
  let depth = 0;
  for (let i = start - 1; i >= 0; i -= 1) {
    if (isEscaped(text, i)) continue;
    if (text[i] === ")") depth += 1;
    if (text[i] !== "(") continue;
    if (depth > 0) {
      depth -= 1;
      continue;
    }
    const close = findClose(text, i);
    if (close < end - 1 || close < 0) return null;
    const [, words, weight] = WEIGHT.exec(text.slice(i + 1, close)) ?? [];
    if (words === undefined) return null;
    return { start: i, end: close + 1, words, weight: Number(weight) };
  }
  const selected = text.slice(start, end);
  if (!selected.startsWith("(")) return null;
  const [, words, weight] = WEIGHT.exec(selected.slice(1, -1)) ?? [];
  const isWhole = findClose(text, start) === end - 1 && words !== undefined;
  return isWhole ? { start, end, words, weight: Number(weight) } : null;
}

function findClose(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i += 1) {
    if (isEscaped(text, i)) continue;
    if (text[i] === "(") depth += 1;
    if (text[i] === ")") depth -= 1;
    if (depth === 0) return i;
  }
  return -1;
}

/** What is selected without the spaces around it, or the word at the cursor. */
function findWords({ text, start, end }: Edit): Weighted | null {
  const isWord = (at: number): boolean => /[^\s,;.:!?()[\]{}<>|]/u.test(text[at] ?? " ");
  let [from, to] = [start, end];
  if (from === to) {
    while (from > 0 && isWord(from - 1)) from -= 1;
    while (to < text.length && isWord(to)) to += 1;
  } else {
    while (from < to && /\s/.test(text[from] ?? "")) from += 1;
    while (to > from && /\s/.test(text[to - 1] ?? "")) to -= 1;
  }
  return from < to ? { start: from, end: to, words: text.slice(from, to), weight: 1 } : null;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text[at - 1 - slashes] === "\\") slashes += 1;
  return slashes % 2 === 1;
}
