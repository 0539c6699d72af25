"""The websocket of a ComfyUI server: opened under a fresh name each time, and always drained."""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from functools import partial
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)
from websockets.sync.client import ClientConnection, connect

from imagen.backends.comfyui.config import websocket
from imagen.backends.comfyui.events import read
from imagen.core.text import one_line
from imagen.core.ticket import new_id
from imagen.net.http import tls_fault
from imagen.net.threads import Background
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from imagen.backends.comfyui.client import ComfyClient
    from imagen.backends.comfyui.events import Event

# At its most talkative the library would write our credentials down.
_LOGGER = logging.getLogger("imagen.websocket")
_LOGGER.setLevel(logging.INFO)
_HELLO = '{"type":"feature_flags","data":{"supports_preview_metadata":true}}'
_OF_THE_PROXY = (InvalidProxy, ProxyError, ValueError)
"""Errors whose words may hold the proxy's password; a port that is none is a ValueError."""
_LARGEST_FRAME = 256 << 20
_CLOSE_SECONDS = 1.0
_GRACE_SECONDS = 1.0


class Listener:
    """Hears of one job. Not hearing of it is never an error: the history has the truth."""

    def __init__(self, client: ComfyClient, connect_seconds: float) -> None:
        self._client = client
        self._connect_seconds = connect_seconds
        self._open: ExitStack | None = None
        self._connection: ClientConnection | None = None
        self._frames: Queue[str | bytes | ConnectionClosed] = Queue()
        self._closed = False
        self._attempt = 0
        self.prompt_id = ""
        self.client_id = ""
        self.trouble = ""
        """Why we may not have heard everything, in a few words."""
        self.breaks = 0
        """How often a connection ended that had been open."""

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open_again(self) -> None:
        """Connect again: under the name of our job, if no connection ever had it."""
        self.open("" if self.breaks else self.client_id)

    def open(self, client_id: str = "") -> None:
        """Connect under a name that no connection had before: a server confuses two of one name.

        The library's own deadline ends the wait for an answer, not that for its reading thread: an
        attempt that hangs is left to itself.
        """
        self._let_go()
        self.client_id = client_id or new_id()
        self._attempt += 1
        attempt = Background(partial(self._try, self._attempt))
        if not attempt.ready(self._connect_seconds + _GRACE_SECONDS):
            self._attempt += 1
            self._note("could not be opened (it hangs)")

    def _try(self, attempt: int) -> None:
        stack = ExitStack()
        try:
            connection = stack.enter_context(self._connect())
            connection.send(_HELLO)
        except (OSError, EOFError, WebSocketException, ImportError, ValueError) as error:
            stack.close()
            self._note(f"could not be opened ({_reason(error)})")
            return
        if attempt != self._attempt:
            stack.close()
            return
        self._frames = Queue()
        self._open, self._connection = stack, connection
        Thread(target=_receive, args=(connection, self._frames), daemon=True).start()
        self._note("")
        if self._closed:
            self._let_go()

    def _note(self, trouble: str) -> None:
        """What became of an attempt; that a connection broke outweighs it."""
        if not self.breaks:
            self.trouble = trouble

    def next(self, timeout: float) -> Event | None:
        """The next event within `timeout` seconds; None for silence, and what is not ours."""
        connection = self._connection
        if connection is None:
            return None
        try:
            frame = self._frames.get(timeout=max(0.0, timeout))
        except Empty:
            sent = connection.protocol.close_sent  # of which the server takes no notice
            if sent is not None:
                self._break(one_line(sent.reason))
            return None
        if isinstance(frame, ConnectionClosed):
            self._break(_reason(frame))
            return None
        return read(frame, self.prompt_id)

    def _break(self, why: str) -> None:
        self.trouble = f"broke ({why})"
        self.breaks += 1
        self._let_go()

    def ping(self) -> None:
        """Give a sign of life: gateways close a connection on which nothing moves.

        The answer is not waited for. A server that holds its breath while it loads a model is not
        gone, and one that is gone is found out by other means.
        """
        connection = self._connection
        if connection is not None:
            with suppress(ConnectionClosed):  # the next frame that is waited for will tell
                connection.ping()

    def close(self) -> None:
        """Let go of the connection, and of one that is only being made."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        stack, self._open, self._connection = self._open, None, None
        if stack is not None:
            stack.close()

    def _connect(self) -> ClientConnection:
        address = websocket(self._client.at, self.client_id)
        proxy: dict[str, Any] = {"proxy": None} if is_loopback(self._client.at) else {}
        # Entered by the caller: only so does it mean the same in all versions of the library.
        connection: ClientConnection = connect(
            address,
            ssl=self._client.tls,
            additional_headers=self._client.headers,
            compression=None,
            open_timeout=self._connect_seconds,
            close_timeout=_CLOSE_SECONDS,
            ping_interval=None,  # it would take a thread; `ping` does for us
            max_size=_LARGEST_FRAME,
            # Everything is read as it comes, however slow we are: a reader that stops blocks the
            # server's other clients.
            max_queue=None,
            logger=_LOGGER,
            create_connection=_Connection,
            **proxy,
        )
        return connection


def _receive(connection: ClientConnection, frames: Queue[str | bytes | ConnectionClosed]) -> None:
    """Hand on each frame, and at last what ended the connection.

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
    if isinstance(error, _OF_THE_PROXY):
        return "the proxy can't be used"
    return one_line(str(error)) or type(error).__name__


class _Refused(InvalidHandshake):
    """The server answered something else than a websocket."""


class _Connection(ClientConnection):
    """Takes a redirect for a refusal: our headers are for the server that was asked."""

    def handshake(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().handshake(*args, **kwargs)
        except InvalidStatus as error:
            raise _Refused(f"status {error.response.status_code}") from error
