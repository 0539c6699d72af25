"""Where pictures are read and put on the shelf, and notes kept of what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import ImageOps
from PIL.Image import Resampling

from imagen.inputs.cache import cache_image
from imagen.inputs.decode import as_png_file, decode_file, describe_input, flatten

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from imagen.core.capabilities import Receipt
    from imagen.core.ticket import InputImage
    from imagen.inputs.decode import DecodedImage


class InputPreparation:
    """The pictures of one request, in the making."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.receipt: Receipt = {}
        self.warnings: list[str] = []
        self.inputs: list[InputImage] = []

    def read(self, path: str, parameter: str) -> DecodedImage:
        """The picture in this file, which is noted as the parameter's."""
        file = decode_file(path, parameter)
        self.warnings += file.warnings
        self.note(file, parameter)
        return file

    def note(self, file: DecodedImage, parameter: str) -> None:
        """That the user gave this file."""
        self.inputs.append(describe_input(file, parameter))

    def opaque(self, file: DecodedImage, parameter: str, colour: str = "white") -> Image.Image:
        """The picture with this colour behind it where it is transparent, which is told."""
        if file.is_transparent:
            self.warnings.append(
                f"{parameter}: {file.source.name} is transparent in part; {colour} was put behind."
            )
        return flatten(file.image, colour)

    def keep(self, file: DecodedImage, image: Image.Image) -> str:
        """Where this picture lies now: the file's own bytes, if they show just this."""
        if image is file.image and file.is_untouched:
            return self.shelve(file.source.data, file.source.name)
        ready = as_png_file(image, file.source.name)
        return self.shelve(ready.data, ready.name)

    def shelve(self, data: bytes, name: str) -> str:
        return str(cache_image(data, name, self._folder))


def covering(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scaled to cover this size, and cropped around its centre."""
    return image if image.size == size else ImageOps.fit(image, size, Resampling.LANCZOS)
