"""A server for the tests of OpenAI's API, and what its clients send."""

from __future__ import annotations

from base64 import b64decode
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from imagen.config import ServerSettings
from support.live_server import live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.live_server import LiveServer

BACKENDS: dict[str, dict[str, Any]] = {
    "mock": {"type": "mock"},
    "other": {"type": "mock", "look": "other"},
    "slow": {"type": "mock", "step_seconds": 0.4},
    "broken": {"type": "mock", "fail": "failed"},
    "picky": {"type": "mock", "fail": "rejected"},
}
SIZE = "64x48"


@contextmanager
def openai_server(folder: Path, backends: dict[str, dict[str, Any]]) -> Iterator[LiveServer]:
    """A server whose files are in this folder, for all tests of a module."""
    aliases = {"house-model": "other", "team-*": "other/mock-dusk"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = server_settings(
            backends,
            default_backend=next(iter(backends)),
            pools={"both": ("mock", "other")} if "other" in backends else {},
            server=ServerSettings(openai_aliases=aliases),
        )
    with live_server(settings) as server:
        yield server


def png(colour: str | tuple[int, ...] = "red", size: tuple[int, int] = (64, 48)) -> bytes:
    """A PNG of one colour."""
    file = BytesIO()
    Image.new("RGBA" if isinstance(colour, tuple) else "RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def half_mask(size: tuple[int, int] = (64, 48)) -> bytes:
    """A mask whose left half is transparent."""
    mask = Image.new("RGBA", size, "black")
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    file = BytesIO()
    mask.save(file, "PNG")
    return file.getvalue()


def decode(text: str | None) -> Image.Image:
    """The image of a `b64_json`."""
    assert text is not None
    return Image.open(BytesIO(b64decode(text, validate=True)))
