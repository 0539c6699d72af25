import { type GestureHandlers, listen } from "../gestures";
import {
  FITTED,
  type Frame,
  isZoomed,
  pan,
  type Point,
  toggleZoom,
  type View,
  wheelFactor,
  zoomAt,
} from "./zoom";

export interface Zoomed {
  view: () => View;
  limits: () => Frame;
  show: (view: View, isSmooth?: boolean) => void;
}

/** Let fingers, the mouse and the wheel zoom and move what an element shows.
 *
 * `others` are for what they do besides: drags and swipes where nothing is magnified.
 * Returns what ends it.
 */
export function followZoom(
  element: HTMLElement,
  { view, limits, show }: Zoomed,
  others: GestureHandlers,
): () => void {
  const fromMiddle = (at: Point): Point => {
    const rect = element.getBoundingClientRect();
    return { x: at.x - rect.left - rect.width / 2, y: at.y - rect.top - rect.height / 2 };
  };
  const stop = listen(element, {
    ...others,
    doubleTap: (tap) => show(toggleZoom(view(), fromMiddle(tap), limits()), true),
    drag(drag) {
      if (isZoomed(view())) show(pan(view(), drag.dx, drag.dy, limits()));
      else others.drag?.(drag);
    },
    swipe(...swipe) {
      if (!isZoomed(view())) others.swipe?.(...swipe);
    },
    pinch(pinch) {
      const { scale, x, y } = view();
      const moved = { scale, x: x + pinch.dx, y: y + pinch.dy };
      show(zoomAt(moved, pinch.factor, fromMiddle(pinch), limits()));
    },
    pinchEnd() {
      if (!isZoomed(view())) show(FITTED, true);
    },
  });
  const wheel = (event: WheelEvent): void => {
    event.preventDefault();
    const factor = wheelFactor(event.deltaY, event.deltaMode);
    const at = fromMiddle({ x: event.clientX, y: event.clientY });
    show(zoomAt(view(), factor, at, limits()));
  };
  element.addEventListener("wheel", wheel, { passive: false });
  return () => {
    stop();
    element.removeEventListener("wheel", wheel);
  };
}
