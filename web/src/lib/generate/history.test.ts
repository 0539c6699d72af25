import { expect, test } from "vitest";

import { createApi } from "../api/client";
import { PromptHistory } from "./history";

const storage = { getItem: () => null, setItem: () => undefined } as unknown as Storage;

test("prompts of this device come first, then those of the library, each once", async () => {
  const asked: (string | null)[] = [];
  const api = createApi(new URL("http://lab/"), async (input) => {
    asked.push(new URL((input as Request).url).searchParams.get("text"));
    return Response.json({
      images: ["rain", "red fog", "rain", null].map((prompt) => ({ prompt })),
    });
  });
  const history = new PromptHistory(api, storage);
  history.add(" rain ");
  history.add("blue fog");
  await history.search("");
  expect(history.found).toEqual(["blue fog", "rain", "red fog"]);
  await history.search('fog "in snow');
  expect(history.found).toEqual(["rain", "red fog"]);
  expect(asked).toEqual([null, 'fog* "in" snow*']);
});

test("without the server, those of this device are found", async () => {
  const api = createApi(new URL("http://lab/"), () => Promise.reject(new TypeError("offline")));
  const history = new PromptHistory(api, storage);
  history.add("Nebelküste");
  await history.search("NEBEL");
  expect(history.found).toEqual(["Nebelküste"]);
});
