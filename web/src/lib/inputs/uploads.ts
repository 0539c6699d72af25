import { ApiError, readProblem } from "../api/client";
import type { UploadView } from "../api/schema";
import { Observable } from "../observable";
import { randomId } from "../platform";

/** A file on its way to the server. */
export interface Upload {
  id: string;
  /** Where it belongs: the name of a slot, and the place in it. */
  slot: string;
  name: string;
  /** From 0 to 1. */
  progress: number;
  error: ApiError | null;
}

/** What this needs of XMLHttpRequest: `fetch` does not say how much was sent. */
export type Sender = () => Pick<
  XMLHttpRequest,
  "open" | "send" | "abort" | "status" | "responseText"
> & {
  upload: { onprogress: ((event: ProgressEvent) => void) | null };
  onload: (() => void) | null;
  onerror: (() => void) | null;
  onabort: (() => void) | null;
};

/** The files that are sent, and those that the server refused. */
export class Uploads extends Observable {
  list: Upload[] = [];
  #senders = new Map<string, { abort(): void }>();

  constructor(
    private readonly base: URL,
    private readonly options: {
      /** The largest file, in bytes. */
      most: () => number;
      /** A sentence for a file that is larger. */
      tooLarge: (file: { name: string; size: number }) => string;
      /** A sentence for no answer. */
      unreachable: () => string;
    },
    private readonly open: Sender = () => new XMLHttpRequest() as unknown as ReturnType<Sender>,
  ) {
    super();
  }

  /** Send a file: its name in a request, or null if it was refused or cancelled. */
  async send(slot: string, file: File): Promise<string | null> {
    const id = randomId();
    this.list = this.list.filter((one) => one.slot !== slot || !one.error);
    this.list = [...this.list, { id, slot, name: file.name, progress: 0, error: null }];
    this.changed();
    if (file.size > this.options.most()) {
      this.#change(id, { error: new ApiError(413, "too_large", this.options.tooLarge(file), "") });
      return null;
    }
    try {
      const upload = await this.#post(id, file);
      this.dismiss(id);
      return upload?.image ?? null;
    } catch (error) {
      if (error instanceof ApiError) this.#change(id, { error });
      else throw error;
      return null;
    }
  }

  /** Stop sending a file, or no longer show what was wrong with it. */
  dismiss(id: string): void {
    this.#senders.get(id)?.abort();
    this.#senders.delete(id);
    this.list = this.list.filter((one) => one.id !== id);
    this.changed();
  }

  of(slot: string): Upload[] {
    return this.list.filter((one) => one.slot === slot);
  }

  #post(id: string, file: File): Promise<UploadView | null> {
    return new Promise((resolve, reject) => {
      const sender = this.open();
      this.#senders.set(id, sender);
      const form = new FormData();
      form.append("file", file, file.name);
      sender.upload.onprogress = ({ loaded, total, lengthComputable }) => {
        if (lengthComputable) this.#change(id, { progress: loaded / total });
      };
      sender.onabort = () => resolve(null);
      sender.onerror = () => reject(new ApiError(0, "unreachable", this.options.unreachable(), ""));
      sender.onload = () => {
        this.#senders.delete(id);
        if (sender.status < 300) return resolve(JSON.parse(sender.responseText) as UploadView);
        const { status, responseText } = sender;
        void readProblem(new Response(responseText, { status })).then(reject);
      };
      sender.open("POST", new URL("api/v1/uploads", this.base).href);
      sender.send(form);
    });
  }

  #change(id: string, change: Partial<Upload>): void {
    this.list = this.list.map((one) => (one.id === id ? { ...one, ...change } : one));
    this.changed();
  }
}

/** The image files among what was dropped or pasted. */
export function imageFiles(transfer: DataTransfer | null): File[] {
  const files = [...(transfer?.files ?? [])];
  return files.filter((file) => file.type.startsWith("image/") || isImageName(file.name));
}

/** Browsers do not know the type of every image, such as that of an iPhone. */
function isImageName(name: string): boolean {
  return /\.(png|jpe?g|webp|heic|heif|avif|gif|bmp|tiff?)$/i.test(name);
}
