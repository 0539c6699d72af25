/** A field of a form that is made from a JSON Schema of an object. */
export interface SchemaField {
  name: string;
  label: string;
  description: string;
  type: "number" | "integer" | "boolean" | "choice" | "text";
  isRequired: boolean;
  default: unknown;
  min?: number;
  max?: number;
  choices: string[];
}

interface Rule {
  type?: string;
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  anyOf?: Rule[];
}

const TYPES: Record<string, SchemaField["type"]> = {
  number: "number",
  integer: "integer",
  boolean: "boolean",
};

/** The fields of an operation's parameters, in the order of the schema. */
export function fieldsOf(schema: Record<string, unknown>): SchemaField[] {
  const properties = (schema.properties ?? {}) as Record<string, Rule>;
  const required = new Set((schema.required ?? []) as string[]);
  return Object.entries(properties).map(([name, rule]) => {
    const variant = rule.anyOf?.find((one) => one.type !== "null");
    const { type, minimum, maximum, enum: choices } = { ...rule, ...variant };
    const field: SchemaField = {
      name,
      label: rule.title ?? name,
      description: rule.description ?? variant?.description ?? "",
      type: choices ? "choice" : (TYPES[type ?? ""] ?? "text"),
      isRequired: required.has(name),
      default: rule.default ?? null,
      choices: (choices ?? []).map(String),
    };
    if (minimum !== undefined) field.min = minimum;
    if (maximum !== undefined) field.max = maximum;
    return field;
  });
}

/** The values that the fields have at first. */
export function startValues(fields: readonly SchemaField[]): Record<string, unknown> {
  return Object.fromEntries(
    fields.filter((field) => field.default !== null).map((field) => [field.name, field.default]),
  );
}

/** The parameters to send: without those that were left empty. */
export function filledValues(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).filter(
      ([, value]) => value !== "" && value !== null && value !== undefined,
    ),
  );
}

/** The names of required fields without a value. */
export function missingFields(
  fields: readonly SchemaField[],
  values: Record<string, unknown>,
): string[] {
  const filled = filledValues(values);
  return fields
    .filter((field) => field.isRequired && !(field.name in filled))
    .map((field) => field.name);
}
