import { expect, test } from "vitest";

import type { ShownImageView } from "../api/schema";
import { Formatter } from "../format";
import { describeCost } from "./facts";

function costOf(library: Partial<ShownImageView["library"]>, facts = {}): string {
  const none = { cost: null, estimated_cost: null, is_paid: null, source: "imagen" };
  const shown = { library: { ...none, ...library }, facts } as ShownImageView;
  return describeCost(shown, new Formatter("en"), (key) => key);
}

test.each([
  [{ is_paid: false }, {}, "viewer.free"],
  [{ is_paid: true, cost: 0.25 }, {}, "$0.25"],
  [{ is_paid: true }, { cost_usd: 0.5 }, "$0.50"],
  [{ is_paid: true }, {}, "viewer.priceUnknown"],
  [{ source: "import" }, {}, ""],
])("the cost of %o with the facts %o is %s", (library, facts, text) => {
  expect(costOf(library, facts)).toBe(text);
});
