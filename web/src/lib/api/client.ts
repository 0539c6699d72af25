import createClient from "openapi-fetch";

import type { paths, ProblemDetails } from "./schema";

/** An answer of the server that is an error; status 0 means that there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    /** A stable word, such as `not_found`. */
    readonly code: string,
    /** A sentence: what is wrong. */
    readonly detail: string,
    /** A sentence: what to do about it, or empty. */
    readonly remedy: string,
  ) {
    super(detail);
  }
}

export type Client = ReturnType<typeof createClient<paths>>;

/** The HTTP API below `base`, the address of the page's root. Every error is an ApiError.
 *
 * `onUnreachable` is called when there was no answer.
 */
export function createApi(
  base: URL,
  fetcher: typeof fetch = (...request) => fetch(...request),
  onUnreachable: () => void = () => undefined,
): Client {
  const client = createClient<paths>({
    baseUrl: base.href.replace(/\/$/, ""),
    fetch: async (request: Request) => {
      try {
        return await fetcher(request);
      } catch (error) {
        if (request.signal.aborted) throw error;
        onUnreachable();
        throw new ApiError(0, "unreachable", "The server does not answer.", "");
      }
    },
    querySerializer: { array: { style: "form", explode: true } },
  });
  client.use({
    async onResponse({ response }) {
      if (!response.ok) throw await readProblem(response);
      return undefined;
    },
  });
  return client;
}

/** The error that an answer holds. */
export async function readProblem(response: Response): Promise<ApiError> {
  const problem = (await response.json().catch(() => ({}))) as Partial<ProblemDetails>;
  return new ApiError(
    response.status,
    problem.code ?? "http",
    problem.detail ?? `The server answered ${response.status} ${response.statusText}`.trim(),
    problem.remedy ?? "",
  );
}

/** What went wrong, and what to do about it, as text. */
export function describeError(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  return [error.detail, error.remedy].filter(Boolean).join(" ");
}

/** The data of a call: `const page = await data(api.GET("/api/v1/jobs"))`. */
export async function data<T>(call: Promise<{ data?: T }>): Promise<Exclude<T, undefined>> {
  return (await call).data as Exclude<T, undefined>;
}

/** The address of a file of the API below `base`: thumbnails, images, downloads. */
export function fileUrl(
  base: URL,
  path: string,
  query: Record<string, string | number | boolean> = {},
): string {
  const url = new URL(`api/v1/${path}`, base);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  return url.href;
}
