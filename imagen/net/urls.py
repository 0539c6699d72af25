"""Checks of configured URLs, and credentials from the environment."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagen.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PRIVATE_NAMES = (".local", ".lan", ".internal", ".home.arpa", ".localhost")


def is_loopback(url: str) -> bool:
    """Whether the URL leads to this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def is_private_host(url: str) -> bool:
    """Whether the URL leads to this machine or to a private network."""
    from ipaddress import ip_address  # only needed for a key that would be sent over http

    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_private
    return "." not in host or host.endswith(_PRIVATE_NAMES)


def url_faults(key: str, url: str, *, like: str, instead: str = "") -> Iterator[str]:
    """What is wrong with the URL of a server, in sentences that never show it.

    `like` is a valid example; `instead` says what to do with a password.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")  # as the resolver will
        is_valid = parts.scheme in ("http", "https") and host and parts.port != 0
    except ValueError:
        is_valid, parts = False, urlsplit("")
    if parts.username is not None or parts.password is not None:
        yield f"{key} must not hold a user or password{instead}"
    elif not is_valid:
        yield f"{key} must look like {like}"
    elif parts.query or parts.fragment:
        yield f"{key} must end with its path: no ? and no #"


def read_secret(variable: str, environ: Mapping[str, str], *, remedy: str) -> str:
    """The value of an environment variable for a header; raises Unauthorized that names it."""
    value = environ.get(variable, "").strip()
    if not value:
        raise Unauthorized(f"The environment variable {variable} is not set.", remedy=remedy)
    if not value.isprintable() or not value.isascii():
        raise Unauthorized(
            f"The value of {variable} cannot be sent: it is not plain text on one line.",
            remedy=remedy,
        )
    return value


def read_authorization(
    *, bearer_env: str = "", basic_env: str = "", environ: Mapping[str, str]
) -> dict[str, str]:
    """The header that authorizes a request, from the variable that one of the keys names.

    Empty where neither names one. `basic_env` holds `user:password`. Raises Unauthorized for a
    variable that is not set.
    """
    variable = bearer_env or basic_env
    if not variable:
        return {}
    remedy = f"Set {variable} to the credential of the server."
    secret = read_secret(variable, environ, remedy=remedy)
    if bearer_env:
        return {"Authorization": f"Bearer {secret}"}
    from base64 import b64encode

    return {"Authorization": f"Basic {b64encode(secret.encode()).decode()}"}
