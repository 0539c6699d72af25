"""Answers are bounded in size and time."""

from __future__ import annotations

import gzip
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from support.raw_server import OK, RawServer, answer, drip, read_request

from imagen.errors import BackendError, Rejected, Unavailable
from imagen.net import http

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_MB = 1 << 20


def _ask(server: RawServer, **more: object) -> bytes:
    with http.HttpClient(server.url) as client:
        return client.request("GET", "/", **more).content  # type: ignore[arg-type]  # as given


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(bytes(_MB + 1), (), id="announced"),
        pytest.param(gzip.compress(bytes(64 * _MB), 1), ("Content-Encoding: gzip",), id="bomb"),
    ],
)
def test_an_answer_beyond_the_limit_is_an_error(body: bytes, headers: tuple[str, ...]) -> None:
    with RawServer(answer(body, *headers)) as server, pytest.raises(BackendError) as caught:
        _ask(server, limit=_MB)
    assert type(caught.value) is BackendError
    assert caught.value.message == (
        f"{server.url} sent more than 1 MB, the most that imagen reads at once."
    )


def test_an_endless_answer_is_read_up_to_the_limit() -> None:
    chunks = (b"64\r\n" + bytes(100) + b"\r\n") * 10_000
    endless = drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", chunks)
    with RawServer(endless) as server, pytest.raises(BackendError, match="more than 1 MB"):
        _ask(server, limit=_MB)


def test_an_answer_at_the_limit_is_read() -> None:
    with RawServer(answer(bytes(_MB))) as server:
        assert _ask(server, limit=_MB) == bytes(_MB)


def test_a_compressed_answer_is_decompressed() -> None:
    body = gzip.compress(b'{"a": 1}')
    with RawServer(answer(body, "Content-Encoding: gzip")) as server:
        assert _ask(server) == b'{"a": 1}'


@pytest.mark.parametrize(
    ("encoding", "body", "why"),
    [
        pytest.param("gzip, gzip", b"", "unknown encoding 'gzip, gzip'", id="twice"),
        pytest.param("br", b"", "unknown encoding 'br'", id="not asked for"),
        pytest.param("gzip", b"no gzip", "Error -3 while decompressing", id="damaged"),
        pytest.param("gzip", gzip.compress(b"abc")[:-4], "it is cut off", id="cut short"),
    ],
)
def test_an_answer_that_cannot_be_decompressed_is_an_error(
    encoding: str, body: bytes, why: str
) -> None:
    with (
        RawServer(answer(body, f"Content-Encoding: {encoding}")) as server,
        pytest.raises(Unavailable, match=f"cannot be decompressed: {why}"),
    ):
        _ask(server)


def test_only_the_beginning_of_a_refusal_is_read() -> None:
    body = b"no " * (16 * _MB)
    with RawServer(answer(body, status=b"HTTP/1.1 418 No\r\n")) as server:
        with http.HttpClient(server.url) as client:
            response = client.request("GET", "/", limit=100)
        with pytest.raises(Rejected) as caught:
            http.check_response(response, "it")
    assert len(response.content) < 17 * _MB
    assert caught.value.message == f"it refused the request: 418 {('no ' * 100)[:299]}…."


def _read_slowly(connection: socket.socket) -> None:
    while connection.recv(1):
        time.sleep(0.05)


def _never_answer(connection: socket.socket) -> None:
    while read_request(connection):
        pass


def _greet_for_ever(connection: socket.socket) -> None:
    read_request(connection)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(_never_answer, id="silence"),
        pytest.param(drip(b"HTTP/1.1 200 O"), id="status line"),
        pytest.param(drip(OK + b"X-Header: "), id="headers"),
        pytest.param(drip(OK + b"Content-Length: 1000000\r\n\r\n"), id="body"),
        pytest.param(drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), id="chunks"),
        pytest.param(_greet_for_ever, id="1xx"),
        pytest.param(_read_slowly, id="upload"),
    ],
)
def test_a_dripping_answer_ends_in_time(
    behave: Callable[[socket.socket], None],
) -> None:
    with (
        RawServer(behave) as server,
        http.HttpClient(server.url) as client,
        pytest.raises(Unavailable) as caught,
    ):
        client.request("POST", "/", seconds=0.3, content=bytes(8 * _MB))
    assert caught.value.message == f"{server.url} did not finish its answer within 0.3 s."


def test_a_tls_handshake_ends_in_time() -> None:
    with RawServer(drip(b"")) as server:
        at = f"https://127.0.0.1:{server.port}"
        tls = http.tls(at, None)
        assert isinstance(tls, ssl.SSLContext)
        with (
            http.HttpClient(at, tls=tls) as client,
            pytest.raises(Unavailable, match=r"did not finish its answer within 0\.3 s"),
        ):
            client.request("GET", "/", seconds=0.3)


def test_within_bounds_all_requests_of_its_block() -> None:
    with (
        RawServer(drip(OK)) as server,
        http.HttpClient(server.url) as client,
        http.within(0.3),
    ):
        with pytest.raises(Unavailable):
            client.request("GET", "/")
        with pytest.raises(Unavailable):
            client.request("GET", "/")


def test_limit_none_leaves_the_body_of_a_success_unread() -> None:
    with RawServer(drip(OK + b"Content-Length: 1000000\r\n\r\n")) as server:
        assert _ask(server, limit=None) == b""
