/** The rating that a star gives; an image with any rating is starred. */
export const STAR = 5;

export function isStarred(rating: number | null): boolean {
  return (rating ?? 0) > 0;
}
