"""The sockets of the server."""

from __future__ import annotations

import socket

from imagen.net.listen import ListenAddress, open_sockets


def test_sockets_say_that_they_are_tcp() -> None:
    """Otherwise asyncio does not switch Nagle's algorithm off, and small answers take 40 ms."""
    sockets = open_sockets(ListenAddress("127.0.0.1", 0))
    try:
        assert [one.proto for one in sockets] == [socket.IPPROTO_TCP]
    finally:
        for one in sockets:
            one.close()
