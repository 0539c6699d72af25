import { type Client, data } from "../api/client";
import { Observable } from "../observable";
import { readJson, writeJson } from "../preferences";

const NAME = "imagen.prompts";
const MOST_KEPT = 100;
const MOST_READ = 200;

/** The prompts that were used of late: on this device, and of the images of the library. */
export class PromptHistory extends Observable {
  /** Newest first. */
  found: string[] = [];
  #kept: string[];
  #reading: AbortController | null = null;

  constructor(
    private readonly api: Client,
    private readonly storage: Storage,
  ) {
    super();
    this.#kept = readJson<string[]>(storage, NAME, []);
  }

  /** Remember a prompt that was submitted. */
  add(prompt: string): void {
    const words = prompt.trim();
    if (!words) return;
    this.#kept = [words, ...this.#kept.filter((one) => one !== words)].slice(0, MOST_KEPT);
    writeJson(this.storage, NAME, this.#kept);
  }

  /** Find the prompts that hold all these words. */
  async search(text: string): Promise<void> {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const hasAll = (prompt: string): boolean =>
      words.every((word) => prompt.toLowerCase().includes(word));
    this.found = this.#kept.filter(hasAll);
    this.changed();
    try {
      const query = { limit: MOST_READ, ...(text.trim() ? { text: quoteWords(words) } : {}) };
      const page = await data(
        this.api.GET("/api/v1/images", { params: { query }, signal: reading.signal }),
      );
      const prompts = page.images.map((image) => image.prompt ?? "").filter(Boolean);
      this.found = [...new Set([...this.found, ...prompts])];
      this.changed();
    } catch {
      // Those of this device are shown.
    }
  }
}

/** Words for the search of the library, whatever signs they hold; each may be a beginning. */
function quoteWords(words: readonly string[]): string {
  return words
    .map((word) => (/^[\p{L}\p{N}]+$/u.test(word) ? `${word}*` : `"${word.replaceAll('"', "")}"`))
    .join(" ");
}
