"""Finds the pictures again that a sidecar knows by name and hash."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.errors import RequestError
from imagen.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imagen.request import Request


def found_again(
    request: Request,
    inputs: Iterable[Mapping[str, Any]],
    beside: Path,
    also: Sequence[Path] = (),
) -> Request:
    """The request of a sidecar, with the paths of its pictures in place of their names.

    Each is looked for by name in the folder `beside`, where the sidecar lies, and in the working
    directory, then among the files `also`, and must have the same hash. `inputs` are as the
    sidecar's JSON has them. Raises RequestError naming the picture that is not there, or has
    changed.
    """
    values: dict[str, Any] = {}
    for known in inputs:
        parameter, name, hash = (_text(known, key) for key in ("parameter", "name", "sha256"))
        _put(values, request, parameter, _path(parameter, name, hash, beside, also))
    return request.with_values(values) if values else request


def _text(known: Mapping[str, Any], key: str) -> str:
    value = known.get(key)
    if not isinstance(value, str):
        raise RequestError(f"inputs: an entry has no {key}: {one_line(repr(known), limit=80)}.")
    return value


def _path(parameter: str, name: str, hash: str, beside: Path, also: Sequence[Path]) -> str:
    shown = one_line(name, limit=80)
    where = [beside, Path()]
    is_bare = Path(name).name == name and "\\" not in name and name not in ("", ".", "..")
    there = [path for folder in where if is_bare and os.path.isfile(path := folder / name)]
    for path in (*there, *filter(os.path.isfile, also)):
        if sha256(path.read_bytes()).hexdigest() == hash:
            return str(path)
    if there:
        raise RequestError(
            f"{parameter}: {there[0]} is not the picture that this was made with; it has changed.",
            remedy="Put the picture of then there, or name the one you want with its option.",
        )
    raise RequestError(
        f"{parameter}: there is no picture {shown!r} in {beside} or the working directory.",
        remedy="Put it there, or name it with its option.",
    )


def _put(values: dict[str, Any], request: Request, parameter: str, path: str) -> None:
    """Place one path: of a parameter, or of one of several pictures (`controls.0`)."""
    name, _, number = parameter.partition(".")
    if name not in ("controls", "references") or not number:
        values[parameter] = path
        return
    several = list(values.get(name, getattr(request, name)))
    if not (number.isdecimal() and int(number) < len(several)):
        raise RequestError(f"inputs: there is no {parameter} in this request.")
    old = several[int(number)]
    several[int(number)] = path if name == "references" else old.model_copy(update={"image": path})
    values[name] = tuple(several)
