"""The websocket of a ComfyUI server, and the events that its frames hold."""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from functools import partial
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)
from websockets.sync.client import ClientConnection, connect

from imagen.backends.comfyui.config import websocket_url
from imagen.core.json_values import as_mapping, parse_json
from imagen.core.text import one_line
from imagen.core.ticket import new_id
from imagen.net.http import tls_fault
from imagen.net.threads import Background
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.comfyui.client import ComfyClient

# At its debug level the library logs our credentials.
_LOGGER = logging.getLogger("imagen.websocket")
_LOGGER.setLevel(logging.INFO)
_HELLO = '{"type":"feature_flags","data":{"supports_preview_metadata":true}}'
_LARGEST_FRAME = 256 << 20
_CLOSE_SECONDS = 1.0
_GRACE_SECONDS = 1.0
_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
"""Kinds of binary frames."""
_JPEG, _PNG = 1, 2
_LARGEST_NUMBER = 2.0**63


class QueueChanged(NamedTuple):
    """A job was queued, started or ended; not necessarily ours."""


class JobStarted(NamedTuple):
    """Our job has begun."""

    milliseconds: float | None


class NodesCached(NamedTuple):
    """These nodes need not run."""

    nodes: tuple[str, ...]


class NodeRunning(NamedTuple):
    """This node runs now. `display_node` is the node of the graph that it belongs to."""

    node: str
    display_node: str


class NodesFinished(NamedTuple):
    """These nodes are done."""

    nodes: tuple[str, ...]


class NodeStepped(NamedTuple):
    """How far a node is."""

    node: str
    step: int
    steps: int


class NodeOutput(NamedTuple):
    """A node gave its output."""

    node: str
    display_node: str
    output: Mapping[str, object]


class SocketImage(NamedTuple):
    """An image over the websocket: a preview, or the output of a node that saves there."""

    data: bytes
    node: str | None
    """None in the older form of the frame, which does not say."""


class JobSucceeded(NamedTuple):
    """Every node of our job is done."""

    milliseconds: float | None


class NodeFailed(NamedTuple):
    """A node of our job failed."""

    node: str
    node_class: str
    kind: str
    message: str
    traceback: tuple[str, ...] = ()
    milliseconds: float | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether the node only kept a branch from running: the job goes on after that."""
        return self.kind.rpartition(".")[2] == "ExecutionBlocked"


class JobInterrupted(NamedTuple):
    """Our job was interrupted at this node."""

    node: str
    milliseconds: float | None = None


class JobEnded(NamedTuple):
    """The last event of our job; its history is written by now."""


ComfyEvent = (
    QueueChanged
    | JobStarted
    | NodesCached
    | NodeRunning
    | NodesFinished
    | NodeStepped
    | NodeOutput
    | SocketImage
    | JobSucceeded
    | NodeFailed
    | JobInterrupted
    | JobEnded
)


def parse_frame(frame: str | bytes, prompt_id: str) -> ComfyEvent | None:
    """The event of a frame, if it is about this prompt or about the queue."""
    if isinstance(frame, bytes):
        return _parse_binary(frame, prompt_id)
    try:
        message = as_mapping(parse_json(frame, strict_numbers=False))
    except ValueError:
        return None
    kind, data = message.get("type"), as_mapping(message.get("data"))
    if kind == "status":
        return QueueChanged()
    if data.get("prompt_id") != prompt_id or not isinstance(kind, str):
        return None
    return parse_message(kind, data)


def _parse_binary(frame: bytes, prompt_id: str) -> SocketImage | None:
    kind, second = (int.from_bytes(frame[start : start + 4], "big") for start in (0, 4))
    if kind == _PREVIEW:
        return SocketImage(frame[8:], None) if second in (_JPEG, _PNG) else None
    if kind != _PREVIEW_WITH_METADATA:
        return None
    try:
        metadata = as_mapping(parse_json(frame[8 : 8 + second], strict_numbers=False))
    except ValueError:
        return None
    if metadata.get("prompt_id") != prompt_id:
        return None
    node = metadata.get("display_node_id") or metadata.get("node_id")
    return SocketImage(frame[8 + second :], node if isinstance(node, str) else None)


def parse_message(kind: str, data: Mapping[str, object]) -> ComfyEvent | None:
    """The event of a message about our job, from the websocket or from the history."""
    node, display_node = data.get("node"), data.get("display_node")
    if not isinstance(display_node, str) or not display_node:
        display_node = str(node)
    milliseconds = _number(data.get("timestamp"))
    match kind:
        case "execution_start":
            return JobStarted(milliseconds)
        case "execution_cached":
            return NodesCached(_strings(data.get("nodes")))
        case "executing":
            if node is None and "node" in data:
                return JobEnded()
            return NodeRunning(node, display_node) if isinstance(node, str) and node else None
        case "progress":
            value, most = _number(data.get("value")), _number(data.get("max"))
            if value is None or most is None or most < 1:
                return None
            return NodeStepped(str(node or ""), int(max(0, min(value, most))), int(most))
        case "progress_state":
            nodes = as_mapping(data.get("nodes")).items()
            done = (name for name, it in nodes if as_mapping(it).get("state") == "finished")
            return NodesFinished(tuple(done))
        case "executed" if isinstance(node, str):
            return NodeOutput(node, display_node, as_mapping(data.get("output")))
        case "execution_success":
            return JobSucceeded(milliseconds)
        case "execution_error":
            return NodeFailed(
                node=str(data.get("node_id") or ""),
                node_class=str(data.get("node_type") or ""),
                kind=str(data.get("exception_type") or "error"),
                message=str(data.get("exception_message") or ""),
                traceback=_strings(data.get("traceback")),
                milliseconds=milliseconds,
            )
        case "execution_interrupted":
            return JobInterrupted(str(data.get("node_id") or ""), milliseconds)
    return None


def _strings(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) < _LARGEST_NUMBER else None
    return None


class ComfyWebSocket:
    """The events of one job. Missing some is never an error: the history has them all.

    Each connection gets a fresh client id, as the server confuses two of one id. Frames are read
    as they arrive: a client that stops reading blocks the server's other clients.
    """

    def __init__(self, client: ComfyClient, connect_seconds: float) -> None:
        self._client = client
        self._connect_seconds = connect_seconds
        self._stack: ExitStack | None = None
        self._connection: ClientConnection | None = None
        self._frames: Queue[str | bytes | ConnectionClosed] = Queue()
        self._is_closed = False
        self._attempt = 0
        self.prompt_id = ""
        self.client_id = ""
        self.trouble = ""
        """Why events may be missing, in a few words."""
        self.breaks = 0
        """How often an open connection broke."""

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self, client_id: str = "") -> None:
        """Connect; a failure is noted in `trouble`.

        The library's own deadline ends the wait for the handshake, but not that for its reading
        thread: an attempt that hangs is left behind.
        """
        self._disconnect()
        self.client_id = client_id or new_id()
        self._attempt += 1
        attempt = Background(partial(self._connect, self._attempt))
        if not attempt.ready(self._connect_seconds + _GRACE_SECONDS):
            self._attempt += 1
            self._note("could not be opened (it hangs)")

    def reopen(self) -> None:
        """Connect again: with the client id of our job, if no connection ever had it."""
        self.open("" if self.breaks else self.client_id)

    def next(self, timeout: float) -> ComfyEvent | None:
        """The next event within `timeout` seconds; None for silence, and for another job."""
        connection = self._connection
        if connection is None:
            return None
        try:
            frame = self._frames.get(timeout=max(0.0, timeout))
        except Empty:
            sent = connection.protocol.close_sent  # which the server may ignore
            if sent is not None:
                self._break(one_line(sent.reason))
            return None
        if isinstance(frame, ConnectionClosed):
            self._break(_reason(frame))
            return None
        return parse_frame(frame, self.prompt_id)

    def ping(self) -> None:
        """Send a ping, as gateways close idle connections.

        The answer is not waited for: a server that is loading a model does not send one.
        """
        connection = self._connection
        if connection is not None:
            with suppress(ConnectionClosed):  # `next` will notice
                connection.ping()

    def close(self) -> None:
        """Close the connection, and one that is still being made."""
        self._is_closed = True
        self._disconnect()

    def _connect(self, attempt: int) -> None:
        stack = ExitStack()
        proxy: dict[str, None] = {"proxy": None} if is_loopback(self._client.at) else {}
        try:
            # Entering it means the same in all versions of the library.
            connection = stack.enter_context(
                connect(
                    websocket_url(self._client.at, self.client_id),
                    ssl=self._client.tls,
                    additional_headers=self._client.headers,
                    compression=None,
                    open_timeout=self._connect_seconds,
                    close_timeout=_CLOSE_SECONDS,
                    ping_interval=None,  # it would take a thread
                    max_size=_LARGEST_FRAME,
                    max_queue=None,
                    logger=_LOGGER,
                    create_connection=_Connection,
                    **proxy,
                )
            )
            connection.send(_HELLO)
        except (OSError, EOFError, WebSocketException, ImportError, ValueError) as error:
            stack.close()
            self._note(f"could not be opened ({_reason(error)})")
            return
        if attempt != self._attempt:
            stack.close()
            return
        self._frames = Queue()
        self._stack, self._connection = stack, connection
        Thread(target=_receive, args=(connection, self._frames), daemon=True).start()
        self._note("")
        if self._is_closed:
            self._disconnect()

    def _note(self, trouble: str) -> None:
        """Note how an attempt went, unless a connection broke before."""
        if not self.breaks:
            self.trouble = trouble

    def _break(self, reason: str) -> None:
        self.trouble = f"broke ({reason})"
        self.breaks += 1
        self._disconnect()

    def _disconnect(self) -> None:
        stack, self._stack, self._connection = self._stack, None, None
        if stack is not None:
            stack.close()


def _receive(connection: ClientConnection, frames: Queue[str | bytes | ConnectionClosed]) -> None:
    """Put each frame into the queue, and at last what ended the connection.

    Not in the main thread: websockets waits on a SimpleQueue, whose timeout is lost in Python 3.11
    where the handler of a signal (Ctrl-C) outlasts it.
    """
    try:
        while True:
            frames.put(connection.recv())
    except ConnectionClosed as error:
        frames.put(error)


def _reason(error: Exception) -> str:
    fault = tls_fault(error)
    if fault is not None:
        return f"it {fault[0]}"
    if isinstance(error, InvalidProxy | ProxyError | ValueError):
        return "the proxy cannot be used"  # whose own words may hold the password
    return one_line(str(error)) or type(error).__name__


class _HandshakeRefused(InvalidHandshake):
    """The server did not answer with a websocket."""


class _Connection(ClientConnection):
    """Refuses redirects: our headers are for the server that was asked."""

    def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().handshake(*args, **kwargs)
        except InvalidStatus as error:
            raise _HandshakeRefused(f"status {error.response.status_code}") from error
