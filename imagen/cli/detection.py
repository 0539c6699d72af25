"""Find the engines of this machine, and say what was found and what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from imagen.backends import Detection, MissingCapability, kinds, load_adapter
from imagen.cli.terminal import echo
from imagen.core.validation import sentences
from imagen.errors import BackendError, ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends import Adapter
    from imagen.config import Addition

    Blocks = Mapping[str, Mapping[str, Any]]

_START = (
    "Start ComfyUI or sd-server first. If it has another address, add --url: "
    "http://127.0.0.1:8000 is usual for ComfyUI's desktop application.\n"
    "For a service such as Replicate, write a sample and edit it: imagen config init --write"
)
_SHOW = "`imagen workflows show NAME` lists the files that a workflow needs, and where to get them."


def detect_engines(url: str) -> Detection:
    """What runs at this address, or for "" at the engines' usual places; also said on stderr.

    Raises ConfigError for an invalid address, and Unavailable where nothing could make an image.
    """
    blocks: dict[str, Mapping[str, Any]] = {}
    left_out: list[MissingCapability] = []
    silent: list[MissingCapability] = []
    for kind, adapter in _adapters():
        try:
            found = adapter.detect(url) if adapter.detect else Detection({})
        except ValidationError as error:
            raise ConfigError(f"--url: {sentences(error, model=adapter.config)}.") from error
        except BackendError as error:
            silent.append(MissingCapability(what=kind, why=error.message))
            continue
        blocks |= {name: block for name, block in found.blocks.items() if name not in blocks}
        left_out += found.left_out
    is_answered = bool(url and (blocks or left_out))  # there is one engine at an address
    detection = Detection(blocks, (*(() if is_answered else silent), *left_out))
    _say_found(detection)
    if not blocks:
        raise Unavailable(
            "No engine was found that can make an image yet, so there is nothing to configure.",
            remedy=_START if "comfyui" in {lack.what for lack in silent} else _SHOW,
        )
    return detection


def find_same(blocks: Blocks, existing: Blocks) -> dict[str, str]:
    """The blocks that a configuration has under another name, each with that name."""
    known = {name: _without_texts(block) for name, block in existing.items()}
    return {
        name: other
        for name, block in blocks.items()
        for other in known
        if name not in known and known[other] == _without_texts(block)
    }


def _without_texts(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key not in ("title", "hint")}


def say_added(addition: Addition, same: Mapping[str, str], default: str) -> None:
    """On stderr, what was written into the configuration, and which backend is the default.

    `same` has the backends that it has under other names.
    """
    path = addition.path
    present = [*addition.present, *(f"{name} as {other}" for name, other in same.items())]
    if addition.is_new_file:
        echo(f"Wrote {path}. The default backend is {default}.", err=True)
        return
    for names, what in (
        (addition.added, f"Added to {path}"),
        (present, f"Already in {path}"),
        (addition.differing, f"Kept as {path} has them, with other values"),
    ):
        if names:
            echo(f"{what}: {', '.join(names)}", err=True, hanging=4)
    if not addition.added:
        echo(f"{path} is unchanged.", err=True)
    if default == "mock":
        (better, *_) = (*addition.added, *addition.present, *addition.differing, *same.values())
        echo(
            "The default backend is still the mock. To change it, write "
            f"`default_backend: {better}` in {path}.",
            err=True,
        )


def _adapters() -> Iterator[tuple[str, Adapter[Any]]]:
    """The adapters that can look for their engine, ComfyUI's first."""
    for kind in sorted(kinds(), key=lambda kind: (kind != "comfyui", kind)):
        adapter = load_adapter(kind)
        if adapter.detect is not None:
            yield kind, adapter


def _say_found(detection: Detection) -> None:
    engines: dict[str, list[str]] = {}
    for name, block in detection.blocks.items():
        place = f"{block['type']}, {block.get('url') or block.get('model')}"
        engines.setdefault(place, []).append(name)
    if engines:
        echo("Found:", err=True)
    for place, names in engines.items():
        echo(f"  {place}: {', '.join(names)}", err=True, hanging=4)
    if detection.left_out:
        echo("Left out:", err=True)
    for lack in detection.left_out:
        echo(f"  {lack.what}: {lack.why}", err=True, hanging=4)
