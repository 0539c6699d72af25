"""Opens backends on simulated servers with A1111's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends import open_backend

if TYPE_CHECKING:
    from contextlib import ExitStack

    from simulators.a1111 import A1111Server

    from imagen.backends import Backend


class OpenA1111:
    """Opens backends, and closes them at the end of the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(self, server: A1111Server, **block: Any) -> Backend:
        self._stack.enter_context(server)
        values = {"type": "a1111", "url": server.url, "poll_seconds": 0.02, "lost_seconds": 0.2}
        backend = open_backend("studio", {"studio": values | block})
        self._stack.callback(backend.close)
        return backend
