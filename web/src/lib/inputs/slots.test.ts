import { describe, expect, it } from "vitest";

import type { BackendCapabilitiesView, ParameterView } from "../api/schema";
import { imageName, imageUrl, libraryWord } from "./images";
import {
  changeControl,
  listImages,
  newControl,
  openSlots,
  putImage,
  removeImage,
  setSide,
} from "./slots";

const KNOWN = Object.fromEntries(
  ["image", "mask", "references", "controls"].map((name) => [name, {} as ParameterView]),
);

describe("putImage", () => {
  it.each([
    [{}, "image", null, { image: "image:1" }],
    [{ image: "image:0" }, "image", null, { image: "image:1" }],
    [{ references: ["image:0"] }, "references", null, { references: ["image:0", "image:1"] }],
    [{ references: ["image:0"] }, "references", 0, { references: ["image:1"] }],
    [{}, "controls", null, { controls: [{ kind: "depth", image: "image:1" }] }],
    [
      { controls: [{ kind: "pose", image: "image:0", strength: 0.5 }] },
      "controls",
      0,
      { controls: [{ kind: "pose", image: "image:1", strength: 0.5 }] },
    ],
  ] as const)("%j %s %s", (request, slot, index, expected) => {
    expect(putImage(request, slot, "image:1", index, { kind: "depth" })).toEqual(expected);
  });
});

it("takes away with the image what needs it", () => {
  expect(removeImage({ image: "a", mask: "b" }, "image", 0)).toMatchObject({
    image: null,
    mask: null,
    outpaint: null,
  });
  expect(removeImage({ references: ["a", "b"] }, "references", 0)).toEqual({ references: ["b"] });
});

it("changes one control image", () => {
  const controls = [
    { kind: "canny", image: "a" },
    { kind: "pose", image: "b" },
  ];
  expect(changeControl({ controls }, 1, { preprocess: true }).controls).toEqual([
    controls[0],
    { kind: "pose", image: "b", preprocess: true },
  ]);
});

it("lists all images, and which the model takes", () => {
  const request = { image: "a", references: ["b"], controls: [{ kind: "pose", image: "c" }] };
  const listed = listImages(request, { image: {}, controls: {} });
  expect(listed.map(({ slot, image, isUsable }) => [slot, image, isUsable])).toEqual([
    ["image", "a", true],
    ["references", "b", false],
    ["controls", "c", true],
  ]);
});

it("offers a mask only where there is an image", () => {
  expect(openSlots({}, KNOWN)).toEqual(["image", "references", "controls"]);
  expect(openSlots({ image: "a" }, KNOWN)).toEqual(["mask", "references", "controls"]);
  expect(openSlots({}, {})).toEqual([]);
});

it("keeps the sides that are extended", () => {
  expect(setSide(null, "left", 64)).toEqual({ left: 64 });
  expect(setSide({ left: 64 }, "left", 0)).toBeNull();
  expect(setSide({ left: 64 }, "top", 10.4)).toEqual({ left: 64, top: 10 });
});

describe("images of requests", () => {
  const base = new URL("http://host/imagen/");
  const hash = "a".repeat(64);
  it.each([
    [libraryWord("9f.1"), "http://host/imagen/api/v1/images/9f.1/thumbnail?size=320", ""],
    [`blob:${hash}/my fox.png`, `http://host/imagen/api/v1/uploads/${hash}`, "my fox.png"],
    ["/etc/passwd", "", ""],
  ])("%s", (word, url, name) => {
    expect(imageUrl(base, word)).toBe(url);
    expect(imageName(word)).toBe(name);
  });
});

it("makes a new control image from a picture where the backend can", () => {
  const view = { controls: ["depth", "pose"], preprocessors: ["depth"] };
  const known = view as unknown as BackendCapabilitiesView;
  expect(newControl(known)).toEqual({ kind: "depth", preprocess: true });
  expect(newControl(known, "pose")).toEqual({ kind: "pose" });
  expect(newControl(null)).toEqual({ kind: "canny" });
});
