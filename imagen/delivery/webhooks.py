"""Tells an address of each generation that ended, signed in the manner of Standard Webhooks.

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
from imagen.outputs.sentences import strip_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imagen.config import Settings, Webhook
    from imagen.library.records import Delivery, GenerationRecord, StoredImage

FORMAT = 1
"""Of the body; stands in it as `version`."""
_EVENTS = {"done": "finished", "failed": "failed"}
_PARTS = {"finished": 0, "failed": 1}
"""A generation that failed may be brought to its end later: these are two deliveries."""
_SECRET_PREFIX = "whsec_"
_READ_SECONDS = 20.0
_SECONDS = 30.0
"""For all of one delivery: a receiver that drips its answer delays the others no longer."""
_REMEDY = "`secret_env` must name the variable with the secret that the receiver expects."


def is_on(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether anyone is told; a secret that is missing is only told of when it is needed."""
    del environ
    return bool(settings.webhooks)


def deliveries(
    entry: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> list[Delivery]:
    """One for each address that wants to know of this."""
    del environ  # what is signed with is needed when it is sent
    event = _EVENTS[entry.state]
    if entry.source != "imagen" or not settings.webhooks:
        return []
    from imagen.library.records import Delivery
    from imagen.library.stored import stored_address

    wanting = [hook.url for hook in settings.webhooks if event in hook.events]
    return [
        Delivery(
            kind="webhook",
            destination=stored_address(url),
            generation=entry.id,
            part=_PARTS[event],
            payload={"id": _id(entry, event), "event": event, "body": body(entry)},
        )
        for url in dict.fromkeys(wanting)
    ]


def _id(entry: GenerationRecord, event: str) -> str:
    """The same for every attempt, so that whoever is told twice can tell."""
    return "msg_" + sha256(f"{entry.id} {event}".encode()).hexdigest()[:32]


def body(entry: GenerationRecord) -> dict[str, Any]:
    """What is told of a generation."""
    event = _EVENTS[entry.state]
    return {
        "type": f"generation.{event}",
        "version": FORMAT,
        "timestamp": entry.ended_at.isoformat(),
        "data": {
            "id": entry.id,
            "backend": entry.backend,
            "kind": entry.kind,
            "model": entry.model,
            "task": entry.ticket.request.task,
            "prompt": entry.ticket.request.prompt,
            "negative": entry.ticket.request.negative,
            "caller": entry.caller,
            "created_at": entry.created_at.isoformat(),
            "ended_at": entry.ended_at.isoformat(),
            "latency_seconds": entry.facts.get("latency_seconds"),
            "cost_usd": entry.cost_usd,
            "warnings": [strip_paths(warning) for warning in entry.warnings],
            "error": _error(entry),
            "images": [_image(kept) for kept in entry.pictures],
        },
    }


def _error(entry: GenerationRecord) -> dict[str, str] | None:
    if entry.error is None:
        return None
    return {name: strip_paths(text) for name, text in entry.error.items()}


def _image(kept: StoredImage) -> dict[str, Any]:
    return {
        "file": kept.path.name,
        "index": kept.index,
        "media_type": kept.media_type,
        "width": kept.width,
        "height": kept.height,
        "seed": kept.seed,
        "sha256": kept.sha256,
        "size_bytes": kept.size_bytes,
    }


def send(
    delivery: Delivery,
    settings: Settings,
    environ: Mapping[str, str],
    _notes: dict[str, str],
    *,
    now: Callable[[], float] = time.time,
    seconds: float = _SECONDS,
) -> dict[str, Any]:
    """POST it; the address says with any 2xx that it knows."""
    from imagen.backends.redact import Redactor, credentials
    from imagen.net import http

    webhook = _meant(delivery, settings)
    id = str(delivery.payload["id"])
    content = json.dumps(delivery.payload["body"]).encode()
    headers = {
        "Content-Type": "application/json",
        **signed_headers(id, int(now()), content, _secret(webhook, environ)),
    }
    at = bare_address(webhook.url)
    client = http.HttpClient(at, read_seconds=_READ_SECONDS, tls=http.tls(at, None))
    with Redactor([*credentials(webhook, environ), *_secrets(webhook.url)]).errors(), client:
        answer = client.request(
            "POST",
            webhook.url,
            limit=None,
            seconds=seconds,
            content=content,
            headers=headers,
        )
        http.check_response(answer, at, credential=_REMEDY)
    return {"status": answer.status_code, "id": id}


def signed_headers(id: str, timestamp: int, content: bytes, key: bytes | None) -> dict[str, str]:
    """The headers that tell who sent this and when; unsigned where there is no key."""
    headers = {"webhook-id": id, "webhook-timestamp": str(timestamp)}
    if key is None:
        return headers
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + content, "sha256")
    return headers | {"webhook-signature": f"v1,{b64encode(digest).decode()}"}


def _meant(delivery: Delivery, settings: Settings) -> Webhook:
    """The webhook of the settings for which this is; its address alone tells no secret."""
    from imagen.library.stored import stored_address

    event = delivery.payload["event"]
    for webhook in settings.webhooks:
        if stored_address(webhook.url) == delivery.destination and event in webhook.events:
            return webhook
    address = bare_address(delivery.destination)
    raise ConfigError(
        f"The configuration no longer has a webhook with the address {address}.",
        remedy="Add it to `webhooks` again, or be rid of this with: imagen sync --forget ID",
    )


def _secret(webhook: Webhook, environ: Mapping[str, str]) -> bytes | None:
    """The key of the signature; None where the webhook names none."""
    if not webhook.secret_env:
        return None
    text = environ.get(webhook.secret_env, "").strip()
    if not text:
        raise ConfigError(
            f"The environment variable {webhook.secret_env} is not set; the webhook at "
            f"{bare_address(webhook.url)} is signed with it."
        )
    if not text.startswith(_SECRET_PREFIX):
        return text.encode("utf-8", "surrogateescape")
    try:
        key = b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except Error:
        key = b""
    if not key:
        raise ConfigError(
            f"What {webhook.secret_env} holds begins with whsec_, and is no base64 after that."
        )
    return key


def _secrets(url: str) -> Iterator[str]:
    """What an address has behind its host, which may be a secret."""
    parts = urlsplit(url)
    words = re.split("[/?&=]", f"{parts.path}?{parts.query}")
    yield from (word for word in {*words, *map(unquote, words)} if word not in parts.netloc)
