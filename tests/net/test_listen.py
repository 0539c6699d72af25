"""Addresses to listen at, and sockets."""

from __future__ import annotations

import socket

import pytest

from imagen.errors import ConfigError
from imagen.net.listen import ListenAddress, open_sockets, parse_address


@pytest.mark.parametrize(
    ("text", "address", "is_public"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080), False),
        ("127.1.2.3:80", ("127.1.2.3", 80), False),
        ("localhost:0", ("localhost", 0), False),
        ("[::1]:8080", ("::1", 8080), False),
        (":8080", ("", 8080), True),
        ("*:8080", ("", 8080), True),
        ("0.0.0.0:1", ("0.0.0.0", 1), True),
        ("[::]:1", ("::", 1), True),
        ("192.168.1.5:1", ("192.168.1.5", 1), True),
        ("studio.lan:1", ("studio.lan", 1), True),
    ],
)
def test_an_address_says_who_can_connect(
    text: str, address: tuple[str, int], is_public: bool
) -> None:
    assert parse_address(text) == address
    assert parse_address(text).is_public is is_public


@pytest.mark.parametrize("text", ["", "8080", "::1:8080", "a b:1", "x@y:1", "h:-1", "h:65536"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("", "http://localhost:1"),
        ("0.0.0.0", "http://localhost:1"),
        ("::", "http://localhost:1"),
        ("::1", "http://[::1]:1"),
        ("studio.lan", "http://studio.lan:1"),
    ],
)
def test_the_url_of_an_address(host: str, url: str) -> None:
    assert ListenAddress(host, 1).url("http") == url
    assert "localhost" not in ListenAddress(host, 1).lan_url("https")


def test_every_interface_is_ipv4_and_ipv6_on_one_port() -> None:
    sockets = open_sockets(ListenAddress("", 0))
    try:
        (port,) = {one.getsockname()[1] for one in sockets}
        families = {one.family for one in sockets}
        assert socket.AF_INET in families
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if family in families:
                socket.create_connection((host, port), timeout=5).close()
    finally:
        for one in sockets:
            one.close()
