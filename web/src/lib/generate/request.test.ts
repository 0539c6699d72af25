import { expect, test } from "vitest";

import { inferTask, listValues, valueOf, withValues } from "./request";

test("an engine's own parameter is kept in extra", () => {
  const request = withValues({ prompt: "fog" }, { steps: 4, quality: "high" });
  expect(request).toEqual({ prompt: "fog", steps: 4, extra: { quality: "high" } });
  expect(valueOf(request, "quality")).toBe("high");
  expect(listValues(request)).toEqual([
    ["prompt", "fog"],
    ["steps", 4],
    ["quality", "high"],
  ]);
});

test("undefined, null and an empty list take a value away; 0, false and an empty text stay", () => {
  const request = { prompt: "fog", seed: 1, loras: [{ name: "ink" }], extra: { quality: "high" } };
  const emptied = withValues(request, { prompt: "", seed: null, loras: [], quality: undefined });
  expect(emptied).toEqual({ prompt: "" });
  expect(withValues({}, { cfg: 0, latent_batch: false })).toEqual({ cfg: 0, latent_batch: false });
});

test.each([
  [{}, "text-to-image", ""],
  [{ prompt: "fog", loras: [{ name: "ink" }] }, "text-to-image", ""],
  [{ image: "a", mask: "b" }, "inpaint", "mask"],
  [{ image: "a", mask: "b", outpaint: { left: 8 } }, "outpaint", "outpaint"],
  [{ image: "a", references: ["b"] }, "edit", "references"],
  [{ references: [], image: "a" }, "image-to-image", "image"],
  [{ controls: [{ kind: "pose" }] }, "control", "controls"],
  [{ prompt: "fog", variation_strength: 0 }, "variation", "variation_strength"],
  [{ image: "a", upscale: {} }, "upscale", "upscale"],
  [{ image: "a", upscale: {}, prompt: "fog" }, "image-to-image", "image"],
  [{ image: "a", preprocess: "pose", mask: "b" }, "preprocess", "preprocess"],
])("%o is %s, because of %s", (request, task, because) => {
  expect(inferTask(request)).toEqual({ task, because });
});
