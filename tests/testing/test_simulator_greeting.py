"""A websocket that is open is registered: what its client posts next, it hears of."""

from __future__ import annotations

from threading import Thread

from imagen.testing.comfyui import FailureSwitches
from imagen.testing.comfyui.hub import Hub
from imagen.testing.comfyui.setup import Mischief
from imagen.testing.comfyui.websocket import WebSocket

_HANDSHAKE = (
    b"GET /ws?clientId=me HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class _Eager:
    """The wire to a client whose job runs the moment it has the handshake's answer."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.sent = b""
        self.run: Thread | None = None

    def sendall(self, data: bytes) -> None:
        self.sent += data
        if self.run is None:
            self.run = Thread(target=self.hub.tell, args=("me", "execution_start", {}))
            self.run.start()
            self.run.join(0.1)


def test_a_job_that_runs_at_once_is_heard_of_after_the_greeting() -> None:
    hub = Hub(Mischief(FailureSwitches()))
    wire = _Eager(hub)
    # Only what is sent matters here: nothing reads, and nothing is a real socket.
    websocket = WebSocket(wire, None, sid="me")  # type: ignore[arg-type]
    assert websocket.accepts(_HANDSHAKE)
    hub.enter(websocket, 0, first=True, running=None)
    assert wire.run is not None
    wire.run.join()
    answer, greeting, started = (
        wire.sent.index(words) for words in (b"101 Switching", b'"sid"', b"execution_start")
    )
    assert answer < greeting < started
