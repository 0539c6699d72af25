import { expect, test } from "vitest";

import { fieldsOf, filledValues, missingFields, startValues } from "./schema_form";

const SCALE = {
  properties: {
    factor: {
      anyOf: [{ exclusiveMinimum: 0, maximum: 16, type: "number" }, { type: "null" }],
      default: null,
      title: "Factor",
    },
    width: {
      anyOf: [{ maximum: 16384, minimum: 1, type: "integer" }, { type: "null" }],
      default: null,
      description: "Pixels.",
      title: "Width",
    },
    method: { default: "lanczos", enum: ["nearest", "lanczos"], title: "Method", type: "string" },
    expand: { default: true, title: "Expand", type: "boolean" },
    overlay: { title: "Overlay", type: "string" },
  },
  required: ["overlay"],
};

test("a schema becomes fields, in its order", () => {
  const fields = fieldsOf(SCALE);
  expect(fields.map(({ name, type }) => [name, type])).toEqual([
    ["factor", "number"],
    ["width", "integer"],
    ["method", "choice"],
    ["expand", "boolean"],
    ["overlay", "text"],
  ]);
  expect(fields[1]).toMatchObject({ min: 1, max: 16384, description: "Pixels.", default: null });
  expect(fields[2]?.choices).toEqual(["nearest", "lanczos"]);
  expect(fields[4]?.isRequired).toBe(true);
});

test("a form starts with the defaults, and sends what was filled in", () => {
  const fields = fieldsOf(SCALE);
  expect(startValues(fields)).toEqual({ method: "lanczos", expand: true });
  expect(filledValues({ factor: "", width: null, height: 0, expand: false })).toEqual({
    height: 0,
    expand: false,
  });
});

test("what is required and empty is missing", () => {
  const fields = fieldsOf(SCALE);
  expect(missingFields(fields, { overlay: "" })).toEqual(["overlay"]);
  expect(missingFields(fields, { overlay: "image:1" })).toEqual([]);
});

test("an operation without parameters has no fields", () => {
  expect(fieldsOf({ type: "object" })).toEqual([]);
});
