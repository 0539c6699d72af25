"""What Replicate says when something is wrong, as errors of ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imagen.backends.replicate.config import refused_token_remedy
from imagen.core.json_values import as_mapping, parse_json
from imagen.core.text import one_line, printable
from imagen.errors import (
    BackendError,
    Failed,
    Lost,
    RateLimited,
    Rejected,
    TimedOut,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from imagen.backends.replicate.client import Prediction
    from imagen.backends.replicate.config import ReplicateConfig

_LONGEST = 500
_MOST_READ = 20_000
"""Characters of a server's words that are looked at; a model's log may be megabytes."""
ATTEMPTS = 4
"""Of a call, so three retries: with little credit Replicate allows few predictions a minute."""
_LONGEST_PAUSE = 86400.0
_TOLD_IN_WORDS = re.compile(r"resets? in ~?\s*(\d{1,5})\s*s")
_TOKEN = re.compile(r"\b(?:r8_[A-Za-z0-9]{8,}|Bearer\s+\S+)")
_SENSITIVE = re.compile(r"nsfw|flagged|sensitive|safety|moderat|E005\b|content policy", re.I)
_REMEDIES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"E1001\b|out of memory", re.I),
        "Ask for a smaller size or for fewer pictures at once.",
    ),
    (
        re.compile(r"E1000\b|unexpected error", re.I),
        "Try it again: the reason lies with the model.",
    ),
)
"""What to do about a prediction that failed, by its words."""
_TROUBLE = frozenset({408, 409, 425})
"""Answers that are no 5xx, and mean the same: not now."""


def response_error(
    response: httpx.Response, at: str, config: ReplicateConfig, ours: Mapping[str, str]
) -> BackendError:
    """What an answer that is no success means; `ours` are our names of the model's inputs."""
    said, status = _json(response), response.status_code
    words = _words(said) or one_line(response.reason_phrase)
    if status in (401, 403):
        return Unauthorized(
            f"Replicate refused access: {words}.", remedy=refused_token_remedy(config)
        )
    if status == 402:
        return Rejected(
            f"Replicate wants to be paid first: {words}.",
            remedy="Buy credit at https://replicate.com/account/billing, and wait a few minutes.",
        )
    if status == 404:
        return Rejected(f"{at} does not know {config.model}: {words}.", remedy=_look_at(config))
    if status == 422:
        return _invalid(said, words, config, ours)
    if status == 429:
        return RateLimited(
            f"Replicate asks for patience: {words}.",
            remedy="With little credit it allows few predictions a minute.",
            retry_after_seconds=_pause(response, said, words),
        )
    if response.is_server_error or status in _TROUBLE:
        return Unavailable(f"{at} is in trouble: {status} {words}.")
    if response.is_redirect:
        target = one_line(response.headers.get("location", "nowhere"))
        return Rejected(
            f"{at} redirects to {target}, and the token goes no further.",
            remedy=f"If that is Replicate's API, set backends.{config.name}.base_url to it.",
        )
    return Rejected(f"{at} refused the request: {status} {words}.")


def prediction_error(found: Prediction, seconds: float, *, is_resumed: bool) -> BackendError:
    """The error of a prediction that ended without success."""
    if found.is_removed:
        return removed_error(found)
    if found.is_late(seconds):
        return TimedOut(
            f"The prediction {found.id} did not end within {seconds:g} s: Replicate stopped it.",
            remedy="Give it longer with total_seconds: a model that sleeps takes minutes to wake.",
        )
    if found.status == "canceled" and is_resumed:  # by its own process, perhaps
        return Failed(f"The prediction {found.id} was cancelled.")
    if found.status == "canceled":
        return Failed(f"Somebody cancelled the prediction {found.id}; it was not imagen.")
    words = _clean(found.error) or "it gave no reason"
    if _SENSITIVE.search(words):
        return Rejected(
            f"The model refused what came out: {words}.",
            remedy="Change the prompt, or ask for another seed.",
        )
    remedy = next((advice for pattern, advice in _REMEDIES if pattern.search(words)), "")
    return Failed(f"The prediction {found.id} failed: {words}.{_tail(found.logs)}", remedy=remedy)


def removed_error(found: Prediction) -> Lost:
    """The error of a prediction whose pictures were deleted."""
    return Lost(
        f"Replicate has deleted the pictures of the prediction {found.id}: "
        "it keeps them for about an hour."
    )


def no_output_error(found: Prediction, words: str) -> Failed:
    """The error of a prediction that succeeded and gave no file."""
    gave = f": {_clean(words)}" if words else ""
    return Failed(f"The prediction {found.id} ended without a picture{gave}.")


def has_rejected_input(response: httpx.Response) -> bool:
    """Whether a refusal is about one of the inputs: then the schema may be out of date."""
    return response.status_code == 422 and any(_fields(_json(response)))


def _invalid(
    said: Any, words: str, config: ReplicateConfig, ours: Mapping[str, str]
) -> BackendError:
    fields = list(_fields(said))
    if not fields:
        return Rejected(f"Replicate refused the request: {words}.", remedy=_look_at(config))
    lines = [f"{_named(name, ours)}: {_clean(what)}" for name, what in fields]
    many = len(lines) > 1
    text = "\n  ".join([f"{config.model} refused its input:", *lines]) if many else ""
    return Rejected(
        text or f"{config.model} refused its input: {lines[0]}.",
        remedy="The list of what it takes is read anew before the next request.",
    )


def _fields(said: Any) -> Iterator[tuple[str, str]]:
    """Each input that was refused, and why; also in the form of a Cog server."""
    invalid = as_mapping(said).get("invalid_fields")
    for one in invalid if isinstance(invalid, list) else ():
        found = as_mapping(one)
        yield str(found.get("field") or ""), str(found.get("description") or found.get("type"))
    detail = as_mapping(said).get("detail")
    for one in detail if isinstance(detail, list) else ():
        found = as_mapping(one)
        place = found.get("loc")
        name = ".".join(map(str, place[1:])) if isinstance(place, list) else ""
        yield name, str(found.get("msg") or found.get("type"))


def _named(name: str, ours: Mapping[str, str]) -> str:
    plain = one_line(name.removeprefix("input."), limit=80)
    field = ours.get(plain, plain)
    return plain if field == plain else f"{plain} (our {field})"


def _pause(response: httpx.Response, said: Any, words: str) -> float | None:
    """How long to wait: by the header, else by the body, else by its words."""
    told = _TOLD_IN_WORDS.search(words)
    for value in (
        response.headers.get("retry-after"),
        as_mapping(said).get("retry_after"),
        told[1] if told else None,
    ):
        try:
            seconds = float(str(value))
        except ValueError:
            continue
        if 0 <= seconds <= _LONGEST_PAUSE:
            return seconds
    return None


def _words(said: Any) -> str:
    found = as_mapping(said)
    title, detail = found.get("title"), found.get("detail")
    texts = [_clean(text) for text in (title, detail) if isinstance(text, str) and text.strip()]
    return ": ".join(text for text in texts if text)


def _clean(text: str) -> str:
    """On one line, and without what looks like a token."""
    return one_line(_TOKEN.sub("[token]", text[:_MOST_READ]), limit=_LONGEST).rstrip(".")


def _tail(logs: str) -> str:
    """The last lines of the model's own log."""
    last = logs[-_MOST_READ:].partition("\n")[2] if len(logs) > _MOST_READ else logs
    lines = [line for line in printable(_TOKEN.sub("[token]", last)).splitlines() if line.strip()]
    return "".join(f"\n  {one_line(line)}" for line in lines[-2:])


def _json(response: httpx.Response) -> Any:
    try:
        return parse_json(response.content)
    except ValueError:
        return None


def _look_at(config: ReplicateConfig) -> str:
    return (
        f"See that backends.{config.name}.model is a model that the token may use: "
        f"https://replicate.com/{config.reference.model}."
    )
