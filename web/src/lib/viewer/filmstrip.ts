/** A thumbnail of the filmstrip. */
export interface FilmFrame {
  /** Its place in the index. */
  at: number;
  width: number;
}

export const FILM_HEIGHT = 64;
const NARROWEST = 44;
const WIDEST = 96;
/** How many thumbnails there are on each side of the current one. */
const REACH = 20;

export function frameWidth(width: number, height: number): number {
  if (width <= 0 || height <= 0) return FILM_HEIGHT;
  return Math.round(Math.min(WIDEST, Math.max(NARROWEST, (FILM_HEIGHT * width) / height)));
}

/** The thumbnails near the current image, in order. */
export function framesNear(
  current: number,
  widths: ArrayLike<number>,
  heights: ArrayLike<number>,
  reach = REACH,
): FilmFrame[] {
  if (current < 0) return [];
  const first = Math.max(0, current - reach);
  const end = Math.min(widths.length, current + reach + 1);
  return Array.from({ length: Math.max(0, end - first) }, (_, k) => ({
    at: first + k,
    width: frameWidth(widths[first + k] ?? 0, heights[first + k] ?? 0),
  }));
}
