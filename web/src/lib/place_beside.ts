const GAP = 6;
const MARGIN = 8;

interface Box {
  width: number;
  height: number;
}

/**
 * Where a popover is beside its button: below it, or above it where there is more room; never
 * outside the window.
 */
export function placeBeside(
  button: { left: number; right: number; top: number; bottom: number },
  size: Box,
  view: Box,
  isRtl = false,
): { left: number; top: number; maxHeight: number } {
  const below = view.height - button.bottom - GAP - MARGIN;
  const above = button.top - GAP - MARGIN;
  const isBelow = size.height <= below || below >= above;
  const maxHeight = Math.max(80, isBelow ? below : above);
  const height = Math.min(size.height, maxHeight);
  const wanted = isRtl ? button.right - size.width : button.left;
  const left = Math.max(MARGIN, Math.min(wanted, view.width - size.width - MARGIN));
  const top = isBelow ? button.bottom + GAP : button.top - GAP - height;
  return { left, top, maxHeight };
}
