"""Simulated websockets come and go as real ones do, or worse."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Literal

import pytest
from support.plain_comfyui_client import FLAGS, client, flat, line, listen, sampled
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from imagen.testing.comfyui import ComfyUI

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


def test_who_returns_hears_where_the_run_is_without_its_id() -> None:
    with ComfyUI(step_seconds=0.05) as server, client(server) as plain:
        with plain.socket() as first:
            plain.submit(sampled(steps=50))
            listen(first, "progress 3 1/50")
        with plain.unread() as second:
            said = [second.recv(timeout=5), second.recv(timeout=5)]
    assert [line(frame) for frame in said] == ["status 1", "executing 3"]
    assert json.loads(said[1])["data"] == {"node": "3"}


def test_a_second_socket_of_a_client_takes_over() -> None:
    with (
        ComfyUI() as server,
        client(server) as plain,
        plain.socket() as first,
        plain.socket() as second,
    ):
        plain.submit(flat())
        assert line(listen(second)[-1]) == "executing null"
        assert nothing(first)


def test_the_end_of_the_first_socket_deafens_the_second() -> None:
    with ComfyUI() as server, client(server) as plain, plain.unread() as second:
        with plain.socket():
            pass
        second.recv(timeout=5)
        plain.ended(plain.submit(flat()))
        assert nothing(second)


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
def test_a_socket_has_two_paths(path: str) -> None:
    with ComfyUI() as server, connect(server.url.replace("http", "ws") + path, proxy=None) as ours:
        assert line(ours.recv(timeout=5)) == "status 0"


def test_who_does_not_read_does_not_keep_the_server_from_ending() -> None:
    with ComfyUI(huge_frame=True) as server, client(server) as plain:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(_HANDSHAKE)
            connection.recv(1)
            plain.submit(flat())
            assert plain.running()
            server.stop()


def test_flags_are_answered_and_only_the_first_message_counts() -> None:
    with ComfyUI() as server, client(server) as plain:
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


def test_silent_accepts_and_says_nothing() -> None:
    with ComfyUI(silent=True) as server, client(server) as plain, plain.unread() as websocket:
        assert plain.ended(plain.submit(flat()))["status"]["completed"]
        assert nothing(websocket)


@pytest.mark.parametrize("second_id", ["me", "another"])
def test_deaf_after_reconnect_greets_and_says_nothing_more(second_id: str) -> None:
    with ComfyUI(deaf_after_reconnect=True) as server, client(server) as plain:
        with plain.socket():
            pass
        with plain.socket(second_id) as websocket:
            plain.ended(plain.submit(flat(), client_id=second_id))
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
def test_drop_at_cuts_the_socket_in_place_of_an_event(event: str, nth: int, last: str) -> None:
    with ComfyUI(drop_at=event, drop_nth=nth) as server, client(server) as plain:
        with plain.socket() as websocket:
            prompt_id = plain.submit(flat())
            assert line(listen(websocket)[-1]) == last
        assert plain.ended(prompt_id)["status"]["completed"]
        assert plain.run(flat()).lines[-1] == "executing null"


def test_a_dropped_socket_ends_without_a_close_frame() -> None:
    with (
        ComfyUI(drop_at="greeting") as server,
        client(server) as plain,
        plain.unread() as websocket,
        pytest.raises(ConnectionClosedError) as caught,
    ):
        websocket.recv(timeout=5)
    assert caught.value.rcvd is None


def test_refuse_ws_answers_403() -> None:
    with ComfyUI(refuse_ws=True) as server, client(server) as plain:
        with pytest.raises(InvalidStatus, match="403"), plain.unread():
            pass
        assert plain.ended(plain.submit(flat()))["status"]["completed"]


def test_refuse_reconnect_takes_one_socket() -> None:
    with ComfyUI(refuse_reconnect=True) as server, client(server) as plain:
        with plain.socket():
            pass
        with pytest.raises(InvalidStatus, match="403"), plain.unread("another"):
            pass
    assert server.sockets_opened == 1


def test_foreign_frames_come_with_those_of_the_run() -> None:
    with ComfyUI(foreign_frames=True) as server, client(server) as plain, plain.socket() as ours:
        prompt_id = plain.submit(flat())
        frames = [*listen(ours, "cached"), *listen(ours, "state 1r"), *listen(ours, "status 0")]
        assert json.loads(ours.recv(timeout=5))["data"] == {"node": None, "prompt_id": prompt_id}
    lines = [line(frame) for frame in frames]
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
def test_previews_are_of_the_type_that_is_asked_for(kind: Literal[1, 4], first: str) -> None:
    with ComfyUI(previews=kind) as server, client(server) as plain:
        heard = plain.run(sampled())
    assert heard.lines[19] == first
    assert heard.lines.count(f"binary {kind}") == 2


def test_a_huge_frame_has_twenty_megabytes() -> None:
    with ComfyUI(huge_frame=True) as server, client(server) as plain:
        heard = plain.run(flat())
    assert max(len(frame) for frame in heard.frames) == 20 * 1024 * 1024 + 8


def test_without_the_last_word_the_run_still_ends() -> None:
    with ComfyUI(no_terminal=True) as server, client(server) as plain, plain.socket() as ours:
        plain.submit(flat())
        assert line(listen(ours, "status 0")[-2]) == "execution_success"
        assert nothing(ours)


def test_without_its_success_a_run_ends_with_the_last_word() -> None:
    with ComfyUI(no_execution_success=True) as server, client(server) as plain:
        heard = plain.run(flat())
    assert heard.lines[-3:] == ["state 1f 9f", "status 0", "executing null"]
    assert heard.entry["status"]["messages"][-1][0] == "execution_success"
