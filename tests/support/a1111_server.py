"""A server for A1111's clients, for all tests of a module."""

from __future__ import annotations

from contextlib import chdir, contextmanager
from typing import TYPE_CHECKING, Any

from imagen.config import Style
from support.live_server import live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.live_server import LiveServer

STEP_SECONDS = 0.1
"""Of the backend `slow`."""


@contextmanager
def serve_a1111(folder: Path, **more: Any) -> Iterator[LiveServer]:
    """Serve a quick mock, a slow one and a broken one for the block, with these settings."""
    slow = {"type": "mock", "step_seconds": STEP_SECONDS, "resource": "slow"}
    broken = {"type": "mock", "fail": "failed", "resource": "broken"}
    backends: dict[str, dict[str, Any]] = {
        "quick": {"type": "mock"},
        "slow": slow,
        "broken": broken,
    }
    styles = {"ink": Style(prompt="ink drawing of {prompt}", negative="colour")}
    with chdir(folder):
        settings = server_settings(backends, styles=styles, default_backend="quick", **more)
    with live_server(settings) as live:
        yield live
