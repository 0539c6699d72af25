import type { ApiError } from "../api/client";

/** What is wrong with a request: for each field, and what belongs to none. */
export interface FormProblem {
  /** A sentence for each field, by the name of its parameter. */
  fields: Record<string, string>;
  /** What belongs to no field; empty if everything does. */
  general: string;
  remedy: string;
  code: string;
}

const NAMED = /^(?:extra\.)?([a-z_][\w-]*)(?:\[\d+\]|\.\w+)*(:| must | cannot | is )/i;
const ABOUT_PROMPT = /^(The prompt, character|The prompt |This backend needs a prompt)/;
const ABOUT_NEGATIVE = /^The negative prompt/;

/** Find the fields that an error of the server is about. */
export function readProblems(error: ApiError, known: ReadonlySet<string>): FormProblem {
  const fields: Record<string, string> = {};
  const general: string[] = [];
  for (const line of error.detail.split("\n")) {
    const name = fieldOf(line, known);
    if (!name) general.push(line);
    else fields[name] = fields[name] ? `${fields[name]} ${sentence(line)}` : sentence(line);
  }
  return { fields, general: general.join(" "), remedy: error.remedy, code: error.code };
}

function fieldOf(line: string, known: ReadonlySet<string>): string {
  if (ABOUT_NEGATIVE.test(line)) return "negative";
  if (ABOUT_PROMPT.test(line)) return "prompt";
  const name = NAMED.exec(line)?.[1] ?? "";
  if (known.has(name)) return name;
  return /^Unknown style/.test(line) ? "style" : "";
}

/** Without the name of the parameter, which is above the field. */
function sentence(line: string): string {
  const text = line.replace(/^[a-z_][\w.[\]-]*: (?=\S)/i, "");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
