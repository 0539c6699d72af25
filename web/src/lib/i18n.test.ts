import { type MessageFormatElement, parse, TYPE } from "@formatjs/icu-messageformat-parser";
import { expect, test } from "vitest";

import { lengthen, type MessageKey, Translator } from "./i18n";
import german from "./messages/de";
import english from "./messages/en";
import { CATALOG, FIXED, listAreas } from "./shortcut_catalog";

const EN: Record<string, string> = english;
const DE: Record<string, string> = german;
const KEYS = Object.keys(EN);

const files = import.meta.glob<string>(
  ["/src/**/*.{ts,svelte}", "!/src/**/*.test.ts", "!/src/lib/messages/**"],
  { query: "?raw", import: "default", eager: true },
);
const source = Object.values(files).join("\n");

/** The arguments of a message, and whether each is a number, a choice or a text. */
function argumentsOf(message: string): Record<string, string> {
  const found: Record<string, string> = {};
  const collect = (elements: MessageFormatElement[]): void => {
    for (const element of elements) {
      if (element.type === TYPE.literal || element.type === TYPE.pound) continue;
      if (element.type === TYPE.plural || element.type === TYPE.select) {
        for (const option of Object.values(element.options)) collect(option.value);
      }
      if (element.type === TYPE.tag) collect(element.children);
      else if (found[element.value] !== "plural") {
        found[element.value] = element.type === TYPE.plural ? "plural" : "value";
      }
    }
  };
  collect(parse(message, { ignoreTag: true }));
  return found;
}

test("every string is there in each language", () => {
  expect(KEYS.length).toBeGreaterThan(500);
  expect(Object.keys(DE).sort()).toEqual([...KEYS].sort());
  expect(KEYS.filter((key) => !EN[key]?.trim() || !DE[key]?.trim())).toEqual([]);
});

test("the languages have the same arguments", () => {
  const names = (message = ""): string[] => Object.keys(argumentsOf(message)).sort();
  const differing = KEYS.filter((key) => String(names(EN[key])) !== String(names(DE[key])));
  expect(differing).toEqual([]);
});

test("every plural has the forms of its language", async () => {
  const { LOCALES } = await import("./i18n");
  for (const locale of LOCALES) {
    const translator = new Translator();
    await translator.use(locale);
    for (const key of KEYS as MessageKey[]) {
      const plurals = Object.entries(argumentsOf(EN[key] ?? ""));
      for (const count of [0, 1, 2, 1.5]) {
        const values = Object.fromEntries(
          plurals.map(([name, kind]) => [name, kind === "plural" ? count : "x"]),
        );
        expect(translator.text(key, values), key).not.toMatch(/[{}]|undefined/);
      }
    }
  }
});

test("the pseudo locale lengthens the text and keeps the arguments", async () => {
  expect(lengthen("Stop {count, plural, one {# job} other {# jobs}}")).toMatch(
    /^\[Stóp \{count, plural, one \{# jób\} other \{# jóbš\}\}~+\]$/,
  );
  const translator = new Translator();
  await translator.use("pseudo");
  expect(translator.text("gallery.count", { count: 2, text: "2" })).toMatch(/^\[2 .*~+\]$/);
  for (const key of KEYS) {
    expect(argumentsOf(lengthen(EN[key] ?? "")), key).toEqual(argumentsOf(EN[key] ?? ""));
    expect(lengthen(EN[key] ?? "").length).toBeGreaterThan((EN[key] ?? "").length);
  }
});

test("a language that is not known is English", async () => {
  const translator = new Translator();
  await translator.use("fr-CA");
  expect([translator.locale, translator.text("nav.gallery")]).toEqual(["en", EN["nav.gallery"]]);
  await translator.use("de-CH");
  expect([translator.locale, translator.text("nav.gallery")]).toEqual(["de-CH", DE["nav.gallery"]]);
});

// --- how the page uses them ---

const literals = new Set([...source.matchAll(/["'`]([\w-]+(?:\.[\w-]+)+)["'`]/g)].map((m) => m[1]));
/** The keys that a template such as `queue.${name}` may mean. */
const templates = [...source.matchAll(/`([a-z]\w*(?:\.\w+)*\.)\$\{[^}`]*\}(\w*)`/g)].map(
  ([, head = "", tail = ""]) => ({ head, tail }),
);
const ofKeys = new Set([
  ...Object.keys(CATALOG).map((id) => `keys.${id}`),
  ...Object.keys(FIXED).map((id) => `keys.${id}`),
  ...listAreas().map(({ area }) => `keys.${area}`),
]);

function isMeant(key: string): boolean {
  if (key.startsWith("keys.")) return literals.has(key) || ofKeys.has(key);
  return templates.some(({ head, tail }) => key.startsWith(head) && key.endsWith(tail));
}

test("no string is left over", () => {
  expect(KEYS.filter((key) => !literals.has(key) && !isMeant(key))).toEqual([]);
});

test("no string is missing", () => {
  const used = [...source.matchAll(/\bt\(\s*"([^"]+)"/g)].map((match) => match[1] ?? "");
  expect(used.length).toBeGreaterThan(300);
  expect(used.filter((key) => !(key in EN))).toEqual([]);
  const named = [...ofKeys].filter((key) => !/\.rate\d$/.test(key));
  expect(named.filter((key) => !(key in EN))).toEqual([]);
});

test("each use passes what the string needs", () => {
  const uses = [...source.matchAll(/\bt\(\s*"([^"]+)"(?:\s*\)|,\s*\{([^{}]*)\})/g)].filter(
    ([use]) => !use.includes("..."),
  );
  expect(uses.length).toBeGreaterThan(300);
  const lacking = uses.filter(([, key = "", values = ""]) => {
    const passed = [...values.matchAll(/(?:^|,)\s*(\w+)\s*(?=:|,|$)/g)].map((match) => match[1]);
    return Object.keys(argumentsOf(EN[key] ?? "")).some((name) => !passed.includes(name));
  });
  expect(lacking.map(([text]) => text)).toEqual([]);
});
