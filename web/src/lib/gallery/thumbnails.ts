/** The size of thumbnail, of those that the server has, that is sharp enough for a tile. */
export function thumbnailSize(
  tile: { width: number; height: number },
  isSquare: boolean,
  ratio: number,
  pixelRatio: number,
): 320 | 640 {
  // The size is that of the longer side; a square tile shows the shorter one whole.
  const longer = isSquare
    ? tile.width * Math.max(ratio, 1 / ratio)
    : Math.max(tile.width, tile.height);
  return longer * pixelRatio > 320 * 1.1 ? 640 : 320;
}
