import { ApiError, data } from "$lib/api/client";
import { api, t } from "$ui/app.svelte";

interface Made {
  isMaking: boolean;
  /** The image of the library; empty as long as there is none. */
  uid: string;
  error: string;
}

const WAIT_SECONDS = 120;
const made = $state<Record<string, Made>>({});

/** What backends make of images to control others with; each is made once. */
export class ControlPreview {
  of(image: string, kind: string, backend: string): Made | undefined {
    return made[keyOf(image, kind, backend)];
  }

  async make(image: string, kind: string, backend: string): Promise<void> {
    const key = keyOf(image, kind, backend);
    made[key] = { isMaking: true, uid: "", error: "" };
    try {
      const body = { request: { image, preprocess: kind }, backend, priority: 100 };
      const answer = await data(
        api.POST("/api/v1/generations", {
          body: body as never,
          params: { query: { wait: WAIT_SECONDS } },
        }),
      );
      const result = "images" in answer ? answer : null;
      const error = result ? (result.error?.message ?? "") : t("inputs.stillMaking");
      made[key] = { isMaking: false, uid: result?.images[0]?.uid ?? "", error };
    } catch (error) {
      const text = error instanceof ApiError ? error.detail : String(error);
      made[key] = { isMaking: false, uid: "", error: text };
    }
  }
}

function keyOf(image: string, kind: string, backend: string): string {
  return [image, kind, backend].join("\n");
}
