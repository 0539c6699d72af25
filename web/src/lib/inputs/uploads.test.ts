import { describe, expect, it } from "vitest";

import { type Sender, Uploads } from "./uploads";

class FakeSender {
  static all: FakeSender[] = [];
  upload: ReturnType<Sender>["upload"] = { onprogress: null };
  onload: (() => void) | null = null;
  onerror: (() => void) | null = null;
  onabort: (() => void) | null = null;
  status = 0;
  responseText = "";
  url = "";
  constructor() {
    FakeSender.all.push(this);
  }
  open(_method: string, url: string): void {
    this.url = url;
  }
  send(): void {
    // It waits for the test.
  }
  abort(): void {
    this.onabort?.();
  }
  answer(status: number, body: unknown): void {
    this.status = status;
    this.responseText = JSON.stringify(body);
    this.onload?.();
  }
}

function start(most = 1000) {
  FakeSender.all = [];
  const uploads = new Uploads(
    new URL("http://host/path/"),
    {
      most: () => most,
      tooLarge: ({ name }) => `${name} is too large.`,
      unreachable: () => "No answer.",
    },
    () => new FakeSender() as unknown as ReturnType<Sender>,
  );
  const file = new File(["x".repeat(100)], "fox.png", { type: "image/png" });
  return { uploads, file, sent: uploads.send("image", file), sender: FakeSender.all[0] };
}

describe("Uploads", () => {
  it("shows the progress, then gives the name for the request", async () => {
    const { uploads, sent, sender } = start();
    expect(sender?.url).toBe("http://host/path/api/v1/uploads");
    const half = { loaded: 50, total: 100, lengthComputable: true } as ProgressEvent;
    sender?.upload.onprogress?.(half);
    expect(uploads.of("image")[0]?.progress).toBe(0.5);
    sender?.answer(201, { image: "blob:1/fox.png" });
    expect(await sent).toBe("blob:1/fox.png");
    expect(uploads.list).toEqual([]);
  });

  it("keeps what the server says about a file, until another is sent there", async () => {
    const { uploads, file, sent, sender } = start();
    sender?.answer(400, { code: "request", detail: "upload: not a complete image." });
    expect(await sent).toBeNull();
    expect(uploads.of("image")[0]?.error?.detail).toBe("upload: not a complete image.");
    const again = uploads.send("image", file);
    expect(uploads.list).toHaveLength(1);
    FakeSender.all[1]?.answer(201, { image: "blob:2/fox.png" });
    expect(await again).toBe("blob:2/fox.png");
  });

  it("can be cancelled", async () => {
    const { uploads, sent } = start();
    uploads.dismiss(uploads.list[0]?.id ?? "");
    expect(await sent).toBeNull();
    expect(uploads.list).toEqual([]);
  });

  it("does not send a file that is too large", async () => {
    const { uploads, sent, sender } = start(10);
    expect(await sent).toBeNull();
    expect(sender).toBeUndefined();
    expect(uploads.list[0]?.error?.detail).toBe("fox.png is too large.");
  });

  it("says so if there is no answer", async () => {
    const { uploads, sent, sender } = start();
    sender?.onerror?.();
    expect(await sent).toBeNull();
    expect(uploads.list[0]?.error).toMatchObject({ status: 0, detail: "No answer." });
  });
});
