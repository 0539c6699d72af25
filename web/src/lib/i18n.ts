import { IntlMessageFormat } from "intl-messageformat";

import { Observable } from "./observable";
import english from "./messages/en";

export type MessageKey = keyof typeof english;
export type MessageValues = Record<string, string | number | Date>;

export const LOCALES = ["en", "de"] as const;
export type Locale = (typeof LOCALES)[number];

const LOADERS: Record<Locale, () => Promise<{ default: Record<string, string> }>> = {
  en: async () => ({ default: english }),
  de: () => import("./messages/de"),
};

/** The strings of the page in one language, and numbers and dates as it writes them. */
export class Translator extends Observable {
  locale: string = "en";
  #messages: Record<string, string> = english;
  #formats = new Map<string, IntlMessageFormat>();

  /** Use a language; `pseudo` is English with accents and 40 % more letters, for tests. */
  async use(locale: string): Promise<void> {
    const known = LOCALES.find((one) => one === locale.slice(0, 2)) ?? "en";
    this.#messages = locale === "pseudo" ? lengthenAll(english) : (await LOADERS[known]()).default;
    this.locale = locale === "pseudo" ? "en" : locale.startsWith(known) ? locale : known;
    this.#formats.clear();
    this.changed();
  }

  text(key: MessageKey, values: MessageValues = {}): string {
    let format = this.#formats.get(key);
    if (!format) {
      const message = this.#messages[key] ?? english[key];
      format = new IntlMessageFormat(message, this.locale, undefined, { ignoreTag: true });
      this.#formats.set(key, format);
    }
    return String(format.format(values));
  }
}

const ACCENTS: Record<string, string> = { a: "á", e: "é", i: "í", o: "ó", u: "ú", n: "ñ", s: "š" };

/** A message as a language with longer words and accents might write it. */
export function lengthen(message: string): string {
  let depth = 0;
  let letters = 0;
  let result = "";
  for (const letter of message) {
    if (letter === "{") depth += 1;
    if (letter === "}") depth -= 1;
    const isText = depth === 0 || depth % 2 === 0;
    if (isText && /[a-z]/i.test(letter)) letters += 1;
    result += isText ? (ACCENTS[letter] ?? letter) : letter;
  }
  return `[${result}${"~".repeat(Math.ceil(letters * 0.4))}]`;
}

function lengthenAll(messages: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(messages).map(([key, text]) => [key, lengthen(text)]));
}
