import { type Client, data } from "../api/client";
import { Observable } from "../observable";

const MOST_AT_ONCE = 150;
const MOST_KEPT = 3000;
const LENGTH = 80;

/** The beginnings of the prompts of images that are shown: the names of their tiles. */
export class Prompts extends Observable {
  #texts = new Map<string, string>();
  #isReading = false;

  constructor(private readonly api: Client) {
    super();
  }

  get(uid: string): string | undefined {
    return this.#texts.get(uid);
  }

  /** Ask for those of these images that are not known. */
  async read(uids: string[]): Promise<void> {
    const unknown = uids.filter((uid) => !this.#texts.has(uid)).slice(0, MOST_AT_ONCE);
    if (unknown.length === 0 || this.#isReading) return;
    this.#isReading = true;
    try {
      const query = { ids: unknown.join(",") };
      const page = await data(this.api.GET("/api/v1/images", { params: { query } }));
      for (const uid of unknown) this.#texts.set(uid, "");
      for (const image of page.images) this.#texts.set(image.uid, shorten(image.prompt));
      for (const uid of this.#texts.keys()) {
        if (this.#texts.size <= MOST_KEPT) break;
        this.#texts.delete(uid);
      }
      this.changed();
    } catch {
      // They are asked for again with the next scroll.
    } finally {
      this.#isReading = false;
    }
  }
}

/** The first 80 characters, without breaking one that takes several units. */
export function shorten(prompt: string): string {
  const letters = Array.from(prompt.replace(/\s+/g, " ").trim());
  return letters.length > LENGTH ? `${letters.slice(0, LENGTH).join("")}…` : letters.join("");
}
