"""What of stable-diffusion.cpp is here already: a running server, or a program with a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.backends.sdcpp.config import DEFAULT_URL, SdCppConfig
from imagen.backends.sdcpp.program import look
from imagen.checkpoints import read_checkpoint
from imagen.errors import BackendError, ConfigError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS = ("models", "~/models", "~/stable-diffusion.cpp/models")
_ENDINGS = (".safetensors", ".gguf")
_SECONDS = 2.0


def detect(address: str, *, usual: str = DEFAULT_URL) -> dict[str, dict[str, Any]]:
    """A block for the server at an address, or at the `usual` one, and one for each whole model
    that the program could run.

    Raises Unavailable where an address is given and no server answers there.
    """
    found = dict(_server(address or usual, is_asked_for=bool(address)))
    return found if address else found | dict(_programs())


def _server(url: str, *, is_asked_for: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    from imagen.backends.sdcpp.client import Client

    config = SdCppConfig(name="sdcpp", url=url, connect_seconds=10 if is_asked_for else _SECONDS)
    client = Client(config)
    try:
        client.about()
    except BackendError:
        if is_asked_for:
            raise
        return
    finally:
        client.close()
    yield "sd-server", {"type": "sdcpp", "url": url}


def _programs() -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        program = look("", None)
    except Unavailable:
        return
    for path in _models():
        yield path.stem, {"type": "sdcpp", "binary": program.command[0], "model": str(path)}


def _models() -> Iterator[Path]:
    for folder in _FOLDERS:
        there = Path(folder).expanduser().absolute()
        files = sorted(there.iterdir()) if os.path.isdir(there) else ()
        for path in files:
            if path.suffix.lower() in _ENDINGS and _is_whole_model(path):
                yield path


def _is_whole_model(path: Path) -> bool:
    try:
        return read_checkpoint(path).role == "checkpoint"
    except ConfigError:
        return False
