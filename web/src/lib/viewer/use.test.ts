import { expect, test } from "vitest";

import type { BackendCapabilitiesView, BackendView } from "../api/schema";
import {
  backendsFor,
  edit,
  type KnownBackend,
  outpaint,
  readImageId,
  reasonAgainst,
  taskOfRequest,
  upscale,
  varySeed,
} from "./use";

const REQUEST = {
  prompt: "fog",
  negative: "text",
  width: 768,
  height: 512,
  seed: 7,
  count: 1,
  image: "blob:aa/x.png",
  strength: 0.5,
  loras: [{ name: "sepia", strength: 1 }],
};

function backend(
  name: string,
  tasks: string[],
  lacking: BackendView["lacking"] = [],
): KnownBackend {
  const view = { name, lacking } as unknown as BackendView;
  const capabilities = { tasks: tasks.map((task) => ({ task })) };
  return { view, capabilities: capabilities as unknown as BackendCapabilitiesView };
}

test("variations are the same request with other seeds", () => {
  const request = varySeed(REQUEST, 4);
  expect(request).not.toHaveProperty("seed");
  expect(request).toMatchObject({ prompt: "fog", count: 4, image: "blob:aa/x.png", width: 768 });
});

test("an upscale has no prompt, which would repaint the image", () => {
  expect(upscale("ab.1", 4)).toEqual({ image: "image:ab.1", upscale: { factor: 4 } });
  expect(upscale("ab.1", 2, "mock-x2").upscale).toEqual({ factor: 2, method: "mock-x2" });
});

test("outpainting starts from the image, without its own inputs and size", () => {
  const sides = { left: 64, top: 0, right: 0, bottom: 0 };
  expect(outpaint(REQUEST, "ab.1", sides)).toEqual({
    prompt: "fog",
    negative: "text",
    loras: REQUEST.loras,
    image: "image:ab.1",
    outpaint: sides,
  });
});

test("an edit is an instruction and a reference", () => {
  expect(edit("ab.1", "at night")).toEqual({ prompt: "at night", references: ["image:ab.1"] });
});

test("the backends that can do a task, the image's own first", () => {
  const all = [backend("a", ["upscale"]), backend("b", []), backend("c", ["upscale", "edit"])];
  expect(backendsFor("upscale", all, "c").map((one) => one.view.name)).toEqual(["c", "a"]);
  expect(backendsFor("edit", all, "a").map((one) => one.view.name)).toEqual(["c"]);
});

test("why a task cannot be done", () => {
  const why = { what: "upscale", why: "There is no upscaler.", remedy: "Download one." };
  expect(reasonAgainst("upscale", [backend("a", []), backend("b", [], [why])])).toBe(
    "There is no upscaler. Download one.",
  );
  expect(reasonAgainst("edit", [backend("a", [])])).toBe("");
});

test.each([
  [
    "http://host:8080/image/e657a234-f1d7-4097-a2c6-5f3f107bf411.2?q=fog",
    "e657a234-f1d7-4097-a2c6-5f3f107bf411.2",
  ],
  ["image:abc.1", "abc.1"],
  [" abc ", "abc"],
])("the id in %s", (text, id) => {
  expect(readImageId(text)).toBe(id);
});

test.each([
  [{ prompt: "fog" }, "text-to-image"],
  [{ prompt: "fog", image: "blob:a/x.png", mask: "blob:b/m.png" }, "inpaint"],
  [{ image: "blob:a/x.png", upscale: { factor: 2 } }, "upscale"],
  [{ prompt: "fog", image: "blob:a/x.png", upscale: { factor: 2 } }, "image-to-image"],
  [{ prompt: "fog", references: [], controls: [{ kind: "canny" }] }, "control"],
  [{ prompt: "at night", references: ["image:a"] }, "edit"],
])("the task of %j", (request, task) => {
  expect(taskOfRequest(request)).toBe(task);
});
