"""Find the input images of a record again: the record holds only their names and hashes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.core.filesystem import file_sha256
from imagen.core.prompt_syntax import lora_tags
from imagen.core.text import one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from imagen.core.request import Request


_NETWORK = ("//", "\\\\")
"""How paths to other computers start on Windows."""
_REMEDY = "Name the file you want with its option."


def locate_images(
    request: Request,
    inputs: Iterable[Mapping[str, object]],
    beside: Path,
    also: Sequence[Path] = (),
    *,
    replaced: Collection[str] = (),
) -> Request:
    """The request of a record, with paths in place of the names of its images.

    Each image is looked for by name in the folder `beside`, where the record is, and in the working
    directory, then among the files `also`; its hash must match. `inputs` come from the sidecar.
    Parameters that the user gives anew are `replaced`.

    Raises RequestError if an image is missing or has changed, and for any other file that the
    record names: a record may come from anywhere, and must not decide which files are sent.
    """
    values: dict[str, object] = {}
    verified: dict[str, str] = {}
    for entry in inputs:
        for key in ("parameter", "name", "sha256"):
            if not isinstance(entry.get(key), str):
                raise RequestError(
                    f"inputs: an entry has no {key}: {one_line(repr(entry), limit=80)}."
                )
        parameter, name, digest = (str(entry[key]) for key in ("parameter", "name", "sha256"))
        if parameter.partition(".")[0] not in replaced:
            verified[parameter] = _find_path(parameter, name, digest, beside, also)
            _set_path(values, request, parameter, verified[parameter])
    located = request.with_values(values) if values else request
    for parameter, path in named_files(located, replaced):
        if verified.get(parameter) != path:
            raise RequestError(
                f"{parameter}: the record names the file {one_line(path, limit=80)!r} without a "
                "hash of its content.",
                remedy=_REMEDY,
            )
    _refuse_other_hosts(request, replaced)
    return located


def _find_path(parameter: str, name: str, digest: str, beside: Path, also: Sequence[Path]) -> str:
    is_bare = Path(name).name == name and "\\" not in name and name not in ("", ".", "..")
    candidates = [folder / name for folder in (beside, Path()) if is_bare]
    present = [path for path in candidates if os.path.isfile(path)]
    for path in (*present, *filter(os.path.isfile, also)):
        with suppress(OSError):
            if file_sha256(path) == digest:
                return str(path)
    if present:
        raise RequestError(
            f"{parameter}: {present[0]} has changed since it was used.",
            remedy="Put the original image there, or name the one you want with its option.",
        )
    raise RequestError(
        f"{parameter}: there is no image {one_line(name, limit=80)!r} in {beside} or the working "
        "directory.",
        remedy="Put it there, or name it with its option.",
    )


def _set_path(values: dict[str, object], request: Request, parameter: str, path: str) -> None:
    """Set the path of a parameter, or of one image of several (`controls.0`)."""
    name, _, number = parameter.partition(".")
    if name not in ("controls", "references") or not number:
        values[parameter] = path
        return
    current = values.get(name, getattr(request, name))
    several = list(current) if isinstance(current, tuple) else []
    if not (number.isdecimal() and int(number) < len(several)):
        raise RequestError(f"inputs: this request has no {parameter}.")
    old = several[int(number)]
    several[int(number)] = path if name == "references" else old.model_copy(update={"image": path})
    values[name] = tuple(several)


def named_files(request: Request, replaced: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Each parameter that names a file, with that file; without those that are replaced."""
    named = {"image": request.image or "", "mask": request.mask or ""}
    named |= {f"references.{n}": path for n, path in enumerate(request.references)}
    named |= {f"controls.{n}": control.image for n, control in enumerate(request.controls)}
    for name, path in named.items():
        if path and name.partition(".")[0] not in replaced:
            yield name, path
    for name, value in request.extra.items():
        if name in replaced and name not in type(request).model_fields:
            continue
        for text in _texts(value):
            # Do not look at another computer to find out: that would log in there.
            if text.startswith(_NETWORK) or os.path.exists(os.path.expanduser(text)):
                yield name, text


def _texts(value: object) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _refuse_other_hosts(request: Request, replaced: Collection[str]) -> None:
    """Raise RequestError for a model on a network share: to look there is to log in there."""
    upscaler = request.upscale.method if request.upscale else None
    restorer = request.restore.model if request.restore else None
    models = {"model": [request.model or ""], "loras": [lora.name for lora in request.loras]}
    models |= {"upscale": [upscaler or ""], "restore": [restorer or ""]}
    models["prompt"] = [tag.name for tag in lora_tags(request.prompt or "")]
    for parameter, names in models.items():
        for name in names:
            if parameter not in replaced and name.startswith(_NETWORK):
                raise RequestError(
                    f"{parameter}: the record names a file on another computer, "
                    f"{one_line(name, limit=80)!r}.",
                    remedy=_REMEDY,
                )
