import { Observable } from "./observable";

/** An event of the server's stream, as `GET /api/v1/events` describes it. */
export interface ServerEvent {
  seq: number;
  /** Empty if it is about no job. */
  job: string;
  at: string;
  kind: (typeof KINDS)[number];
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
  /** The connection is there, or again there, or events were missed: read everything anew. */
  resync(): void;
  /** The server refused the stream or does not answer. */
  lose?(): void;
}

/** What the stream needs of the browser. */
export interface StreamHost {
  open(url: string): EventSource;
  addEventListener(kind: string, listener: () => void): void;
  isHidden(): boolean;
}

const BROWSER: StreamHost = {
  open: (url) => new EventSource(url),
  addEventListener(kind, listener) {
    const target = kind === "visibilitychange" ? document : globalThis;
    target.addEventListener(kind, listener);
  },
  isHidden: () => document.hidden,
};

const KINDS = [
  "state",
  "progress",
  "images_added",
  "images_changed",
  "images_removed",
  "albums_changed",
  "views_changed",
] as const;
const LONGEST_WAIT = 15_000;
/** The server sends something every 15 seconds: after so long without, the connection is dead. */
export const SILENCE = 20_000;
/** A connection that is away for a shorter time than this is not worth a word. */
export const GRACE = 2000;
/** A page that nobody sees gives its connection back: browsers have six for all tabs of a host. */
export const HIDDEN = 60_000;
/** How long an attempt to connect may take. */
const PATIENCE = 10_000;

/** The one stream of events of the page, which connects again by itself. */
export class EventStream extends Observable {
  connection: Connection = { state: "connecting" };
  /** When the server was last heard, in milliseconds as of Date.now(). */
  heard = 0;
  #source: EventSource | null = null;
  #last = "";
  #failures = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #grace: ReturnType<typeof setTimeout> | undefined;
  #nap: ReturnType<typeof setTimeout> | undefined;
  #isWanted = false;

  constructor(
    private readonly base: URL,
    private readonly handlers: Handlers,
    private readonly host: StreamHost = BROWSER,
  ) {
    super();
    host.addEventListener("offline", () => this.#source && this.#lose(this.#source));
    for (const kind of ["online", "pageshow"]) host.addEventListener(kind, () => this.#wake());
    host.addEventListener("visibilitychange", () => {
      clearTimeout(this.#nap);
      if (host.isHidden()) this.#nap = setTimeout(() => this.#rest(), HIDDEN);
      else this.#wake();
    });
  }

  /** Whether the connection has been away for so long that the page says so. */
  get isLost(): boolean {
    return this.connection.state === "lost" && Date.now() - this.connection.since >= GRACE;
  }

  connect(): void {
    this.#isWanted = true;
    this.#stop();
    const url = new URL("api/v1/events", this.base);
    if (this.#last) url.searchParams.set("after", this.#last);
    const source = (this.#source = this.host.open(url.href));
    const listen = (kind: string, listener: (message: MessageEvent<string>) => void): void =>
      source.addEventListener(kind, (message) => {
        if (source !== this.#source) return;
        this.#hear(source);
        listener(message as MessageEvent<string>);
      });
    listen("ready", (message) => {
      this.#last = message.lastEventId;
      this.#arrive();
      this.handlers.resync();
    });
    listen("resync", (message) => {
      this.#last = message.lastEventId || this.#last;
      this.#arrive();
      this.handlers.resync();
    });
    listen("ping", () => undefined);
    listen("preview", ({ data }) => this.handlers.preview(JSON.parse(data) as Preview));
    for (const kind of KINDS) {
      listen(kind, ({ data, lastEventId }) => {
        this.#last = lastEventId;
        this.handlers.event(JSON.parse(data) as ServerEvent);
      });
    }
    source.addEventListener("error", () => this.#lose(source));
    this.#watch = setTimeout(() => this.#lose(source), PATIENCE);
  }

  /** A request was not answered: look whether the server is still there. */
  suspect(): void {
    if (this.connection.state === "open") this.connect();
  }

  close(): void {
    this.#isWanted = false;
    this.#stop();
  }

  #stop(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#watch);
    this.#source?.close();
    this.#source = null;
  }

  #hear(source: EventSource): void {
    this.heard = Date.now();
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#lose(source), SILENCE);
  }

  #arrive(): void {
    clearTimeout(this.#grace);
    this.#failures = 0;
    this.connection = { state: "open" };
    this.changed();
  }

  #lose(source: EventSource): void {
    if (source !== this.#source) return;
    this.#stop();
    const wait = Math.min(LONGEST_WAIT, 1000 * 2 ** this.#failures++);
    const wasLost = this.connection.state === "lost";
    const since = this.connection.state === "lost" ? this.connection.since : Date.now();
    this.connection = { state: "lost", since, retryAt: Date.now() + wait };
    this.#retry = setTimeout(() => this.connect(), wait);
    if (!wasLost) this.#grace = setTimeout(() => this.changed(), GRACE);
    this.changed();
    this.handlers.lose?.();
  }

  /** Give the connection back as long as the page is hidden; what is missed is sent later. */
  #rest(): void {
    if (this.connection.state === "open") this.#stop();
  }

  /** The page is seen again, or the network is back: timers may have slept. */
  #wake(): void {
    if (!this.#isWanted) return;
    const isSilent = Date.now() - this.heard > SILENCE;
    if (!this.#source || this.connection.state === "lost" || isSilent) this.connect();
  }
}
