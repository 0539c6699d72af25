"""The signed tokens of the simulated Supabase: its keys, and the tokens of signed URLs."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Any

_SECRET = "the secret of the simulated project"


class TokenError(Exception):
    """A token is refused; the message is that of the real service."""


def signed(claims: dict[str, Any], *, secret: str = _SECRET) -> str:
    """A JSON Web Token with these claims."""
    head = _encoded(b'{"alg":"HS256","typ":"JWT"}')
    body = _encoded(json.dumps(claims, separators=(",", ":")).encode())
    return f"{head}.{body}.{_signature(f'{head}.{body}', secret)}"


def claims(token: str, *, secret: str = _SECRET) -> dict[str, Any]:
    """The claims of a token; raises TokenError for a foreign or expired one."""
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
    return signed({"role": role, "iss": "simulator", **lasting}, secret=secret)


def decode_metadata(header: str) -> dict[str, Any]:
    """The value of `x-metadata`: base64 of a JSON object; empty where it is not that."""
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
"""The service key that the simulated Supabase accepts."""
ANON_KEY = key("anon")
"""Its public key; uploads and inserts with it are refused."""
