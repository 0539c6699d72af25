/** The name of a workflow for a file: letters, digits, dots, dashes, as the server takes it. */
export function nameOfFile(file: string): string {
  const stem = file.replace(/\.(json|png|webp|jpe?g)$/i, "");
  const plain = stem.normalize("NFKD").replace(/\p{M}/gu, "");
  const name = plain.replace(/[^\p{L}\p{N}_.-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "");
  return name.slice(0, 60) || "workflow";
}
