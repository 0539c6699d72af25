/** The things whose name has all of these words, in any order and any case; all without a word. */
export function filterNames<T>(things: T[], words: string, nameOf: (thing: T) => string): T[] {
  const wanted = fold(words).split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return things;
  return things.filter((thing) => {
    const name = fold(nameOf(thing));
    return wanted.every((word) => name.includes(word));
  });
}

function fold(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}
