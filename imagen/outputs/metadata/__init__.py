"""Metadata inside image files: texts, EXIF and GPS in PNG, JPEG, WebP and AVIF.

Files are changed in place of decoding them: their pixels stay as they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

from imagen.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Kind = Literal["png", "jpeg", "webp", "avif"]
KINDS: Mapping[str, Kind] = {
    "png": "png",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "webp": "webp",
    "avif": "avif",
}
"""By file extension: `ImageFormat` in the settings."""
NAMES: Mapping[Kind, str] = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}
WANTED = (
    *("imagen", "parameters", "prompt", "invokeai_metadata", "sd-metadata", "Dream"),
    *("generation_data", "Comment", "Description", "Software", "Source", "comment"),
    *("negative_prompt", "seed", "num_inference_steps", "guidance_scale", "sampler_name"),
    *("width", "height", "use_stable_diffusion_model", "clip_skip"),
    *("Prompt", "Negative Prompt", "Seed", "Steps", "Guidance Scale", "Sampler", "Width"),
    *("Height", "Stable Diffusion model", "Clip Skip"),
)
"""The texts that say how an image was generated: imagen's own; A1111's parameters; ComfyUI's graph;
those of InvokeAI, TensorArt and NovelAI; Easy Diffusion's, one for each value. `comment` is the
user comment of an EXIF block."""
_LARGEST_TEXT = 16 * 2**20


class _MetadataFormat(Protocol):
    """What the module of each format provides."""

    def size(self, data: bytes) -> tuple[int, int]: ...
    def write_texts(self, data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]: ...
    def read_texts(
        self, data: bytes, wanted: Collection[str], largest: int
    ) -> Mapping[str, str]: ...
    def exif_block(self, data: bytes) -> bytes: ...
    def strip_metadata(self, data: bytes) -> bytes: ...
    def strip_gps(self, data: bytes) -> bytes: ...


def kind(data: bytes) -> Kind | None:
    """The format of the file, from its first bytes; None for all that cannot hold our texts."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _format(data: bytes) -> _MetadataFormat | None:
    # A run sees one format; the modules of the others are not loaded.
    name = kind(data)
    return name and cast("_MetadataFormat", import_module(f"imagen.outputs.metadata.{name}"))


def embed(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    """Write texts into the image; the sentence says what could not be written.

    A damaged file, and one of another format, is returned as it is.
    """
    try:
        form = _format(data)
        return form.write_texts(data, texts) if form else (data, "")
    except OutputError as error:
        return data, f"No metadata was written into the image: {error.message}."


def strip_metadata(data: bytes) -> bytes:
    """The image with its pixels, colour profile and orientation, and without any text.

    Raises OutputError for another format, and for a damaged file.
    """
    if form := _format(data):
        return form.strip_metadata(data)
    raise OutputError("it is not a PNG, JPEG, WebP or AVIF image")


def strip_gps(data: bytes) -> bytes:
    """The same file without the place where it was taken. Raises as `strip_metadata` does."""
    form = _format(data)
    return form.strip_gps(data) if form else data


def read_texts(
    data: bytes, wanted: Collection[str] = WANTED, *, largest: int | None = None
) -> dict[str, str]:
    """The wanted texts, by name.

    Raises OutputError for a damaged image, and for a text of more bytes than `largest`.
    """
    form = _format(data)
    found = form.read_texts(data, wanted, largest or _LARGEST_TEXT) if form else {}
    texts = {name: text for name, text in found.items() if name in wanted}
    for name, text in texts.items():
        if largest is not None and len(text) > largest:
            raise OutputError(f"the text {name!r} in it is larger than {largest >> 20} MB")
    return texts


def exif_block(data: bytes) -> bytes:
    """The EXIF block of the file; b"" if there is none. Raises OutputError for a damaged file."""
    form = _format(data)
    return form.exif_block(data) if form else b""


def capture_time(data: bytes) -> tuple[str, str]:
    """When a camera took the image, `2025:11:21 08:30:05`, and its time zone; "" is unknown."""
    from imagen.outputs.metadata import exif

    try:
        form = _format(data)
        return exif.capture_time(form.exif_block(data)) if form else ("", "")
    except OutputError:
        return "", ""


def size(data: bytes) -> tuple[int | None, int | None]:
    """Width and height from the header; None if they are unknown."""
    try:
        form = _format(data)
        return form.size(data) if form else (None, None)
    except OutputError:
        return None, None
