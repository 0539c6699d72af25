import { expect, test, vi } from "vitest";

import { createApi } from "../api/client";
import { Draft } from "./draft";
import { FormState } from "./form";

const storage = { getItem: () => null, setItem: () => undefined } as unknown as Storage;

function answer(requests: string[]): typeof fetch {
  return async (input) => {
    const url = new URL((input as Request).url);
    requests.push(url.pathname + url.search);
    const name = url.pathname.split("/")[4];
    const model = url.searchParams.get("model");
    const parameters = { prompt: { label: "Prompt" }, [model ? "cfg" : "steps"]: { default: 8 } };
    const view = name
      ? { name, tasks: [{ task: "text-to-image", parameters, without: {} }] }
      : {
          backends: [{ name: "lab" }, { name: "cloud", default: true }],
          pools: [],
        };
    return new Response(JSON.stringify(view));
  };
}

test("the form follows the chosen backend and model", async () => {
  const requests: string[] = [];
  const draft = new Draft(storage);
  draft.set({ prompt: "fog", cfg: 7 });
  const form = new FormState(createApi(new URL("http://lab/"), answer(requests)), draft);
  await form.resync();
  expect(form.backend).toBe("cloud");
  await vi.waitFor(() => expect(form.capabilities?.name).toBe("cloud"));
  expect(form.plan).toMatchObject({ unused: ["cfg"], sent: { prompt: "fog" } });
  expect(form.value("steps")).toBe(8);
  form.choose("lab", "big");
  await vi.waitFor(() => expect(form.capabilities?.name).toBe("lab"));
  expect(form.plan.sent).toMatchObject({ cfg: 7 });
  form.choose("cloud");
  await vi.waitFor(() => expect(form.capabilities?.name).toBe("cloud"));
  expect(requests).toEqual([
    "/api/v1/backends",
    "/api/v1/backends/cloud",
    "/api/v1/backends/lab?model=big",
  ]);
});

test("a backend that is gone is not asked; the default is", async () => {
  const requests: string[] = [];
  const draft = new Draft(storage);
  draft.setBackends(["gone"]);
  const form = new FormState(createApi(new URL("http://lab/"), answer(requests)), draft);
  await form.resync();
  await vi.waitFor(() => expect(form.capabilities?.name).toBe("cloud"));
  expect(requests).not.toContain("/api/v1/backends/gone");
});

test("until the capabilities are known, all of the draft is sent", () => {
  const draft = new Draft(storage);
  const form = new FormState(createApi(new URL("http://lab/"), answer([])), draft);
  draft.restore({ request: { prompt: "fog", mask: "blob:1/m" }, backends: ["lab"], models: [] });
  expect(form.plan).toMatchObject({ task: "inpaint", sent: { prompt: "fog", mask: "blob:1/m" } });
  expect(form.backend).toBe("lab");
});
