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
    // The symbols are the same in all languages; Intl writes "sec" for English.
    const unit = (value: number, symbol: string, digits = 0): string =>
      `${this.number(value, { maximumFractionDigits: digits })}\u00a0${symbol}`;
    if (seconds > 0 && seconds < 0.05) return `< ${unit(0.1, "s", 1)}`;
    if (seconds < 59.5) return unit(seconds, "s", seconds < 9.95 ? 1 : 0);
    const whole = seconds < 3599.5 ? Math.round(seconds) : Math.round(seconds / 60);
    const [large, small] = seconds < 3599.5 ? ["min", "s"] : ["h", "min"];
    const rest = whole % 60;
    const head = unit(Math.floor(whole / 60), large as string);
    return rest ? `${head} ${unit(rest, small as string)}` : head;
  }

  date(value: Date, options: Intl.DateTimeFormatOptions = { dateStyle: "medium" }): string {
    return new Intl.DateTimeFormat(this.locale, options).format(value);
  }

  percent(share: number): string {
    return this.number(share, { style: "percent", maximumFractionDigits: 0 });
  }
}
