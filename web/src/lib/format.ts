/** Numbers, times and sizes as a language writes them. */
export class Formatter {
  constructor(readonly locale: string) {}

  number(value: number, options: Intl.NumberFormatOptions = {}): string {
    return new Intl.NumberFormat(this.locale, options).format(value);
  }

  /** US dollars: two digits, or three below 10 cents, where two would hide the difference. */
  usd(value: number): string {
    const digits = value !== 0 && Math.abs(value) < 0.1 ? 3 : 2;
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return this.number(value, { style: "currency", currency: "USD", ...options });
  }

  bytes(value: number): string {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;
    const step = value < 1 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
    const options = { style: "unit", unit: units[step] ?? "byte", unitDisplay: "short" } as const;
    const maximumFractionDigits = step < 2 ? 0 : 1;
    return this.number(value / 1000 ** step, { ...options, maximumFractionDigits });
  }

  /** A duration in its largest unit or two: `8 s`, `1 min 20 s`, `2 h 5 min`. */
  duration(seconds: number): string {
    const unit = (value: number, name: string, digits = 0): string =>
      this.number(value, {
        style: "unit",
        unit: name,
        unitDisplay: "short",
        maximumFractionDigits: digits,
      });
    if (seconds < 60) return unit(seconds, "second", seconds < 9.95 ? 1 : 0);
    const whole = Math.round(seconds);
    const [first, second, large, small] =
      whole < 3600
        ? [Math.floor(whole / 60), whole % 60, "minute", "second"]
        : [Math.floor(whole / 3600), Math.round((whole % 3600) / 60), "hour", "minute"];
    const head = unit(first as number, large as string);
    return second ? `${head} ${unit(second as number, small as string)}` : head;
  }

  date(value: Date, options: Intl.DateTimeFormatOptions = { dateStyle: "medium" }): string {
    return new Intl.DateTimeFormat(this.locale, options).format(value);
  }

  percent(share: number): string {
    return this.number(share, { style: "percent", maximumFractionDigits: 0 });
  }
}
