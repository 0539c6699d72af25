/** What a pointer did: the parts of a PointerEvent that gestures are made of. */
export interface PointerSample {
  pointerId: number;
  pointerType: string;
  clientX: number;
  clientY: number;
  /** In milliseconds. */
  timeStamp: number;
}

export interface Point {
  x: number;
  y: number;
}

export interface Tap extends Point {
  pointerType: string;
}

/** A pointer that moves while it is down. */
export interface Drag extends Point {
  pointerType: string;
  /** Since the last report. */
  dx: number;
  dy: number;
  /** Since the pointer went down. */
  totalX: number;
  totalY: number;
}

/** The end of a drag. */
export interface DragEnd {
  totalX: number;
  totalY: number;
  /** In pixels a millisecond, over the last 100 ms. */
  velocityX: number;
  velocityY: number;
  /** True if the browser or a second finger took over: undo what the drag began. */
  isCancelled: boolean;
}

/** Two fingers that move. */
export interface Pinch extends Point {
  /** Since the last report: 1.1 is 10 % further apart. */
  factor: number;
  /** Since the second finger went down. */
  scale: number;
  /** How far the middle between them (`x`, `y`) moved since the last report. */
  dx: number;
  dy: number;
}

export type Direction = "left" | "right" | "up" | "down";

/** Who wants to know of which gesture. All points are of the viewport, as `clientX` is. */
export interface GestureHandlers {
  /** With `doubleTap`, a tap is reported when it is clear that no second one follows. */
  tap?(tap: Tap): void;
  doubleTap?(tap: Tap): void;
  /** Reported while the pointer is still down; no tap or drag follows. */
  longPress?(tap: Tap): void;
  drag?(drag: Drag): void;
  dragEnd?(end: DragEnd): void;
  /** A quick or long drag along one axis with a finger or a pen, after `dragEnd`. */
  swipe?(direction: Direction): void;
  pinch?(pinch: Pinch): void;
  pinchEnd?(): void;
}

export interface GestureOptions {
  /** The width of the screen: drags of fingers that start at its edges are the browser's. */
  width?: () => number;
  /** The largest number of milliseconds between the taps of a double tap. */
  doubleTapAfter?: number;
}

/** At the left and right edge of the screen, where the browser's own back gesture starts. */
export const EDGE = 24;
const SLOP = 10;
const LONG_PRESS_AFTER = 500;
const DOUBLE_TAP_AFTER = 280;
const DOUBLE_TAP_RADIUS = 40;
const SWIPE_VELOCITY = 0.35;
const SWIPE_DISTANCE = 120;
const SWIPE_MINIMUM = 24;
const VELOCITY_SPAN = 100;

interface Pointer {
  start: PointerSample;
  last: PointerSample;
  recent: PointerSample[];
}

type Mode = "idle" | "pressed" | "dragging" | "pinching" | "ignored";

/** Makes gestures of pointers. It knows no DOM: `listen` connects it to an element. */
export class GestureRecognizer {
  #pointers = new Map<number, Pointer>();
  #mode: Mode = "idle";
  #pressTimer: ReturnType<typeof setTimeout> | undefined;
  #tapTimer: ReturnType<typeof setTimeout> | undefined;
  #lastTap: PointerSample | null = null;
  #pinchStart = 0;
  #pinchLast: Point & { distance: number } = { x: 0, y: 0, distance: 0 };
  /** After a pinch the finger that is left pans, but does not swipe or tap. */
  #wasPinching = false;

  constructor(
    private readonly handlers: GestureHandlers,
    private readonly options: GestureOptions = {},
  ) {}

  down(sample: PointerSample): void {
    this.#pointers.set(sample.pointerId, { start: sample, last: sample, recent: [sample] });
    if (this.#pointers.size === 1) {
      this.#wasPinching = false;
      this.#mode = "pressed";
      if (this.handlers.longPress) {
        this.#pressTimer = setTimeout(() => this.#press(sample), LONG_PRESS_AFTER);
      }
    } else if (this.#pointers.size === 2 && this.handlers.pinch && this.#mode !== "ignored") {
      if (this.#mode === "dragging") this.#endDrag(this.#first(), true);
      this.#startPinch();
    } else {
      this.#ignore();
    }
  }

  move(sample: PointerSample): void {
    const pointer = this.#pointers.get(sample.pointerId);
    if (!pointer) return;
    const before = pointer.last;
    pointer.last = sample;
    pointer.recent.push(sample);
    pointer.recent = pointer.recent.filter(
      (one) => sample.timeStamp - one.timeStamp <= VELOCITY_SPAN,
    );
    if (this.#mode === "pinching") this.#pinch();
    else if (this.#mode === "dragging") this.#drag(pointer, before);
    else if (this.#mode === "pressed" && distance(pointer.start, sample) > SLOP) {
      clearTimeout(this.#pressTimer);
      if (this.#isAtEdge(pointer.start)) {
        this.#mode = "ignored";
      } else {
        this.#mode = "dragging";
        this.#drag(pointer, pointer.start);
      }
    }
  }

  up(sample: PointerSample): void {
    this.move(sample);
    this.#leave(sample, false);
  }

  /** The browser took the pointer, to scroll for example. */
  cancel(sample: PointerSample): void {
    this.#leave(sample, true);
  }

  /** Forget the pointers and taps. */
  reset(): void {
    clearTimeout(this.#tapTimer);
    this.#ignore();
    this.#pointers.clear();
    this.#lastTap = null;
    this.#mode = "idle";
  }

  #leave(sample: PointerSample, isCancelled: boolean): void {
    const pointer = this.#pointers.get(sample.pointerId);
    if (!pointer) return;
    clearTimeout(this.#pressTimer);
    this.#pointers.delete(sample.pointerId);
    if (this.#mode === "pinching") {
      this.handlers.pinchEnd?.();
      this.#wasPinching = true;
      this.#continueAfterPinch();
      return;
    }
    if (this.#mode === "dragging") this.#endDrag(pointer, isCancelled);
    else if (this.#mode === "pressed" && !isCancelled && !this.#wasPinching) this.#tap(sample);
    if (this.#pointers.size === 0) this.#mode = "idle";
  }

  #press(sample: PointerSample): void {
    this.#mode = "ignored";
    this.handlers.longPress?.(tapAt(sample));
  }

  #ignore(): void {
    clearTimeout(this.#pressTimer);
    if (this.#mode === "dragging") this.#endDrag(this.#first(), true);
    if (this.#mode === "pinching") this.handlers.pinchEnd?.();
    this.#mode = "ignored";
  }

  #tap(sample: PointerSample): void {
    const { doubleTap, tap } = this.handlers;
    if (!doubleTap) {
      tap?.call(this.handlers, tapAt(sample));
      return;
    }
    const before = this.#lastTap;
    const span = this.options.doubleTapAfter ?? DOUBLE_TAP_AFTER;
    clearTimeout(this.#tapTimer);
    if (
      before &&
      sample.timeStamp - before.timeStamp <= span &&
      distance(before, sample) <= DOUBLE_TAP_RADIUS
    ) {
      this.#lastTap = null;
      doubleTap.call(this.handlers, tapAt(sample));
      return;
    }
    this.#lastTap = sample;
    this.#tapTimer = setTimeout(() => {
      this.#lastTap = null;
      this.handlers.tap?.(tapAt(sample));
    }, span);
  }

  #drag(pointer: Pointer, before: PointerSample): void {
    const { start, last } = pointer;
    this.handlers.drag?.({
      ...tapAt(last),
      dx: last.clientX - before.clientX,
      dy: last.clientY - before.clientY,
      totalX: last.clientX - start.clientX,
      totalY: last.clientY - start.clientY,
    });
  }

  #endDrag(pointer: Pointer, isCancelled: boolean): void {
    const { start, last, recent } = pointer;
    const oldest = recent[0] ?? last;
    const span = Math.max(1, last.timeStamp - oldest.timeStamp);
    const end: DragEnd = {
      totalX: last.clientX - start.clientX,
      totalY: last.clientY - start.clientY,
      velocityX: (last.clientX - oldest.clientX) / span,
      velocityY: (last.clientY - oldest.clientY) / span,
      isCancelled,
    };
    this.handlers.dragEnd?.(end);
    if (isCancelled || this.#wasPinching || last.pointerType === "mouse") return;
    const direction = directionOf(end);
    if (direction) this.handlers.swipe?.(direction);
  }

  #startPinch(): void {
    clearTimeout(this.#pressTimer);
    this.#mode = "pinching";
    this.#pinchLast = this.#middle();
    this.#pinchStart = this.#pinchLast.distance;
  }

  #pinch(): void {
    const before = this.#pinchLast;
    const now = (this.#pinchLast = this.#middle());
    this.handlers.pinch?.({
      x: now.x,
      y: now.y,
      factor: now.distance / before.distance,
      scale: now.distance / this.#pinchStart,
      dx: now.x - before.x,
      dy: now.y - before.y,
    });
  }

  #continueAfterPinch(): void {
    const [left] = this.#pointers.values();
    if (!left) {
      this.#mode = "idle";
      return;
    }
    left.start = left.last;
    left.recent = [left.last];
    this.#mode = "pressed";
  }

  #middle(): Point & { distance: number } {
    const [a, b] = [...this.#pointers.values()].map((pointer) => pointer.last);
    if (!a || !b) return this.#pinchLast;
    return {
      x: (a.clientX + b.clientX) / 2,
      y: (a.clientY + b.clientY) / 2,
      distance: Math.max(1, distance(a, b)),
    };
  }

  #first(): Pointer {
    const [first] = this.#pointers.values();
    return first as Pointer;
  }

  #isAtEdge(sample: PointerSample): boolean {
    const width = this.options.width?.();
    if (width === undefined || sample.pointerType === "mouse") return false;
    return sample.clientX < EDGE || sample.clientX > width - EDGE;
  }
}

/** Report the gestures on an element until the returned function is called.
 *
 * What the browser does itself there is a matter of CSS: `touch-action: none` leaves everything to
 * the handlers, `pan-y` all but scrolling.
 */
export function listen(
  element: HTMLElement,
  handlers: GestureHandlers,
  options: GestureOptions = { width: () => innerWidth },
): () => void {
  const recognizer = new GestureRecognizer(handlers, options);
  const abort = new AbortController();
  const { signal } = abort;
  element.addEventListener(
    "pointerdown",
    (event) => {
      if (event.button !== 0) return;
      recognizer.down(event);
    },
    { signal },
  );
  // A pointer may leave the element while it is down.
  addEventListener("pointermove", (event) => recognizer.move(event), { signal });
  addEventListener("pointerup", (event) => recognizer.up(event), { signal });
  addEventListener("pointercancel", (event) => recognizer.cancel(event), { signal });
  if (handlers.pinch) {
    // Where one finger scrolls, two must not begin to.
    const keep = (event: TouchEvent): void => {
      if (event.touches.length > 1 && event.cancelable) event.preventDefault();
    };
    element.addEventListener("touchstart", keep, { signal, passive: false });
  }
  return () => {
    recognizer.reset();
    abort.abort();
  };
}

function tapAt(sample: PointerSample): Tap {
  return { x: sample.clientX, y: sample.clientY, pointerType: sample.pointerType };
}

function distance(a: PointerSample, b: PointerSample): number {
  return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
}

/** Where a drag went if it was a swipe: fast or far, and clearly along one axis. */
function directionOf(end: DragEnd): Direction | null {
  const isSideways = Math.abs(end.totalX) > Math.abs(end.totalY);
  const total = isSideways ? end.totalX : end.totalY;
  const other = isSideways ? end.totalY : end.totalX;
  const velocity = isSideways ? end.velocityX : end.velocityY;
  if (Math.abs(total) < SWIPE_MINIMUM || Math.abs(total) < 1.5 * Math.abs(other)) return null;
  const isFast = Math.abs(velocity) >= SWIPE_VELOCITY && Math.sign(velocity) === Math.sign(total);
  const isBack = Math.sign(velocity) === -Math.sign(total) && Math.abs(velocity) > 0.1;
  if (!isFast && (Math.abs(total) < SWIPE_DISTANCE || isBack)) return null;
  if (isSideways) return total > 0 ? "right" : "left";
  return total > 0 ? "down" : "up";
}
