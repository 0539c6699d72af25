"""Finds the files of the LoRAs asked for, and sees that they are LoRAs for this model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.text import did_you_mean
from imagen.errors import ConfigError, RequestError
from imagen.model_files.identify import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagen.core.request import Lora

_SUFFIX = ".safetensors"


def located(loras: Sequence[Lora], folder: Path | None, family: str) -> list[tuple[Path, float]]:
    """The file and the strength of each.

    Raises RequestError where one isn't there, isn't whole, is none, or is for another family.
    """
    found = [(_path(lora.name, folder), lora.strength) for lora in loras]
    for path, _ in found:
        _refuse_other(path, family)
    return found


def shelf(folder: Path | None) -> list[Path]:
    """All files that may be LoRAs, in order."""
    return sorted(folder.expanduser().rglob(f"*{_SUFFIX}")) if folder is not None else []


def names(folder: Path | None) -> Iterable[str]:
    """What each file of the folder is called in a request."""
    base = folder.expanduser() if folder is not None else Path()
    return [path.relative_to(base).with_suffix("").as_posix() for path in shelf(folder)]


def _path(name: str, folder: Path | None) -> Path:
    for place in _places(name, folder):
        if os.path.isfile(place):
            return place
    if folder is None:
        raise RequestError(
            f"There is no LoRA file {name!r}.",
            remedy="Give its path, or set `loras_dir` to the folder with your LoRAs.",
        )
    known = list(names(folder))
    raise RequestError(
        f"There is no LoRA {name!r} in {folder}.{did_you_mean(name, known)}",
        remedy=f"There are: {', '.join(known)}." if known else "The folder has none.",
    )


def _places(name: str, folder: Path | None) -> Iterable[Path]:
    given = Path(name).expanduser()
    if folder is not None:
        yield folder.expanduser() / given
        yield folder.expanduser() / f"{name}{_SUFFIX}"
    yield given
    yield Path(f"{given}{_SUFFIX}")


def _refuse_other(path: Path, family: str) -> None:
    try:
        found = read_checkpoint(path)
    except ConfigError as error:
        raise RequestError(f"loras: {error.message}", remedy=error.remedy) from error
    if found.role != "lora":
        raise RequestError(f"loras: {path} is a {found.role}, not a LoRA.")
    if found.family not in ("", family):
        raise RequestError(f"loras: {path.name} is for {found.family}, and this model is {family}.")
