"""Who is connected, and who is told what."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui import frames

if TYPE_CHECKING:
    from imagen.testing.comfyui.setup import Mischief
    from imagen.testing.comfyui.websocket import WebSocket

FEATURES = {"supports_preview_metadata": True, "max_upload_size": 104857600}


class Hub:
    """The registered sockets, one a client id, as in ComfyUI: with its faults."""

    def __init__(self, mischief: Mischief) -> None:
        self._mischief = mischief
        self._sockets: dict[str, WebSocket] = {}
        self._lock = threading.Lock()

    def enter(self, socket: WebSocket, remaining: int, *, first: bool, running: str | None) -> None:
        """Register a socket, open and greet it; a client that returns hears where its run is.

        One that is open is registered: what the client posts next, it must hear of.
        """
        with self._lock:  # nothing may come before the greeting
            self._sockets[socket.sid] = socket
            socket.open()
            socket.deaf = self._mischief.now.silent
            self._to(socket, "greeting", frames.status(remaining, socket.sid))
            if self._mischief.now.deaf_after_reconnect and not first:
                socket.deaf = True
            if running is not None:
                self._to(socket, "executing", frames.text("executing", {"node": running}))

    def leave(self, socket: WebSocket) -> None:
        """Forget a client id, even where another socket has taken it over: a fault of ComfyUI."""
        with self._lock:
            self._sockets.pop(socket.sid, None)

    def answer_flags(self, socket: WebSocket) -> None:
        if self._mischief.now.old_server:
            socket.wants_metadata = False
        elif self._is_registered(socket):
            self._to(socket, "feature_flags", frames.text("feature_flags", FEATURES))

    def tell(self, sid: str | None, kind: str, data: Any, *, event: str = "") -> None:
        """Send a message to one client, or without one to all."""
        self.send(sid, event or kind, frames.text(kind, data))

    def send(self, sid: str | None, event: str, frame: str | bytes) -> None:
        for socket in self._those(sid):
            self._to(socket, event, frame)

    def status(self, remaining: int) -> None:
        self.send(None, "status", frames.status(remaining))

    def wants_metadata(self, sid: str | None) -> bool:
        return sid is not None and any(socket.wants_metadata for socket in self._those(sid))

    def _those(self, sid: str | None) -> list[WebSocket]:
        with self._lock:
            if sid is None:
                return list(self._sockets.values())
            return [self._sockets[sid]] if sid in self._sockets else []

    def _is_registered(self, socket: WebSocket) -> bool:
        return self._those(socket.sid) == [socket]

    def _to(self, socket: WebSocket, event: str, frame: str | bytes) -> None:
        if self._mischief.drops(event):
            socket.cut()
        else:
            socket.send(frame)
