"""The simulator's websockets: registration, reconnects, feature flags and the switches for them."""

from __future__ import annotations

import json
import socket
from threading import Thread
from typing import TYPE_CHECKING, Literal

import pytest
from support.plain_comfyui_client import (
    FLAGS,
    connect_client,
    flat_graph,
    receive_until,
    sampled_graph,
    summarize,
)
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from imagen.testing.comfyui import ComfyUI, FailureSwitches
from imagen.testing.comfyui.failure_switches import ActiveSwitches
from imagen.testing.comfyui.websocket import ConnectedClients, ServerWebSocket, text_message

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection


_HANDSHAKE = (
    b"GET /ws?clientId=me HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def nothing(websocket: ClientConnection) -> bool:
    """Whether a socket is open, answers pings, and says nothing."""
    assert websocket.ping().wait(5)
    with pytest.raises(TimeoutError):
        websocket.recv(timeout=0.05)
    return True


def test_returning_client_receives_the_running_node_without_a_prompt_id() -> None:
    with ComfyUI(step_seconds=0.05) as server, connect_client(server) as plain:
        with plain.socket() as first:
            plain.submit(sampled_graph(steps=50))
            receive_until(first, "progress 3 1/50")
        with plain.raw_socket() as second:
            said = [second.recv(timeout=5), second.recv(timeout=5)]
    assert [summarize(frame) for frame in said] == ["status 1", "executing 3"]
    assert json.loads(said[1])["data"] == {"node": "3"}


def test_second_socket_of_a_client_takes_over() -> None:
    with (
        ComfyUI() as server,
        connect_client(server) as plain,
        plain.socket() as first,
        plain.socket() as second,
    ):
        plain.submit(flat_graph())
        assert summarize(receive_until(second)[-1]) == "executing null"
        assert nothing(first)


def test_closing_the_first_socket_silences_the_second() -> None:
    with ComfyUI() as server, connect_client(server) as plain, plain.raw_socket() as second:
        with plain.socket():
            pass
        second.recv(timeout=5)
        plain.wait_until_finished(plain.submit(flat_graph()))
        assert nothing(second)


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
def test_websocket_has_two_paths(path: str) -> None:
    with (
        ComfyUI() as server,
        connect(server.url.replace("http", "ws") + path, proxy=None) as websocket,
    ):
        assert summarize(websocket.recv(timeout=5)) == "status 0"


def test_stop_does_not_wait_for_a_client_that_does_not_read() -> None:
    with ComfyUI(huge_frame=True) as server, connect_client(server) as plain:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(_HANDSHAKE)
            connection.recv(1)
            plain.submit(flat_graph())
            assert plain.wait_until_running()
            server.stop()


def test_feature_flags_are_read_from_the_first_message_only() -> None:
    with ComfyUI() as server, connect_client(server) as plain:
        with plain.socket() as websocket:
            websocket.send("{not json")
            websocket.send(FLAGS)
            assert json.loads(websocket.recv(timeout=5)) == {
                "type": "feature_flags",
                "data": {"supports_preview_metadata": True, "max_upload_size": 104857600},
            }
        with plain.socket("another") as websocket:
            websocket.send("{}")
            websocket.send(FLAGS)
            assert nothing(websocket)


def test_silent_accepts_websockets_and_sends_nothing() -> None:
    with (
        ComfyUI(silent=True) as server,
        connect_client(server) as plain,
        plain.raw_socket() as websocket,
    ):
        assert plain.wait_until_finished(plain.submit(flat_graph()))["status"]["completed"]
        assert nothing(websocket)


@pytest.mark.parametrize("second_id", ["me", "another"])
def test_deaf_after_reconnect_sends_only_the_greeting(second_id: str) -> None:
    with ComfyUI(deaf_after_reconnect=True) as server, connect_client(server) as plain:
        with plain.socket():
            pass
        with plain.socket(second_id) as websocket:
            plain.wait_until_finished(plain.submit(flat_graph(), client_id=second_id))
            assert nothing(websocket)
    assert server.client_ids == ["me", second_id]


@pytest.mark.parametrize(
    ("event", "nth", "last"),
    [
        ("execution_start", 1, "status 1"),
        ("executing", 2, "state 1f 9r"),
        ("executed", 1, "executing 9"),
        ("execution_success", 1, "state 1f 9f"),
        ("status", 3, "execution_success"),
        ("end", 1, "status 0"),
    ],
)
def test_drop_at_cuts_the_socket_instead_of_sending_the_event(
    event: str, nth: int, last: str
) -> None:
    with ComfyUI(drop_at=event, drop_nth=nth) as server, connect_client(server) as plain:
        with plain.socket() as websocket:
            prompt_id = plain.submit(flat_graph())
            assert summarize(receive_until(websocket)[-1]) == last
        assert plain.wait_until_finished(prompt_id)["status"]["completed"]
        assert plain.run(flat_graph()).lines[-1] == "executing null"


def test_dropped_socket_ends_without_a_close_frame() -> None:
    with (
        ComfyUI(drop_at="greeting") as server,
        connect_client(server) as plain,
        plain.raw_socket() as websocket,
        pytest.raises(ConnectionClosedError) as caught,
    ):
        websocket.recv(timeout=5)
    assert caught.value.rcvd is None


def test_refuse_ws_answers_403() -> None:
    with ComfyUI(refuse_ws=True) as server, connect_client(server) as plain:
        with pytest.raises(InvalidStatus, match="403"), plain.raw_socket():
            pass
        assert plain.wait_until_finished(plain.submit(flat_graph()))["status"]["completed"]


def test_refuse_reconnect_accepts_one_socket() -> None:
    with ComfyUI(refuse_reconnect=True) as server, connect_client(server) as plain:
        with plain.socket():
            pass
        with pytest.raises(InvalidStatus, match="403"), plain.raw_socket("another"):
            pass
    assert server.sockets_opened == 1


def test_foreign_frames_are_mixed_with_those_of_the_run() -> None:
    with (
        ComfyUI(foreign_frames=True) as server,
        connect_client(server) as plain,
        plain.socket() as websocket,
    ):
        prompt_id = plain.submit(flat_graph())
        frames = [
            *receive_until(websocket, "cached"),
            *receive_until(websocket, "state 1r"),
            *receive_until(websocket, "status 0"),
        ]
        assert json.loads(websocket.recv(timeout=5))["data"] == {
            "node": None,
            "prompt_id": prompt_id,
        }
    lines = [summarize(frame) for frame in frames]
    assert lines.count("executing null") == 4
    assert lines.count("malformed") == 22
    binaries = {frame[:4] for frame in frames if isinstance(frame, bytes)}
    assert binaries == {
        b"\0\0\0\1",
        b"\0\0\0\2",
        b"\0\0\0\3",
        b"\0\0\0\4",
        b"\0\0\0\x63",
        b"\0",
        b"",
    }


@pytest.mark.parametrize(("kind", "first"), [(1, "progress 3 1/2"), (4, "binary 4")])
def test_previews_use_the_requested_frame_type(kind: Literal[1, 4], first: str) -> None:
    with ComfyUI(previews=kind) as server, connect_client(server) as plain:
        run = plain.run(sampled_graph())
    assert run.lines[19] == first
    assert run.lines.count(f"binary {kind}") == 2


def test_huge_frame_has_20_megabytes() -> None:
    with ComfyUI(huge_frame=True) as server, connect_client(server) as plain:
        run = plain.run(flat_graph())
    assert max(len(frame) for frame in run.frames) == 20 * 1024 * 1024 + 8


def test_no_terminal_omits_the_last_message_and_the_run_ends() -> None:
    with (
        ComfyUI(no_terminal=True) as server,
        connect_client(server) as plain,
        plain.socket() as websocket,
    ):
        plain.submit(flat_graph())
        assert summarize(receive_until(websocket, "status 0")[-2]) == "execution_success"
        assert nothing(websocket)


def test_no_execution_success_omits_the_success_message() -> None:
    with ComfyUI(no_execution_success=True) as server, connect_client(server) as plain:
        run = plain.run(flat_graph())
    assert run.lines[-3:] == ["state 1f 9f", "status 0", "executing null"]
    assert run.entry["status"]["messages"][-1][0] == "execution_success"


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
