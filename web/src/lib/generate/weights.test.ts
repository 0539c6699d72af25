import { expect, test } from "vitest";

import { changeWeight } from "./weights";

/** `|` marks the ends of the selection, or the cursor. */
function edit(marked: string, direction: 1 | -1): string {
  const start = marked.indexOf("|");
  const end = marked.lastIndexOf("|");
  const text = marked.replaceAll("|", "");
  const changed = changeWeight({ text, start, end: end === start ? start : end - 1 }, direction);
  const { text: words } = changed;
  const [from, to] = [changed.start, changed.end];
  return from === to
    ? `${words.slice(0, from)}|${words.slice(from)}`
    : `${words.slice(0, from)}|${words.slice(from, to)}|${words.slice(to)}`;
}

test.each([
  ["a fo|x, sleeping", 1, "a (|fox|:1.1), sleeping"],
  ["a (|fox|:1.1), sleeping", 1, "a (|fox|:1.2), sleeping"],
  ["a (f|ox:1.1), sleeping", -1, "a |fox|, sleeping"],
  ["a |red fox| sleeps", -1, "a (|red fox|:0.9) sleeps"],
  ["a| red fox |sleeps", 1, "a (|red fox|:1.1) sleeps".replace("a (", "a (")],
  ["|(red fox:1.5)|", 1, "(|red fox|:1.6)"],
  ["((a:1.2) |b|:1.3)", 1, "(|(a:1.2) b|:1.4)"],
  ["(old fo|x:0.1)", -1, "(|old fox|:0)"],
  ["(f|ox:10)", 1, "(f|ox:10)"],
  ["a , | b", 1, "a , | b"],
  ["ein Füch|schen", 1, "ein (|Füchschen|:1.1)"],
  ["狐狸|", 1, "(|狐狸|:1.1)"],
] as const)("%s changed by %s is %s", (before, direction, after) => {
  expect(edit(before, direction)).toBe(after);
});

test("ten steps up and ten down leave the text as it was", () => {
  let now = { text: "a fox", start: 3, end: 3 };
  for (let i = 0; i < 10; i += 1) now = changeWeight(now, 1);
  expect(now.text).toBe("a (fox:2)");
  for (let i = 0; i < 10; i += 1) now = changeWeight(now, -1);
  expect(now.text).toBe("a fox");
});
