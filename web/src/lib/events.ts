import { Observable } from "./observable";

/** An event of the server's stream, as `GET /api/v1/events` describes it. */
export interface ServerEvent {
  seq: number;
  /** Empty if it is about no job. */
  job: string;
  at: string;
  kind: "state" | "progress" | "images_added" | "images_changed" | "images_removed";
  data: Record<string, unknown>;
}

export interface Preview {
  job: string;
  /** A data URL. */
  image: string;
}

export type Connection =
  | { state: "connecting" }
  | { state: "open" }
  /** `since` and `retryAt` are milliseconds as of Date.now(). */
  | { state: "lost"; since: number; retryAt: number };

interface Handlers {
  event(event: ServerEvent): void;
  preview(preview: Preview): void;
  /** Events were missed, or this is the first connection: read everything anew. */
  resync(): void;
}

const KINDS = ["state", "progress", "images_added", "images_changed", "images_removed"] as const;
const LONGEST_WAIT = 15_000;

/** The one stream of events of the page, which connects again by itself. */
export class EventStream extends Observable {
  connection: Connection = { state: "connecting" };
  #source: EventSource | null = null;
  #last = "";
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly base: URL,
    private readonly handlers: Handlers,
    private readonly open: (url: string) => EventSource = (url) => new EventSource(url),
  ) {
    super();
  }

  connect(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    const url = new URL("api/v1/events", this.base);
    if (this.#last) url.searchParams.set("after", this.#last);
    const source = (this.#source = this.open(url.href));
    source.addEventListener("ready", (message) => {
      const isFirst = !this.#last;
      this.#last = (message as MessageEvent<string>).lastEventId;
      this.#failures = 0;
      this.connection = { state: "open" };
      if (isFirst) this.handlers.resync();
      this.changed();
    });
    source.addEventListener("resync", (message) => {
      this.#last = (message as MessageEvent<string>).lastEventId || this.#last;
      this.handlers.resync();
    });
    source.addEventListener("preview", (message) => {
      this.handlers.preview(JSON.parse((message as MessageEvent<string>).data) as Preview);
    });
    for (const kind of KINDS) {
      source.addEventListener(kind, (message) => {
        const { data, lastEventId } = message as MessageEvent<string>;
        this.#last = lastEventId;
        this.handlers.event(JSON.parse(data) as ServerEvent);
      });
    }
    source.addEventListener("error", () => this.#lose(source));
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #lose(source: EventSource): void {
    if (source !== this.#source) return;
    source.close();
    const wait = Math.min(LONGEST_WAIT, 1000 * 2 ** this.#failures++);
    const since = this.connection.state === "lost" ? this.connection.since : Date.now();
    this.connection = { state: "lost", since, retryAt: Date.now() + wait };
    this.#timer = setTimeout(() => this.connect(), wait);
    this.changed();
  }
}
