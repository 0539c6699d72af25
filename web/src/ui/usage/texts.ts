import type { UsageSumsView } from "$lib/api/schema";
import { type Measure } from "$lib/usage/chart";
import type { Period } from "$lib/usage/period";
import { costOf } from "$lib/usage/table";
import { format, t } from "$ui/app.svelte";

/** A sum of money; of less than a cent, as many digits as tell something. */
export function money(amount: number, currency: string): string {
  const size = Math.abs(amount);
  const digits = size === 0 || size >= 0.1 ? 2 : size >= 0.01 ? 3 : 4;
  const options = { minimumFractionDigits: 2, maximumFractionDigits: digits };
  return format().number(amount, { style: "currency", currency, ...options });
}

/** What something cost, in all its currencies; unknown is said, never counted as nothing. */
export function costText(sums: UsageSumsView): string {
  const cost = costOf(sums);
  if (cost.kind === "free") return t("usage.free");
  if (cost.kind === "unknown") return t("usage.unknown");
  const known = sums.costs
    .filter((one) => one.amount > 0)
    .map((one) => money(one.amount, one.currency))
    .join(" + ");
  return cost.isWhole ? known : t("usage.plusUnknown", { cost: known, count: sums.unknown });
}

export function measureText(value: number, measure: Measure, currency: string): string {
  if (measure === "cost") return money(value, currency);
  if (measure === "time") return format().duration(value);
  return t("usage.imageCount", { count: value });
}

/** A day or a month of a chart; the server's days are no moments of any time zone. */
export function stepText(key: string, options: Intl.DateTimeFormatOptions): string {
  const [year = 0, month = 1, day = 1] = key.split("-").map(Number);
  return format().date(new Date(year, month - 1, day), options);
}

export function periodText(period: Period): string {
  if (period.kind === "all") return t("usage.all");
  if (period.kind === "days") return t("usage.days", { days: Number.parseInt(period.name, 10) });
  if (period.kind === "year") return period.name;
  const isThisYear = period.name.startsWith(String(new Date().getFullYear()));
  return stepText(period.name, isThisYear ? { month: "long" } : { month: "long", year: "numeric" });
}
