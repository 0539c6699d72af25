"""Where a server listens: its address, and the sockets that wait for clients."""

from __future__ import annotations

import errno
import re
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple

from imagen.core.text import one_line
from imagen.errors import ConfigError

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]*\]|[^:\[\]/@\s]*):(?P<port>\d{1,5})")
_BACKLOG = 2048


class ListenAddress(NamedTuple):
    """A host and a port to listen at."""

    host: str
    """A name or an address; empty for every interface."""
    port: int
    """0 for any that is free."""

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach it."""
        if self.host.lower() == "localhost":
            return False
        with suppress(ValueError):
            return not ip_address(self.host).is_loopback
        return True

    def url(self, scheme: str) -> str:
        """A URL by which this machine reaches it."""
        return self._url(scheme, "localhost")

    def lan_url(self, scheme: str) -> str:
        """A URL by which other machines of its network probably reach it."""
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing, but chooses an interface
            return self._url(scheme, str(probe.getsockname()[0]))
        return self._url(scheme, socket.gethostname())

    def _url(self, scheme: str, host_of_all: str) -> str:
        host = self.host
        with suppress(ValueError):
            if ip_address(host).is_unspecified:
                host = ""
        host = f"[{host}]" if ":" in host else host or host_of_all
        return f"{scheme}://{host}:{self.port}"


def parse_address(text: str) -> ListenAddress:
    """The address of a text such as `127.0.0.1:8080`, `:8080` or `[::1]:8080`.

    Raises ConfigError.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match["port"]) > 65535:
        raise ConfigError(
            f"{one_line(text, limit=80)!r} is not an address to listen at.",
            remedy="Write it as 127.0.0.1:8080; :8080 is every interface, [::1]:8080 is IPv6.",
        )
    host = match["host"].strip("[]")
    return ListenAddress("" if host == "*" else host, int(match["port"]))


def open_sockets(address: ListenAddress) -> list[socket.socket]:
    """The sockets that listen at an address: two for every interface, of IPv4 and of IPv6.

    Raises ConfigError if the port is in use or the host is unknown.
    """
    sockets: list[socket.socket] = []
    try:
        if address.host:
            sockets.append(_open(address.host, address.port))
        else:
            sockets.append(_open("0.0.0.0", address.port))
            port = sockets[0].getsockname()[1]
            with suppress(OSError):  # without IPv6
                if socket.has_ipv6:
                    sockets.append(_open("::", port))
    except OSError as error:
        for one in sockets:
            one.close()
        place = f"port {address.port}" + (f" of {address.host}" if address.host else "")
        raise ConfigError(
            f"The server cannot listen at {place}: {_reason(error)}.",
            remedy="Choose another one with --port or --addr, or server.address in imagen.yaml.",
        ) from error
    return sockets


def _open(host: str, port: int) -> socket.socket:
    kinds = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, place = kinds[0][0], kinds[0][4]
    file = socket.create_server(place, family=family, backlog=_BACKLOG).detach()
    # Only for sockets that say they are TCP, asyncio sends small answers at once; otherwise each
    # one waits 40 ms for the client's acknowledgement.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=file)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its host is unknown"
    if error.errno == errno.EADDRINUSE:
        return "another program uses it"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return (error.strerror or str(error)).lower()
