"""What a run that is over adds: the versions that made it, and how like the old picture it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from imagen.core.filesystem import file_sha256
from imagen.core.image_file import DECODE_ERRORS, open_image
from imagen.outputs.provenance import backend_kind, find_provenance
from imagen.reproduce.drift import same_model
from imagen.reproduce.drifts import Drift

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from imagen.core.result import Facts
    from imagen.outputs import ImageRecord

_VERSIONS = {
    "server_version": "the server's version",
    "diffusers": "diffusers",
    "torch": "torch",
    "version": "version",
    "model_version": "the model's version",
    "device": "device",
    "dtype": "dtype",
    "offload": "offload",
}
"""Of what an engine tells, what bears on the picture."""
_LOSSY = ("JPEG", "WEBP", "AVIF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How a picture that was made again compares to the old one."""

    identical: Literal["file", "pixels", ""]
    """Whether byte for byte, or only once decoded; "" for another picture."""
    difference: float
    """Of a channel of a pixel on average, 0 to 1; 1 where the sizes differ."""
    format: str = ""
    """Pillow's name for the old file's, where it may have lost a little and the new one not."""

    @property
    def sentence(self) -> str:
        if self.identical == "file":
            return "It is the same file, byte for byte."
        if self.identical == "pixels":
            return "Its pixels are the same as they were."
        share = f"{self.difference:.2%}" if self.difference >= 0.0001 else "less than 0.01%"
        sentence = f"Its pixels are not the same: they differ by {share} on average."
        lossy = f" The old file is in {self.format}, which does not keep every pixel exactly."
        return sentence + (lossy if self.format else "")


def seen(record: ImageRecord, facts: Facts, kind: str, before: Sequence[Drift]) -> list[Drift]:
    """What the facts of the run show to be other than then, that was not foreseen."""
    told = {(one.what, one.name) for one in before}
    found = [*_model(record, facts), *_versions(record, facts, kind)]
    return [one for one in found if (one.what, one.name) not in told]


def _model(record: ImageRecord, facts: Facts) -> Iterator[Drift]:
    then = next(iter(find_provenance(record).models), "")
    if then and facts.model and not same_model(then, facts.model):
        yield Drift(what="model", name="model", then=then, now=facts.model)


def _versions(record: ImageRecord, facts: Facts, kind: str) -> Iterator[Drift]:
    told = record.facts.get("engine")
    then: Mapping[str, Any] = told if isinstance(told, dict) else {}
    if backend_kind(record) != kind:
        return
    for key, name in _VERSIONS.items():
        old, new = then.get(key), facts.engine.get(key)
        if old and new and old != new:
            yield Drift(what="version", name=name, then=old, now=new)


def likeness(old: Path, new: Path) -> Likeness | None:
    """Compare two files; None where one of them can't be read, or is no picture."""
    try:
        if file_sha256(old) == file_sha256(new):
            return Likeness(identical="file", difference=0.0)
        with open_image(old) as first, open_image(new) as second:
            return _decoded(first, second)
    except DECODE_ERRORS:
        return None


def _decoded(old: Image.Image, new: Image.Image) -> Likeness:
    from PIL import ImageChops, ImageStat

    if old.size != new.size:
        return Likeness(identical="", difference=1.0)
    if old.mode == new.mode and old.tobytes() == new.tobytes():
        return Likeness(identical="pixels", difference=0.0)
    format = old.format or ""
    is_lossy = format in _LOSSY and format != new.format
    mode = "RGBA" if "A" in (*old.getbands(), *new.getbands()) else "RGB"
    apart = ImageChops.difference(old.convert(mode), new.convert(mode))
    means = ImageStat.Stat(apart).mean
    difference = sum(means) / len(means) / 255
    return Likeness(identical="", difference=difference, format=format if is_lossy else "")
