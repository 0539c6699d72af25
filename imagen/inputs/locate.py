"""Finds the pictures again that a sidecar knows by name and hash."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.core.filesystem import file_sha256
from imagen.core.prompt_syntax import lora_tags
from imagen.core.text import one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from imagen.core.request import Request


_NETWORK = ("//", "\\\\")
"""How paths to other computers start on Windows."""


def locate_images(
    request: Request,
    inputs: Iterable[Mapping[str, Any]],
    beside: Path,
    also: Sequence[Path] = (),
    *,
    replaced: Collection[str] = (),
) -> Request:
    """The request of a record, with the paths of its images in place of their names.

    Each is looked for by name in the folder `beside`, where the record's file is, and in the
    working directory, then among the files `also`, and must have the same hash. `inputs` are as the
    sidecar's JSON has them. Parameters that the user gives anew are `replaced`. Raises RequestError
    naming the image that is missing or has changed, and for any other file that the record names:
    a record comes from anywhere, and must not decide which files of this computer are sent.
    """
    values: dict[str, Any] = {}
    verified: dict[str, str] = {}
    for known in inputs:
        parameter, name, hash = (_text(known, key) for key in ("parameter", "name", "sha256"))
        if parameter.partition(".")[0] not in replaced:
            verified[parameter] = _path(parameter, name, hash, beside, also)
            _put(values, request, parameter, verified[parameter])
    found = request.with_values(values) if values else request
    for parameter, path in _files(found, replaced):
        if verified.get(parameter) != path:
            raise RequestError(
                f"{parameter}: the record names the file {one_line(path, limit=80)!r} without a "
                "hash of its content.",
                remedy="Name the file you want with its option.",
            )
    _refuse_other_hosts(request, replaced)
    return found


def _files(request: Request, replaced: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each parameter that names a file, and that file; not those that are given anew."""
    named = {"image": request.image or "", "mask": request.mask or ""}
    named |= {f"references.{n}": path for n, path in enumerate(request.references)}
    named |= {f"controls.{n}": control.image for n, control in enumerate(request.controls)}
    for name, path in named.items():
        if path and name.partition(".")[0] not in replaced:
            yield name, path
    for name, value in request.extra.items():
        if name not in replaced or name in type(request).model_fields:
            yield from ((name, text) for text in _texts(value) if _may_be_file(text))


def _refuse_other_hosts(request: Request, replaced: Collection[str]) -> None:
    """Raises RequestError for a model on a network share: to look there is to log in there."""
    upscaler = request.upscale.method if request.upscale else None
    restorer = request.restore.model if request.restore else None
    models = {"model": [request.model or ""], "loras": [lora.name for lora in request.loras]}
    models |= {"upscale": [upscaler or ""], "restore": [restorer or ""]}
    models["prompt"] = [tag.name for tag in lora_tags(request.prompt or "")]
    for parameter, names in models.items():
        for name in names:
            if parameter not in replaced and name.startswith(_NETWORK):
                raise RequestError(
                    f"{parameter}: the record names a file of another computer, "
                    f"{one_line(name, limit=80)!r}.",
                    remedy="Name the file you want with its option.",
                )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _may_be_file(text: str) -> bool:
    """Whether a parameter's text names a file, without a look at another computer."""
    return text.startswith(_NETWORK) or os.path.exists(os.path.expanduser(text))


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
        with suppress(OSError):
            if file_sha256(path) == hash:
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
