"""Fetches an image from the public internet, and from nowhere else."""

from __future__ import annotations

import socket
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from imagen.core.image_file import DECODE_ERRORS, LARGEST_BYTES, open_image
from imagen.errors import BackendError, ConfigError, RequestError
from imagen.net import http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import httpcore
    import httpx

_LONGEST_SECONDS = 60.0
_REDIRECTS = 5
_NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that hold an IPv4 address in their last four bytes (RFC 6052)."""


class FetchedImage(NamedTuple):
    """The bytes of an image, and the last part of its address."""

    data: bytes
    name: str


def fetch_image(
    url: str,
    what: str = "image",
    *,
    network: http.Network | None = None,
    limit: int = LARGEST_BYTES,
    seconds: float = _LONGEST_SECONDS,
) -> FetchedImage:
    """The image at an address; `what` names the parameter in errors.

    Raises RequestError for an address that is not public, for what is not an image, is too large,
    or cannot be fetched.
    """
    address = url
    try:
        with http.within(seconds):
            for _ in range(_REDIRECTS + 1):
                response = _get(address, network or PublicNetwork(), limit)
                if not response.is_redirect:
                    data = http.check_response(response, _origin(address)).content
                    _require_image(data)
                    return FetchedImage(data, unquote(urlsplit(address).path.rpartition("/")[2]))
                address = urljoin(address, response.headers.get("location", ""))
        raise RequestError(f"redirects more than {_REDIRECTS} times.")
    except RequestError as error:
        raise RequestError(f"{what}: {url} {error.message}", remedy=error.remedy) from error
    except (BackendError, ConfigError, ValueError) as error:
        raise RequestError(f"{what}: {url} cannot be fetched: {error}") from error


def _get(address: str, network: http.Network, limit: int) -> httpx.Response:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestError(f"cannot be fetched: {address!r} is not an http or https URL.")
    if "@" in parts.netloc:
        raise RequestError("holds a user or password, which imagen does not send.")
    origin = _origin(address)
    with http.HttpClient(origin, tls=http.tls(origin, None), network=network) as client:
        return client.request("GET", address, limit=limit)


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _require_image(data: bytes) -> None:
    try:
        open_image(BytesIO(data)).close()
    except DECODE_ERRORS as error:
        raise RequestError("is not an image that can be read.") from error


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also where IPv6 wraps one of IPv4."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        wrapped: IPv4Address | IPv6Address | None = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            wrapped = IPv4Address(ip.packed[-4:])
        ip = wrapped or ip
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class PublicNetwork(http.Network):
    """Connects to public addresses only.

    The address that was checked is used: the name of a host may resolve to another one next time.
    """

    def __init__(
        self,
        *,
        resolve: Callable[[str, int], Iterable[str]] = _resolve,
        is_allowed: Callable[[str], bool] = is_public,
    ) -> None:
        super().__init__()
        self._resolve = resolve
        self._is_allowed = is_allowed

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = list(self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise RequestError(f"cannot be fetched: unknown host {host!r}.") from error
        for address in addresses:
            if not self._is_allowed(address):
                raise RequestError(
                    f"leads to {address}, which is not an address of the public internet.",
                    remedy="Download it yourself and give the file.",
                )
        return super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)
