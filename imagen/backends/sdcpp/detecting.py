"""What of stable-diffusion.cpp is here already: a running server, or a program with a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Detection, MissingCapability
from imagen.backends.sdcpp.binary import look
from imagen.backends.sdcpp.config import DEFAULT_URL, SdCppConfig
from imagen.errors import BackendError, ConfigError, Unavailable
from imagen.model_files.identify import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS = ("models", "~/models", "~/stable-diffusion.cpp/models")
_ENDINGS = (".safetensors", ".gguf")
_SECONDS = 2.0


def detect(address: str, *, usual: str = DEFAULT_URL) -> Detection:
    """A block for the server at an address, or at the `usual` one, and one for each whole model
    that the program could run.

    Raises Unavailable where an address is given and no server answers there.
    """
    url = address or usual
    blocks: dict[str, dict[str, Any]] = {}
    left_out: list[MissingCapability] = []
    if _is_server(url, is_asked_for=bool(address)):
        blocks["sd-server"] = {"type": "sdcpp", "url": url}
    else:
        left_out.append(MissingCapability(what="sd-server", why=f"{url} does not answer."))
    if not address:
        try:
            binary = look("", None).command[0]
        except Unavailable as error:
            left_out.append(
                MissingCapability(what="sd-cli", why=error.message, remedy=error.remedy)
            )
        else:
            models = list(_models())
            blocks |= {
                path.stem: {"type": "sdcpp", "binary": binary, "model": str(path)}
                for path in models
            }
            if not models:
                folders = ", ".join(_FOLDERS)
                left_out.append(
                    MissingCapability(what="sd-cli", why=f"No whole model was found in {folders}.")
                )
    return Detection(blocks, tuple(left_out))


def _is_server(url: str, *, is_asked_for: bool) -> bool:
    from imagen.backends.sdcpp.client import SdServerClient

    config = SdCppConfig(name="sdcpp", url=url, connect_seconds=10 if is_asked_for else _SECONDS)
    client = SdServerClient(config)
    try:
        client.about()
    except BackendError:
        if is_asked_for:
            raise
        return False
    finally:
        client.close()
    return True


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
