import { fileUrl } from "../api/client";

/** How a request names an image of the library. */
export function libraryWord(uid: string): string {
  return `image:${uid}`;
}

/** Where the picture is that a request names; empty if only the server knows. */
export function imageUrl(base: URL, word: string, size: 320 | 640 | null = 320): string {
  const upload = /^blob:([0-9a-f]{64})(?:\/|$)/.exec(word);
  if (upload) return fileUrl(base, `uploads/${upload[1]}`);
  const uid = /^image:(.+)$/.exec(word)?.[1];
  if (!uid) return word.startsWith("data:image/") ? word : "";
  return size
    ? fileUrl(base, `images/${encodeURIComponent(uid)}/thumbnail`, { size })
    : fileUrl(base, `images/${encodeURIComponent(uid)}/file`);
}

/** The file name of an upload; empty for an image of the library. */
export function imageName(word: string): string {
  return /^blob:[0-9a-f]{64}\/(.+)$/.exec(word)?.[1] ?? "";
}
