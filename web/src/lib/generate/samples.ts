import type { ParameterView } from "../api/schema";

/** A parameter of a model, for tests. */
export function parameter(values: Partial<ParameterView> = {}): ParameterView {
  return {
    type: "int",
    kind: "int",
    label: "Steps",
    group: "sampling",
    is_advanced: false,
    default: null,
    min: null,
    max: null,
    multiple_of: null,
    choices: null,
    models: [],
    unit: "",
    description: "",
    fields: {},
    ...values,
  };
}
