/** A random id, also on plain http, where `crypto.randomUUID` is missing. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Copy text; false if the browser does not allow it, also not the old way (on plain http). */
export async function copyText(text: string, root: Document = document): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = root.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    area.style.position = "fixed";
    area.style.opacity = "0";
    const before = root.activeElement as HTMLElement | null;
    (before?.closest("dialog") ?? root.body).append(area);
    area.select();
    const isCopied = root.execCommand("copy");
    area.remove();
    before?.focus();
    return isCopied;
  }
}
