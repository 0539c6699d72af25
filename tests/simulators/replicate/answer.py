"""Answers of a simulated Replicate, in the forms that were recorded from the real one."""

from __future__ import annotations

from typing import Any

from imagen.testing.answer import CUT, Answer, as_json

__all__ = [
    "CUT",
    "Answer",
    "as_json",
    "broken",
    "invalid",
    "no_credit",
    "not_found",
    "problem",
    "throttled",
    "unauthenticated",
]

_PAUSE = (
    "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per "
    "minute with a burst of 1 requests while you have less than $5.0 in credit. Your rate limit "
    "resets in ~{seconds}s."
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
