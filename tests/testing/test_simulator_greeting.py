"""A websocket that is open is registered: its client receives messages about what it posts next."""

from __future__ import annotations

from threading import Thread

from imagen.testing.comfyui import FailureSwitches
from imagen.testing.comfyui.failure_switches import ActiveSwitches
from imagen.testing.comfyui.websocket import ConnectedClients, ServerWebSocket, text_message

_HANDSHAKE = (
    b"GET /ws?clientId=me HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class _EagerConnection:
    """A connection of a client whose prompt runs the moment the handshake is answered."""

    def __init__(self, clients: ConnectedClients) -> None:
        self.clients = clients
        self.connection = self
        self.sent = b""
        self.run: Thread | None = None

    def head(self) -> bytes:
        return _HANDSHAKE

    def sendall(self, data: bytes) -> None:
        self.sent += data
        if self.run is None:
            message = text_message("execution_start", {})
            send = self.clients.send
            self.run = Thread(target=send, args=("me", "execution_start", message))
            self.run.start()
            self.run.join(0.1)


def test_prompt_that_runs_at_once_is_reported_after_the_greeting() -> None:
    clients = ConnectedClients(ActiveSwitches(FailureSwitches()))
    connection = _EagerConnection(clients)
    websocket = ServerWebSocket(connection, "me")  # type: ignore[arg-type]
    assert websocket.accept()
    clients.enter(websocket, 0, is_first=True, running_node=None)
    assert connection.run is not None
    connection.run.join()
    answer, greeting, started = (
        connection.sent.index(words) for words in (b"101 Switching", b'"sid"', b"execution_start")
    )
    assert answer < greeting < started
