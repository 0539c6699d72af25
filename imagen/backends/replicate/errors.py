"""Replicate's error answers and failed predictions as imagen's errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imagen.backends.replicate.config import TOKENS_PAGE
from imagen.core.json_values import as_list, as_mapping, parse_json
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

ATTEMPTS = 4
"""Three retries: with little credit, Replicate allows few predictions a minute."""
LONGER_DEADLINE = "Raise total_seconds: the cold start of a model takes minutes."

_LONGEST_MESSAGE = 500
_MOST_READ = 20_000
"""Characters of a text that are read; a model's log may have megabytes."""
_LONGEST_PAUSE = 86400.0
_RESET_SECONDS = re.compile(r"resets? in ~?\s*(\d{1,5})\s*s")
_TOKEN = re.compile(r"\b(?:r8_[A-Za-z0-9]{8,}|Bearer\s+\S+)")
_SAFETY_FILTER = re.compile(r"nsfw|flagged|sensitive|safety|moderat|E005\b|content policy", re.I)
_REMEDIES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"E1001\b|out of memory", re.I), "Request a smaller size or fewer images."),
    (re.compile(r"E1000\b|unexpected error", re.I), "Retry: the cause is the model."),
)
"""Remedies of a failed prediction, by its error text."""
_TEMPORARY = frozenset({408, 409, 425})
"""Statuses below 500 that mean: try again later."""


def response_error(
    response: httpx.Response,
    base_url: str,
    config: ReplicateConfig,
    field_names: Mapping[str, str],
) -> BackendError:
    """The error that an unsuccessful answer means.

    `field_names` has the request fields by the model's input names.
    """
    answer, status = _json(response), response.status_code
    texts = [as_mapping(answer).get(key) for key in ("title", "detail")]
    parts = [_clean(text) for text in texts if isinstance(text, str) and text.strip()]
    reason = ": ".join(filter(None, parts)) or one_line(response.reason_phrase)
    check_model = (
        f"Check that the token may use backends.{config.name}.model: "
        f"https://replicate.com/{config.reference.model}."
    )
    if status in (401, 403):
        return Unauthorized(
            f"Replicate refused access: {reason}.",
            remedy=f"Set {config.api_token_env} to a valid token ({TOKENS_PAGE}).",
        )
    if status == 402:
        return Rejected(
            f"Replicate requires payment: {reason}.",
            remedy="Buy credit at https://replicate.com/account/billing, and wait a few minutes.",
        )
    if status == 404:
        return Rejected(f"{base_url} does not know {config.model}: {reason}.", remedy=check_model)
    if status == 422:
        if rejected := list(_rejected_inputs(answer)):
            return _rejected_inputs_error(rejected, config, field_names)
        return Rejected(f"Replicate rejected the request: {reason}.", remedy=check_model)
    if status == 429:
        return RateLimited(
            f"Replicate limits the rate of requests: {reason}.",
            remedy="With little credit it allows few predictions a minute.",
            retry_after_seconds=_retry_after(response, answer, reason),
        )
    if response.is_server_error or status in _TEMPORARY:
        return Unavailable(f"{base_url} is unavailable: {status} {reason}.")
    if response.is_redirect:
        target = one_line(response.headers.get("location", "nowhere"))
        return Rejected(
            f"{base_url} redirects to {target}; imagen does not send the token there.",
            remedy=f"If that is Replicate's API, set backends.{config.name}.base_url to it.",
        )
    return Rejected(f"{base_url} rejected the request: {status} {reason}.")


def rejects_an_input(response: httpx.Response) -> bool:
    """Whether an answer rejects one of the inputs: then the cached schema may be outdated."""
    return response.status_code == 422 and any(_rejected_inputs(_json(response)))


def prediction_error(
    prediction: Prediction, deadline_seconds: float, *, is_resumed: bool
) -> BackendError:
    """The error of a prediction that ended without success."""
    if prediction.is_removed:
        return Lost(
            f"Replicate has deleted the images of the prediction {prediction.id}: "
            "it keeps them for about an hour."
        )
    if prediction.is_late(deadline_seconds):
        return TimedOut(
            f"Replicate stopped the prediction {prediction.id}: it took more than "
            f"{deadline_seconds:g} s.",
            remedy=LONGER_DEADLINE,
        )
    if prediction.status == "canceled":
        by_others = "" if is_resumed else " by someone else"  # a resumed one may be our own doing
        return Failed(f"The prediction {prediction.id} was cancelled{by_others}.")
    reason = _clean(prediction.error) or "no reason given"
    if _SAFETY_FILTER.search(reason):
        return Rejected(
            f"The model's safety filter rejected the image: {reason}.",
            remedy="Change the prompt or the seed.",
        )
    remedy = next((advice for pattern, advice in _REMEDIES if pattern.search(reason)), "")
    logs = prediction.logs
    end = logs[-_MOST_READ:].partition("\n")[2] if len(logs) > _MOST_READ else logs
    lines = [line for line in printable(_TOKEN.sub("[token]", end)).splitlines() if line.strip()]
    log = "".join(f"\n  {one_line(line)}" for line in lines[-2:])
    return Failed(f"The prediction {prediction.id} failed: {reason}.{log}", remedy=remedy)


def no_output_error(prediction: Prediction, text: str) -> Failed:
    """The error of a prediction that succeeded without a file; `text` is its output instead."""
    output = f": {_clean(text)}" if text else ""
    return Failed(f"The prediction {prediction.id} ended without an image{output}.")


def _rejected_inputs(answer: object) -> Iterator[tuple[str, str]]:
    """The name of each rejected input, and the reason; also in the form of a Cog server."""
    for entry in map(as_mapping, as_list(as_mapping(answer).get("invalid_fields"))):
        yield str(entry.get("field") or ""), str(entry.get("description") or entry.get("type"))
    for entry in map(as_mapping, as_list(as_mapping(answer).get("detail"))):
        name = ".".join(map(str, as_list(entry.get("loc"))[1:]))
        yield name, str(entry.get("msg") or entry.get("type"))


def _rejected_inputs_error(
    rejected: list[tuple[str, str]], config: ReplicateConfig, field_names: Mapping[str, str]
) -> Rejected:
    lines = []
    for name, reason in rejected:
        plain = one_line(name.removeprefix("input."), limit=80)
        field = field_names.get(plain, plain)
        shown = plain if field == plain else f"{plain} ({field} in imagen)"
        lines.append(f"{shown}: {_clean(reason)}")
    text = f"{config.model} rejected its input: {lines[0]}."
    if len(lines) > 1:
        text = "\n  ".join([f"{config.model} rejected its input:", *lines])
    return Rejected(text, remedy="imagen reads the model's schema again before the next request.")


def _retry_after(response: httpx.Response, answer: object, reason: str) -> float | None:
    """Seconds to wait: from the header, the body, or the text."""
    in_text = _RESET_SECONDS.search(reason)
    for value in (
        response.headers.get("retry-after"),
        as_mapping(answer).get("retry_after"),
        in_text[1] if in_text else None,
    ):
        try:
            seconds = float(str(value))
        except ValueError:
            continue
        if 0 <= seconds <= _LONGEST_PAUSE:
            return seconds
    return None


def _clean(text: str) -> str:
    """On one line, without anything that looks like a token."""
    return one_line(_TOKEN.sub("[token]", text[:_MOST_READ]), limit=_LONGEST_MESSAGE).rstrip(".")


def _json(response: httpx.Response) -> object:
    try:
        return parse_json(response.content)
    except ValueError:
        return None
