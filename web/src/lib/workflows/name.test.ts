import { expect, test } from "vitest";

import { nameOfFile } from "./name";

test.each([
  ["My Workflow (2).json", "My-Workflow-2"],
  ["ComfyUI_00001_.png", "ComfyUI_00001_"],
  ["Nebelküste.JSON", "Nebelkuste"],
  ["../../etc/passwd", "etc-passwd"],
  [".json", "workflow"],
  ["flux1.dev.fp8.json", "flux1.dev.fp8"],
])("%s becomes %s", (file, name) => {
  expect(nameOfFile(file)).toBe(name);
});
