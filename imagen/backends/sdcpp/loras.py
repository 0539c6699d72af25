"""LoRA files: list a folder, find the one that a name means, write prompt tags."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imagen.core.text import did_you_mean, one_line
from imagen.errors import ConfigError, RequestError
from imagen.model_files.identify import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from imagen.core.request import Lora

_SUFFIXES = (".gguf", ".safetensors", ".pt")
_MAX_LISTED = 8


def list_loras(folder: Path) -> list[str]:
    """The paths of all LoRA files below a folder, with `/` between folders."""
    if not os.path.isdir(folder):
        return []
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def match_lora(name: str, files: Sequence[str]) -> str:
    """The file that a name means, with or without folder and suffix.

    Raises RequestError for none, or several.
    """
    wanted = name.replace("\\", "/")
    if wanted in files:
        return wanted
    matches = []
    for file in files:
        base = file.rpartition("/")[2]
        if wanted in (base, file.rpartition(".")[0], base.rpartition(".")[0]):
            matches.append(file)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RequestError(f"LoRA {name!r} means several files: {', '.join(matches)}. Name one.")
    known = [file.rpartition(".")[0] for file in files]
    listed = ", ".join(known[:_MAX_LISTED]) + (", …" if len(known) > _MAX_LISTED else "")
    raise RequestError(
        f"Unknown LoRA {one_line(name)!r}.{did_you_mean(name, known)}",
        remedy=f"Known: {listed}." if known else "The folder of LoRAs is empty.",
    )


def lora_tags(loras: Iterable[Lora], folder: Path, family: str) -> str:
    """The tags with which a prompt requests these LoRAs: ` <lora:ink:0.8>`.

    sd-cli ignores a LoRA that it cannot find, and reports success: raises RequestError here
    instead.
    """
    files, tags = list_loras(folder), []
    for lora in loras:
        file = match_lora(lora.name, files)
        if any(mark in file for mark in ":<>"):
            raise RequestError(
                f"The LoRA {one_line(file)!r} cannot be used: its name holds one of : < >.",
                remedy="Rename the file.",
            )
        path = folder / file
        try:
            checkpoint = identify_model(path)
        except ConfigError as error:
            raise RequestError(f"loras: {error.message}", remedy=error.remedy) from error
        if checkpoint.role not in ("lora", "unknown"):
            raise RequestError(f"loras: {path.name} is not a LoRA.")
        if checkpoint.family and family and checkpoint.family != family:
            raise RequestError(
                f"loras: {path.name} is for {checkpoint.family}, but the model is {family}."
            )
        tags.append(f" <lora:{file}:{lora.strength:g}>")
    return "".join(tags)
