"""Send finished and failed generations to webhooks, signed as Standard Webhooks specifies.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hmac
import json
import re
import time
from base64 import b64decode, b64encode
from binascii import Error
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from imagen.core.text import bare_address
from imagen.errors import ConfigError
from imagen.outputs.redact import strip_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen.config import Settings, Webhook
    from imagen.library.records import Delivery, GenerationRecord

FORMAT = 1
"""`version` in the body."""
_EVENTS = {"done": "finished", "failed": "failed"}
_PARTS = {"finished": 0, "failed": 1}
"""A failed generation may be finished later, so these are two deliveries."""
_SECRET_PREFIX = "whsec_"
_READ_SECONDS = 20.0
_TOTAL_SECONDS = 30.0
"""For one delivery, so that a slow receiver does not hold up the others."""
_REMEDY = "Set `secret_env` to the variable that holds the secret which the receiver expects."


def is_enabled(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether there are webhooks. Their secrets are checked when they are needed."""
    del environ
    return bool(settings.webhooks)


def deliveries(
    record: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> list[Delivery]:
    """One for each webhook that subscribes to this event."""
    del environ
    event = _EVENTS[record.state]
    if record.source != "imagen" or not settings.webhooks:
        return []
    from imagen.library.records import Delivery
    from imagen.library.schema import stored_url

    # The receiver recognises a repeated delivery by this id.
    id = "msg_" + sha256(f"{record.id} {event}".encode()).hexdigest()[:32]
    urls = [hook.url for hook in settings.webhooks if event in hook.events]
    return [
        Delivery(
            kind="webhook",
            destination=stored_url(url),
            generation=record.id,
            part=_PARTS[event],
            payload={"id": id, "event": event, "body": build_body(record)},
        )
        for url in dict.fromkeys(urls)
    ]


def build_body(record: GenerationRecord) -> dict[str, Any]:
    """The JSON that is sent; it names files without their folders."""
    error = record.error
    return {
        "type": f"generation.{_EVENTS[record.state]}",
        "version": FORMAT,
        "timestamp": record.ended_at.isoformat(),
        "data": {
            "id": record.id,
            "backend": record.backend,
            "kind": record.kind,
            "model": record.model,
            "task": record.ticket.request.task,
            "prompt": record.ticket.request.prompt,
            "negative": record.ticket.request.negative,
            "caller": record.caller,
            "created_at": record.created_at.isoformat(),
            "ended_at": record.ended_at.isoformat(),
            "latency_seconds": record.facts.get("latency_seconds"),
            "cost_usd": record.cost_usd,
            "warnings": [strip_paths(warning) for warning in record.warnings],
            "error": error and {name: strip_paths(text) for name, text in error.items()},
            "images": [
                {
                    "file": image.path.name,
                    "index": image.index,
                    "media_type": image.media_type,
                    "width": image.width,
                    "height": image.height,
                    "seed": image.seed,
                    "sha256": image.sha256,
                    "size_bytes": image.size_bytes,
                }
                for image in record.images
            ],
        },
    }


def send(
    delivery: Delivery,
    settings: Settings,
    environ: Mapping[str, str],
    _notes: dict[str, str],
    *,
    now: Callable[[], float] = time.time,
    seconds: float = _TOTAL_SECONDS,
) -> dict[str, object]:
    """POST the body; any 2xx status confirms it."""
    from imagen.backends.redact import Redactor, credentials
    from imagen.net import http

    webhook = _find_webhook(delivery, settings)
    id = str(delivery.payload["id"])
    content = json.dumps(delivery.payload["body"]).encode()
    headers = {
        "Content-Type": "application/json",
        **sign_headers(id, int(now()), content, _read_secret(webhook, environ)),
    }
    at = bare_address(webhook.url)
    client = http.HttpClient(at, read_seconds=_READ_SECONDS, tls=http.tls(at, None))
    url = urlsplit(webhook.url)  # any part of its path and query may be a secret
    words = re.split("[/?&=]", f"{url.path}?{url.query}")
    parts = {word for word in (*words, *map(unquote, words)) if word not in url.netloc}
    secrets = [*credentials(webhook, environ), *parts]
    with Redactor(secrets).errors(), client:
        response = client.request(
            "POST", webhook.url, limit=None, seconds=seconds, content=content, headers=headers
        )
        http.check_response(response, at, credential=_REMEDY)
    return {"status": response.status_code, "id": id}


def sign_headers(id: str, timestamp: int, content: bytes, key: bytes | None) -> dict[str, str]:
    """The headers of Standard Webhooks; without a signature if there is no key."""
    headers = {"webhook-id": id, "webhook-timestamp": str(timestamp)}
    if key is None:
        return headers
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + content, "sha256")
    return headers | {"webhook-signature": f"v1,{b64encode(digest).decode()}"}


def _find_webhook(delivery: Delivery, settings: Settings) -> Webhook:
    """The configured webhook of a delivery: the library keeps only a hash of its URL."""
    from imagen.library.schema import stored_url

    event = delivery.payload["event"]
    for webhook in settings.webhooks:
        if stored_url(webhook.url) == delivery.destination and event in webhook.events:
            return webhook
    raise ConfigError(
        "The configuration no longer has a webhook with the address "
        f"{bare_address(delivery.destination)}.",
        remedy="Add it to `webhooks` again, or delete this delivery with: imagen sync --forget ID",
    )


def _read_secret(webhook: Webhook, environ: Mapping[str, str]) -> bytes | None:
    """The key of the signature; None if the webhook names none."""
    if not webhook.secret_env:
        return None
    text = environ.get(webhook.secret_env, "").strip()
    if not text:
        raise ConfigError(
            f"The environment variable {webhook.secret_env} is not set. It holds the secret that "
            f"signs deliveries to {bare_address(webhook.url)}."
        )
    if not text.startswith(_SECRET_PREFIX):
        return text.encode("utf-8", "surrogateescape")
    try:
        key = b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except Error:
        key = b""
    if not key:
        raise ConfigError(
            f"{webhook.secret_env} is not a valid secret: expected base64 after whsec_."
        )
    return key
