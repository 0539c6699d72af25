"""Websockets: the messages, the connection, and which client receives what."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from imagen.testing.http_server import close_gently

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.testing.comfyui.failure_switches import ActiveSwitches
    from imagen.testing.http_server import HttpConnection

FEATURES = {"supports_preview_metadata": True, "max_upload_size": 104857600}
FOREIGN_PROMPT_ID = "5f0c1c52-0000-4000-8000-000000000000"
FOREIGN_IMAGE = b"\xff\xd8\xff\xe0 the image of another client \xff\xd9"
_JPEG, _PNG = 1, 2


def text_message(kind: str, data: object) -> str:
    return json.dumps({"type": kind, "data": data})


def milliseconds() -> int:
    return int(time.time() * 1000)


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def preview_frame(image: bytes) -> bytes:
    """A preview that does not say which prompt it belongs to."""
    return _number(1) + _number(_PNG if image.startswith(b"\x89PNG") else _JPEG) + image


def preview_with_metadata(image: bytes, prompt_id: str, node: str) -> bytes:
    metadata = {
        "node_id": node,
        "prompt_id": prompt_id,
        "display_node_id": node,
        "parent_node_id": None,
        "real_node_id": node,
        "image_type": "image/png" if image.startswith(b"\x89PNG") else "image/jpeg",
    }
    encoded = json.dumps(metadata).encode()
    return _number(4) + _number(len(encoded)) + encoded + image


def foreign_frames() -> list[str | bytes]:
    """Frames about other prompts, and malformed ones."""
    image = FOREIGN_IMAGE
    other = {"prompt_id": FOREIGN_PROMPT_ID, "timestamp": milliseconds()}
    output = {"images": [{"filename": "foreign.png", "subfolder": "", "type": "output"}]}
    failed = {"node_id": "1", "node_type": "X", "exception_type": "E", "exception_message": "no"}
    return [
        text_message("execution_start", other),
        text_message("executed", {**other, "node": "9", "display_node": "9", "output": output}),
        text_message("execution_error", {**other, **failed}),
        text_message("execution_success", other),
        text_message("executing", {"node": None, "prompt_id": FOREIGN_PROMPT_ID}),
        text_message("executing", {"node": None}),
        text_message("execution_success", {}),
        text_message("execution_error", {"exception_message": "without a prompt"}),
        text_message("executed", {"node": "9", "output": output}),
        text_message("progress", {"value": 1, "max": 2}),
        text_message("progress_state", ["not", "an", "object"]),
        text_message("executed", None),
        text_message("status", "idle"),
        text_message("crystools.monitor", {"cpu_utilization": 7.5}),
        '{"type": "executing"}',
        '{"data": {}}',
        '{"type": 7, "data": {"prompt_id": 7}}',
        "[1, 2]",
        "null",
        "{not json",
        "",
        "[" * 5000,
        preview_frame(image),
        preview_with_metadata(image, FOREIGN_PROMPT_ID, "9"),
        _number(3) + _number(1) + b"9a text",
        _number(2) + image,
        _number(99) + image,
        _number(4) + _number(1 << 30) + b"{}",
        _number(4) + _number(3) + b"{no" + image,
        _number(1),
        b"\x00",
        b"",
    ]


class ServerWebSocket:
    """The server's end of one websocket; frames may be sent from any thread."""

    def __init__(self, connection: HttpConnection, client_id: str) -> None:
        self.client_id = client_id
        self.is_deaf = False
        """Whether frames are dropped instead of sent."""
        self.wants_metadata = False
        self._connection = connection
        self._protocol = ServerProtocol(max_size=None)
        self._lock = threading.Lock()
        self._has_first_message = False

    def accept(self) -> bool:
        """Read the handshake; whether it was valid. `open` sends the answer."""
        self._protocol.receive_data(self._connection.head())
        event = next(iter(self._protocol.events_received()), None)
        if not isinstance(event, Handshake):
            return False
        self._protocol.send_response(self._protocol.accept(event))
        return self._protocol.state is State.OPEN

    def open(self) -> None:
        """Answer the handshake."""
        with self._lock:
            self._flush()

    def send(self, frame: str | bytes) -> None:
        """Send one frame; after the connection's end it is lost, as on any network."""
        if self.is_deaf:
            return
        with self._lock:
            if self._protocol.state is State.OPEN:
                if isinstance(frame, str):
                    self._protocol.send_text(frame.encode())
                else:
                    self._protocol.send_binary(frame)
                self._flush()

    def cut(self) -> None:
        """End the connection without a closing frame, as a broken network does."""
        self.is_deaf = True
        close_gently(self._connection.connection)

    def listen(self, on_feature_flags: Callable[[ServerWebSocket], None]) -> None:
        """Read until the client goes; ComfyUI reads feature flags from the first message only."""
        while data := self._connection.read():
            with self._lock:
                self._protocol.receive_data(data)
                self._flush()
                events = self._protocol.events_received()
            for event in events:
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    self._receive(bytes(event.data), on_feature_flags)
            if self._protocol.close_expected():
                return

    def _receive(self, text: bytes, on_feature_flags: Callable[[ServerWebSocket], None]) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            return
        if self._has_first_message or not isinstance(message, dict):
            return
        self._has_first_message = True
        if message.get("type") == "feature_flags":
            flags = message.get("data")
            self.wants_metadata = isinstance(flags, dict) and bool(
                flags.get("supports_preview_metadata")
            )
            on_feature_flags(self)

    def _flush(self) -> None:
        try:
            for data in self._protocol.data_to_send():
                if data:
                    self._connection.connection.sendall(data)
        except OSError:
            return


class ConnectedClients:
    """The registered websockets, one for each client id, with the faults of ComfyUI."""

    def __init__(self, active: ActiveSwitches) -> None:
        self._active = active
        self._sockets: dict[str, ServerWebSocket] = {}
        self._lock = threading.Lock()

    def enter(
        self, socket: ServerWebSocket, remaining: int, *, is_first: bool, running_node: str | None
    ) -> None:
        """Open, register and greet a socket; a returning client is sent the node that runs.

        A client may rely on every message about prompts that it posts after the handshake.
        """
        with self._lock:  # nothing may come before the greeting
            self._sockets[socket.client_id] = socket
            socket.open()
            socket.is_deaf = self._active.current.silent
            greeting = _status_data(remaining) | {"sid": socket.client_id}
            self._send_or_cut(socket, "greeting", text_message("status", greeting))
            if self._active.current.deaf_after_reconnect and not is_first:
                socket.is_deaf = True
            if running_node is not None:
                executing = text_message("executing", {"node": running_node})
                self._send_or_cut(socket, "executing", executing)

    def leave(self, socket: ServerWebSocket) -> None:
        """Forget a client id, even where another socket has taken it over: a fault of ComfyUI."""
        with self._lock:
            self._sockets.pop(socket.client_id, None)

    def answer_feature_flags(self, socket: ServerWebSocket) -> None:
        if self._active.current.old_server:
            socket.wants_metadata = False
        elif self._sockets_of(socket.client_id) == [socket]:
            self._send_or_cut(socket, "feature_flags", text_message("feature_flags", FEATURES))

    def send(self, client_id: str | None, event: str, frame: str | bytes) -> None:
        """Send a frame to one client, or without a client id to all.

        The event is the name by which `drop_at` means it.
        """
        for socket in self._sockets_of(client_id):
            self._send_or_cut(socket, event, frame)

    def send_status(self, remaining: int) -> None:
        self.send(None, "status", text_message("status", _status_data(remaining)))

    def wants_metadata(self, client_id: str | None) -> bool:
        sockets = self._sockets_of(client_id) if client_id is not None else []
        return any(socket.wants_metadata for socket in sockets)

    def _sockets_of(self, client_id: str | None) -> list[ServerWebSocket]:
        with self._lock:
            if client_id is None:
                return list(self._sockets.values())
            return [self._sockets[client_id]] if client_id in self._sockets else []

    def _send_or_cut(self, socket: ServerWebSocket, event: str, frame: str | bytes) -> None:
        if self._active.drops(event):
            socket.cut()
        else:
            socket.send(frame)


def _status_data(remaining: int) -> dict[str, object]:
    return {"status": {"exec_info": {"queue_remaining": remaining}}}
