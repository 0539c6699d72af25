"""The folder of LoRAs, and the one that a name means."""

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

_ENDINGS = (".gguf", ".safetensors", ".pt")
_FEW = 8


def list_loras(folder: Path, endings: Sequence[str] = _ENDINGS) -> list[str]:
    """The names of all files of weights in a folder and below, with `/` between folders."""
    if not os.path.isdir(folder):
        return []
    found = (path for path in folder.rglob("*") if path.suffix.lower() in endings)
    return sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())


def lora_tags(loras: Iterable[Lora], folder: Path, family: str) -> str:
    """What the program reads in a prompt as these LoRAs: ` <lora:ink:0.8>`.

    It would leave out one that it can't find, and say that all went well: raises RequestError here
    instead.
    """
    return "".join(f" {_tag(lora, folder, family)}" for lora in loras)


def _tag(lora: Lora, folder: Path, family: str) -> str:
    name = match_lora(lora.name, list_loras(folder))
    if any(mark in name for mark in ":<>"):
        raise RequestError(
            f"The LoRA {one_line(name)!r} can't be asked for: its name holds one of : < >.",
            remedy="Give the file another name.",
        )
    _refuse_unfit(folder / name, family)
    return f"<lora:{name}:{lora.strength:g}>"


def match_lora(asked: str, there: Sequence[str]) -> str:
    """The one of these files that the name means, with or without folder and ending.

    Raises RequestError where there is none, or more than one.
    """
    wanted = asked.replace("\\", "/")
    found = [name for name in there if wanted in _names(name)]
    exact = [name for name in found if name == wanted]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if found:
        raise RequestError(f"There are several LoRAs {asked!r}: {', '.join(found)}. Name one.")
    known = [name.rpartition(".")[0] for name in there]
    listed = ", ".join(known[:_FEW]) + (", …" if len(known) > _FEW else "")
    raise RequestError(
        f"There is no LoRA {one_line(asked)!r}.{did_you_mean(asked, known)}",
        remedy=f"Known: {listed}." if known else "The folder of LoRAs holds none.",
    )


def _names(name: str) -> set[str]:
    last = name.rpartition("/")[2]
    return {name, last, name.rpartition(".")[0], last.rpartition(".")[0]}


def _refuse_unfit(path: Path, family: str) -> None:
    try:
        found = identify_model(path)
    except ConfigError as error:
        raise RequestError(f"loras: {error.message}", remedy=error.remedy) from error
    if found.role not in ("lora", "unknown"):
        raise RequestError(f"loras: {path.name} is no LoRA.")
    if found.family and family and found.family != family:
        raise RequestError(
            f"loras: {path.name} is made for {found.family}, and the model is {family}."
        )
