"""Connection errors say what is wrong and what to do."""

from __future__ import annotations

import datetime
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme
from support.raw_server import RawServer, answer

from imagen.errors import Unavailable
from imagen.net import http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_HELLO = answer(b"hello")
_LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_IN_FUTURE = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


class _Fault(NamedTuple):
    message: str
    remedy: str
    was_never_sent: bool


def _fault(url: str, ca_file: Path | None = None) -> _Fault:
    """What is said where this address is asked."""
    with (
        http.HttpClient(url, connect_seconds=0.5, tls=http.tls(url, ca_file)) as client,
        pytest.raises(Unavailable) as caught,
    ):
        client.request("POST", "/", content=b"a job", seconds=10)
    error = caught.value
    return _Fault(error.message, error.remedy, http.not_sent(error))


class _Authority:
    """An authority that this test trusts, and servers with its certificates."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def context(self, *names: str, expires: datetime.datetime | None = None) -> ssl.SSLContext:
        """How a server shows a certificate for these hosts."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, not_after=expires).configure_cert(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> _Authority:
    return _Authority(tmp_path)


def _https(server: RawServer) -> str:
    return server.url.replace("http:", "https:")


def test_a_server_with_a_certificate_of_a_known_authority_is_reached(
    authority: _Authority,
) -> None:
    with RawServer(_HELLO, tls=authority.context("127.0.0.1")) as server:
        at = _https(server)
        with http.HttpClient(at, tls=http.tls(at, authority.file)) as client:
            assert client.request("GET", "/").content == b"hello"


def test_http_to_an_https_port_is_named(authority: _Authority) -> None:
    with RawServer(_HELLO, tls=authority.context("127.0.0.1")) as server:
        assert _fault(server.url) == (
            f"{server.url} speaks https, but was asked in plain http.",
            "Begin its URL with https://.",
            True,
        )


@pytest.mark.parametrize(
    "page",
    [
        "<html><h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port</html>",
        "<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.</p>",
        "Client sent an HTTP request to an HTTPS server.\n",
    ],
    ids=["nginx", "Apache", "Go"],
)
def test_http_to_an_https_port_of_a_server_that_answers_400_is_named(page: str) -> None:
    refuse = answer(page.encode(), status=b"HTTP/1.1 400 Bad Request\r\n")
    with RawServer(refuse) as server:
        assert _fault(server.url).message == (
            f"{server.url} speaks https, but was asked in plain http."
        )


def test_https_to_an_http_port_is_named() -> None:
    with RawServer(_refuse_in_http) as server:
        assert _fault(_https(server)) == (
            f"{_https(server)} does not speak https.",
            "If it speaks plain http, begin its URL with http://.",
            True,
        )


def test_https_to_a_silent_http_port_is_named() -> None:
    with RawServer(_read_for_ever) as server:
        assert _fault(_https(server)) == (
            f"{_https(server)} accepted the connection but did not answer in https.",
            "If it speaks plain http, begin its URL with http://.",
            True,
        )


def _read_for_ever(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def test_an_expired_certificate_is_explained(authority: _Authority) -> None:
    with RawServer(_HELLO, tls=authority.context("127.0.0.1", expires=_LONG_AGO)) as server:
        assert _fault(_https(server), authority.file) == (
            f"{_https(server)} cannot be trusted: its certificate has expired.",
            "Renew it on the server; check this machine's clock too.",
            True,
        )


@pytest.mark.parametrize("name", ["elsewhere.example", "192.0.2.1"])
def test_a_certificate_for_another_host_is_explained(authority: _Authority, name: str) -> None:
    with RawServer(_HELLO, tls=authority.context(name)) as server:
        assert _fault(_https(server), authority.file) == (
            f"{_https(server)} cannot be trusted: its certificate is for another host.",
            "Use the host name of the certificate, or give the server a certificate for this one.",
            True,
        )


def test_a_certificate_of_an_unknown_authority_is_explained(authority: _Authority) -> None:
    with RawServer(_HELLO, tls=authority.context("127.0.0.1")) as server:
        fault = _fault(_https(server))
    assert fault.message == (
        f"{_https(server)} cannot be trusted: its certificate is from an unknown authority."
    )
    assert fault.remedy.startswith("Set the environment variable SSL_CERT_FILE, or `ca_file`")


def test_a_self_signed_certificate_is_explained(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = tmp_path / "own.pem"
    path.write_bytes(_self_signed())
    context.load_cert_chain(path)
    with RawServer(_HELLO, tls=context) as server:
        fault = _fault(_https(server))
        assert fault.message == (
            f"{_https(server)} cannot be trusted: its certificate is self-signed."
        )
        assert fault.remedy.startswith("If the server is yours, set the environment variable")
        at = _https(server)
        with http.HttpClient(at, tls=http.tls(at, path)) as client:
            assert client.request("GET", "/").content == b"hello"


def _self_signed() -> bytes:
    """A key and its own certificate, in PEM."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_LONG_AGO)
        .not_valid_after(_IN_FUTURE)
        .add_extension(hosts, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, form, serialization.NoEncryption())
    return private + certificate.public_bytes(pem)


@pytest.fixture
def unused_address() -> Iterator[str]:
    """An address that refuses connections; the port is held."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


_REMEDY = (
    "Start the proxy, or correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY lists hosts that "
    "are reached without it."
)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("url", ["http://studio.example:8188", "https://studio.example"])
def test_an_unreachable_proxy_is_named(
    monkeypatch: pytest.MonkeyPatch, unused_address: str, scheme: str, url: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:hunter2@{unused_address}")
    assert _fault(url) == (
        f"The proxy {scheme}://{unused_address}, set in the environment, cannot be reached: "
        "Connection refused.",
        _REMEDY,
        True,
    )


def _close(connection: socket.socket) -> None:
    connection.recv(65536)


def _refuse_in_http(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def _refuse_in_socks(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x05\x00")
    connection.recv(65536)
    connection.sendall(b"\x05\x04\x00\x01\0\0\0\0\0\0")


@pytest.mark.parametrize(
    ("scheme", "behave", "message"),
    [
        pytest.param(
            "http",
            answer(b"", status=b"HTTP/1.1 407 Proxy Authentication Required\r\n"),
            "The proxy {proxy} did not connect to https://studio.example: "
            "407 Proxy Authentication Required.",
            id="wants a password",
        ),
        pytest.param(
            "http",
            _close,
            "https://studio.example (through the proxy {proxy}) closed the connection, or does not "
            "speak HTTP: Server disconnected without sending a response.",
            id="closes",
        ),
        pytest.param(
            "socks5",
            _refuse_in_http,
            "The proxy {proxy} did not connect to https://studio.example: it does not answer "
            "like a SOCKS proxy.",
            id="no SOCKS",
        ),
        pytest.param(
            "socks5",
            _refuse_in_socks,
            "The proxy {proxy} did not connect to https://studio.example: Proxy Server could not "
            "connect: Host unreachable.",
            id="SOCKS refuses",
        ),
    ],
)
def test_a_proxy_that_does_not_connect_is_named(
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    behave: Callable[[socket.socket], None],
    message: str,
) -> None:
    with RawServer(behave) as server:
        proxy = f"{scheme}://127.0.0.1:{server.port}"
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        assert _fault("https://studio.example").message == message.format(proxy=proxy)


def test_a_host_in_no_proxy_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, unused_address: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://{unused_address}")
    assert "The proxy" in _fault("http://studio.invalid").message
    monkeypatch.setenv("NO_PROXY", "studio.invalid")
    assert _fault("http://studio.invalid").message.startswith(
        "http://studio.invalid cannot be reached"
    )
