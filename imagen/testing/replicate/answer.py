"""Answers of a simulated Replicate, in the forms that were recorded from the real one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAUSE = (
    "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per "
    "minute with a burst of 1 requests while you have less than $5.0 in credit. Your rate limit "
    "resets in ~{seconds}s."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; `missing` bytes at its end are announced but not sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    is_cut: bool = False
    """The connection ends instead of answering."""


CUT = Answer(is_cut=True)


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """`headers` are written with underscores."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(
        status=status,
        body=json.dumps(value).encode(),
        headers={"Content-Type": "application/json"} | named,
    )


def problem(status: int, detail: str, title: str = "", **more: Any) -> Answer:
    said: dict[str, Any] = {"detail": detail, "status": status, **more}
    return as_json(said | ({"title": title} if title else {}), status)


def not_found() -> Answer:
    return problem(404, "The requested resource could not be found.")


def unauthenticated() -> Answer:
    return problem(401, "You did not pass a valid authentication token", "Unauthenticated")


def no_credit() -> Answer:
    return problem(
        402,
        "You have insufficient credit to run this model. Go to "
        "https://replicate.com/account/billing#billing to purchase credit.",
        "Insufficient credit",
    )


def invalid(faults: list[dict[str, str]]) -> Answer:
    detail = "".join(f"- {fault['field']}: {fault['description']}\n" for fault in faults)
    return problem(422, detail, "Input validation failed", invalid_fields=faults)


def throttled(form: str, seconds: int) -> Answer:
    """429, with the pause in one of its three forms."""
    said: dict[str, Any] = {"detail": _PAUSE.format(seconds=seconds), "status": 429}
    if form == "header":
        return as_json({"detail": "Request was throttled."}, 429, Retry_After=str(seconds))
    if form == "body":
        return as_json(said | {"retry_after": seconds, "detail": "Request was throttled."}, 429)
    return as_json({"detail": said["detail"]}, 429)


def broken() -> Answer:
    return problem(500, "Internal server error")
