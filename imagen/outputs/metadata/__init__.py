"""Texts inside images of any kind we know: PNG, JPEG, WebP and AVIF, by their first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

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
"""By the ending of the file: `ImageFormat` of the settings."""
NAMES: Mapping[Kind, str] = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}
WANTED = (
    *("imagen", "parameters", "prompt", "invokeai_metadata", "sd-metadata", "Dream"),
    *("generation_data", "Comment", "Description", "Software", "Source", "comment"),
    *("negative_prompt", "seed", "num_inference_steps", "guidance_scale", "sampler_name"),
    *("width", "height", "use_stable_diffusion_model", "clip_skip"),
    *("Prompt", "Negative Prompt", "Seed", "Steps", "Guidance Scale", "Sampler", "Width"),
    *("Height", "Stable Diffusion model", "Clip Skip"),
)
"""Ours; the one that other tools read; the graph that ComfyUI writes; and what single tools write:
InvokeAI, TensorArt, NovelAI, and Easy Diffusion each value for itself. `comment` is what an EXIF
block says."""


def kind(data: bytes) -> Kind | None:
    """What the file says it is; None for all that can hold none of our texts."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def embed(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    """The picture with these texts in it, and a sentence where they are not, or not all of them.

    A file of another kind, or one that is damaged, comes back as it is: nothing is lost for a text.
    """
    try:
        return _embed(data, texts)
    except OutputError as error:
        return data, f"Nothing was written into the picture: {error.message}."


def strip_metadata(data: bytes) -> bytes:
    """The image alone: its pixels, colour profile and orientation, without a word.

    Raises OutputError for another kind of file, and for one that is damaged.
    """
    if form := _format(data):
        return form.strip_metadata(data)
    raise OutputError("it is not a PNG, JPEG, WebP or AVIF image")


def strip_gps(data: bytes) -> bytes:
    """The same file without the place on earth where it was taken; raises as `bare` does."""
    form = _format(data)
    return form.strip_gps(data) if form else data


def texts(
    data: bytes, wanted: Collection[str] = WANTED, *, largest: int | None = None
) -> dict[str, str]:
    """The texts that are wanted, by name.

    Raises OutputError for an image that is damaged, or holds a text of more bytes than `largest`.
    """
    found: Mapping[str, str] = {}
    match kind(data):
        case "png":
            from imagen.outputs.metadata import png

            found = png.texts(data, wanted, largest=largest or png.LARGEST_TEXT)
        case "jpeg":
            from imagen.outputs.metadata import jpeg

            found = jpeg.texts(data)
        case "webp":
            from imagen.outputs.metadata import webp

            found = webp.texts(data)
        case "avif":
            from imagen.outputs.metadata import avif

            found = avif.texts(data)
    found = {name: text for name, text in found.items() if name in wanted}
    for name, text in found.items():
        if largest is not None and len(text) > largest:
            raise OutputError(f"the text {name!r} in it is larger than {largest >> 20} MB")
    return found


def exif_block(data: bytes) -> bytes:
    """The EXIF block of the file; b"" where there is none. Raises OutputError for a damaged one."""
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
    """Width and height as the picture's header says; None where it does not."""
    try:
        form = _format(data)
        return form.size(data) if form else (None, None)
    except OutputError:
        return None, None


def _embed(data: bytes, texts: Mapping[str, str]) -> tuple[bytes, str]:
    match kind(data):
        case "png":
            from imagen.outputs.metadata import png

            return png.with_texts(data, texts), ""
        case "jpeg":
            from imagen.outputs.metadata import jpeg

            return jpeg.with_texts(data, texts)
        case "webp":
            from imagen.outputs.metadata import webp

            return webp.with_texts(data, texts)
        case "avif":
            from imagen.outputs.metadata import avif

            return avif.with_texts(data, texts)
    return data, ""


class _Format(Protocol):
    """What the module of each kind can do."""

    def strip_metadata(self, data: bytes) -> bytes: ...
    def exif_block(self, data: bytes) -> bytes: ...
    def size(self, data: bytes) -> tuple[int, int]: ...
    def strip_gps(self, data: bytes) -> bytes: ...


def _format(data: bytes) -> _Format | None:
    # Each run sees one kind; the code for the others stays unloaded.
    match kind(data):
        case "png":
            from imagen.outputs.metadata import png

            return png
        case "jpeg":
            from imagen.outputs.metadata import jpeg

            return jpeg
        case "webp":
            from imagen.outputs.metadata import webp

            return webp
        case "avif":
            from imagen.outputs.metadata import avif

            return avif
    return None
