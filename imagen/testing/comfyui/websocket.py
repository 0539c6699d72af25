"""One websocket: the handshake, and frames in both directions."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from imagen.testing.comfyui import sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from imagen.testing.comfyui.wire import Stream


class WebSocket:
    """The server's end of one connection; frames may be sent from any thread."""

    def __init__(self, connection: socket.socket, stream: Stream, *, sid: str) -> None:
        self.sid = sid
        self.deaf = False
        self.wants_metadata = False
        self._connection = connection
        self._stream = stream
        self._protocol = ServerProtocol(max_size=None)
        self._lock = threading.Lock()
        self._met = False

    def accepts(self, head: bytes) -> bool:
        """Read the handshake; whether it was one. It is answered by `open`."""
        self._protocol.receive_data(head)
        event = next(iter(self._protocol.events_received()), None)
        if not isinstance(event, Handshake):
            return False
        self._protocol.send_response(self._protocol.accept(event))
        return self._protocol.state is State.OPEN

    def open(self) -> None:
        """Answer the handshake: from now on the client may rely on being told."""
        with self._lock:
            self._flush()

    def send(self, frame: str | bytes) -> None:
        """Send one frame; one that can't be sent any more is lost, as on any network."""
        if self.deaf:
            return
        with self._lock:
            if self._protocol.state is State.OPEN:
                self._put(frame)

    def cut(self) -> None:
        """End the connection without a word, as a broken network does."""
        self.deaf = True
        sockets.wake(self._connection)

    def listen(self, on_flags: Callable[[WebSocket], None]) -> None:
        """Read until the client goes."""
        while data := self._stream.read():
            with self._lock:
                self._protocol.receive_data(data)
                self._flush()
                frames = self._protocol.events_received()
            for frame in frames:
                if isinstance(frame, Frame):
                    self._heard(frame, on_flags)
            if self._protocol.close_expected():
                return

    def _heard(self, frame: Frame, on_flags: Callable[[WebSocket], None]) -> None:
        if frame.opcode is not Opcode.TEXT or self._met:
            return
        try:
            message = json.loads(bytes(frame.data))
        except ValueError:
            return
        self._met = isinstance(message, dict)
        if self._met and message.get("type") == "feature_flags":
            data = message.get("data")
            self.wants_metadata = isinstance(data, dict) and bool(
                data.get("supports_preview_metadata")
            )
            on_flags(self)

    def _put(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            self._protocol.send_text(frame.encode())
        else:
            self._protocol.send_binary(frame)
        self._flush()

    def _flush(self) -> None:
        try:
            for data in self._protocol.data_to_send():
                if data:
                    self._connection.sendall(data)
        except OSError:
            return
