/** A length in two directions, in CSS pixels. */
export interface Size {
  width: number;
  height: number;
}

export interface Point {
  x: number;
  y: number;
}

/** What is seen of an image: scale 1 is the whole image, x and y move its middle. */
export interface View extends Point {
  scale: number;
}

/** The image, and the stage that it is shown on. */
export interface Frame {
  /** The image as it is fitted into the stage. */
  box: Size;
  stage: Size;
  /** The largest scale. */
  most: number;
}

export const FITTED: View = { scale: 1, x: 0, y: 0 };
/** How much a step of the buttons and keys magnifies. */
export const STEP = 1.5;
/** Small images are not shown larger than this, in pixels of the screen for one of theirs. */
const LARGEST_FIT = 2;
/** Zooming ends where a pixel of the image is this large. */
const LARGEST_PIXEL = 8;
const DOUBLE_TAP = 2.5;

/** The image as large as it fits into the stage. */
export function fit(image: Size, stage: Size): Size {
  if (image.width <= 0 || image.height <= 0) return { ...stage };
  const scale = Math.min(stage.width / image.width, stage.height / image.height, LARGEST_FIT);
  return { width: image.width * scale, height: image.height * scale };
}

export function frame(image: Size, stage: Size): Frame {
  const box = fit(image, stage);
  const pixel = image.width > 0 ? box.width / image.width : 1;
  return { box, stage, most: Math.max(DOUBLE_TAP, LARGEST_PIXEL / pixel) };
}

/** The nearest view within the limits: no smaller than fitted, and no gap beside a larger image. */
export function clampView(view: View, { box, stage, most }: Frame): View {
  const scale = Math.min(most, Math.max(1, view.scale));
  const slack = (side: "width" | "height"): number =>
    Math.max(0, (box[side] * scale - stage[side]) / 2);
  const limit = (value: number, by: number): number => Math.min(by, Math.max(-by, value)) || 0;
  return { scale, x: limit(view.x, slack("width")), y: limit(view.y, slack("height")) };
}

/** Magnify by `factor`, keeping what is at `point`, measured from the middle of the stage. */
export function zoomAt(view: View, factor: number, point: Point, limits: Frame): View {
  const scale = Math.min(limits.most, Math.max(1, view.scale * factor));
  const by = scale / view.scale;
  return clampView(
    { scale, x: point.x - (point.x - view.x) * by, y: point.y - (point.y - view.y) * by },
    limits,
  );
}

export function pan(view: View, dx: number, dy: number, limits: Frame): View {
  return clampView({ ...view, x: view.x + dx, y: view.y + dy }, limits);
}

export function isZoomed(view: View): boolean {
  return view.scale > 1.01;
}

/** What a double tap does: magnify what is there, or show the whole image again. */
export function toggleZoom(view: View, point: Point, limits: Frame): View {
  if (isZoomed(view)) return FITTED;
  const pixel = limits.most / LARGEST_PIXEL;
  return zoomAt(view, Math.max(DOUBLE_TAP, Math.min(pixel, 4)), point, limits);
}

/** The factor of a turn of the wheel: `deltaY` of a WheelEvent, which `deltaMode` measures. */
export function wheelFactor(deltaY: number, deltaMode: number): number {
  const pixels = deltaMode === 1 ? deltaY * 16 : deltaMode === 2 ? deltaY * 400 : deltaY;
  return Math.exp(-Math.max(-200, Math.min(200, pixels)) / 300);
}

/** The size of a pixel of the image on the screen: 1 is 100 %. */
export function magnification(view: View, image: Size, box: Size): number {
  return image.width > 0 ? (box.width * view.scale) / image.width : view.scale;
}
