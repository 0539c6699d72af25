"""Which engines are there already, as a configuration to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from imagen.backends import kinds, load
from imagen.config import example_with
from imagen.errors import BackendError, ConfigError, Unavailable
from imagen.graphs import listing
from imagen.invalid import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends import Adapter

    Blocks = Mapping[str, Mapping[str, Any]]


def asked(url: str) -> str:
    """A configuration for the engines at this address, or for "" at their usual places.

    Raises ConfigError for what is no address, and Unavailable where no engine is found.
    """
    found: dict[str, Mapping[str, Any]] = {}
    silent: list[BackendError] = []
    for adapter in _detecting():
        try:
            found = _blocks(adapter, url) | found
        except BackendError as error:
            silent.append(error)
    if not found and silent:
        raise Unavailable(
            silent[0].message,
            remedy="Start ComfyUI or sd-server there, or give the address of another with --url.",
        ) from silent[0]
    return detected(found)


def _detecting() -> Iterator[Adapter[Any]]:
    """The adapters that can look for their engine, ComfyUI's first: its message is the one told."""
    adapters = [load(kind) for kind in sorted(kinds(), key=lambda kind: (kind != "comfyui", kind))]
    return (adapter for adapter in adapters if adapter.detect is not None)


def _blocks(adapter: Adapter[Any], url: str) -> dict[str, Mapping[str, Any]]:
    try:
        return dict(adapter.detect(url)) if adapter.detect else {}
    except ValidationError as error:
        raise ConfigError(f"--url: {sentences(error, model=adapter.config)}.") from error


def detected(blocks: Blocks) -> str:
    """A configuration with these backends, and the bundled workflows they lack as comments."""
    running = {block.get("workflow") for block in blocks.values()}
    lacking = [name for name in _first_choices() if name not in running]
    notes = [
        "No ComfyUI was found that can run these yet:",
        *(f"  {name}" for name in lacking),
        "`imagen workflows check NAME --backend B` says what one of them lacks.",
    ]
    if not blocks:
        click.echo("No bundled workflow can run there yet: only the mock is set up.", err=True)
    return example_with(blocks, notes if lacking else ())


def _first_choices() -> list[str]:
    """The bundled workflows that a backend is made of; the others serve its further tasks."""
    return [known.name for known in listing() if known.manifest.task == "text-to-image"]
