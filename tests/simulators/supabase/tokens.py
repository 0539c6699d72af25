"""The signed tokens of a simulated Supabase: its keys, and the ends of its signed addresses."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Any

_SECRET = "the stand-in's own secret, which signs nothing else"


class TokenError(Exception):
    """Why a token is no good, in the words of the real service."""


def signed(claims: dict[str, Any], *, secret: str = _SECRET) -> str:
    """A JSON Web Token that says this."""
    head = _encoded(b'{"alg":"HS256","typ":"JWT"}')
    body = _encoded(json.dumps(claims, separators=(",", ":")).encode())
    return f"{head}.{body}.{_signature(f'{head}.{body}', secret)}"


def claims(token: str, *, secret: str = _SECRET) -> dict[str, Any]:
    """What a token says; raises TokenError where it is not one of ours, or has expired."""
    if token.count(".") != 2:
        raise TokenError("Invalid Compact JWS")
    text, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(text, secret).encode()):
        raise TokenError("signature verification failed")
    found: dict[str, Any] = json.loads(_decoded(text.partition(".")[2]))
    if found.get("exp", time.time() + 1) <= time.time():
        raise TokenError('"exp" claim timestamp check failed')
    return found


def key(role: str, *, secret: str = _SECRET, expires: float | None = None) -> str:
    """A key of the project for this role: `service_role`, `authenticated` or `anon`."""
    lasting = {} if expires is None else {"exp": expires}
    return signed({"role": role, "iss": "stand-in", **lasting}, secret=secret)


def metadata(header: str) -> dict[str, Any]:
    """What `x-metadata` says: base64 of a JSON object; nothing where it says nothing."""
    try:
        found = json.loads(_decoded(header.replace("+", "-").replace("/", "_")))
    except (ValueError, Error):
        return {}
    return found if isinstance(found, dict) else {}


def _signature(text: str, secret: str) -> str:
    return _encoded(hmac.digest(secret.encode(), text.encode(), "sha256"))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


SERVICE_KEY = key("service_role")
"""The service key that a simulated Supabase accepts."""
ANON_KEY = key("anon")
"""Its key for everybody, who may neither upload nor insert."""
