import { Observable } from "./observable";

export interface Toast {
  text: string;
  action?: { label: string; run: () => void };
}

const SECONDS = 5;
const SECONDS_WITH_ACTION = 10;

/** The one short message at the bottom of the page. */
export class Toasts extends Observable {
  current: Toast | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  show(text: string, action?: Toast["action"]): void {
    this.current = action ? { text, action } : { text };
    this.resume();
    this.changed();
  }

  dismiss(): void {
    clearTimeout(this.#timer);
    this.current = null;
    this.changed();
  }

  /** Stay as long as the toast has the focus or the pointer. */
  pause(): void {
    clearTimeout(this.#timer);
  }

  resume(): void {
    clearTimeout(this.#timer);
    const seconds = this.current?.action ? SECONDS_WITH_ACTION : SECONDS;
    this.#timer = setTimeout(() => this.dismiss(), seconds * 1000);
  }
}
