"""What Replicate's API answers, read once into typed values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imagen.core.request import LARGEST_SEED
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SEED = re.compile(r"[Uu]sing seed:?\s*(\d{1,20})")
_SLACK_SECONDS = 1.0
_LONGEST_SECONDS = 1e9
_BAR = re.compile(r"(\d{1,3})%\|[^|\r\n]*\|\s*(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One job at Replicate."""

    id: str
    status: str
    """starting, processing, succeeded, failed, canceled or aborted."""
    model: str = ""
    version: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str = ""
    logs: str = ""
    predict_seconds: float | None = None
    """Seconds of compute."""
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deadline: datetime | None = None
    is_removed: bool = False
    """Whether input and output were deleted."""

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    @property
    def steps(self) -> tuple[int, int] | None:
        """How many steps are done, and how many there are, by the last bar in its log."""
        bars = _BAR.findall(self.logs[-20_000:])
        return (int(bars[-1][1]), int(bars[-1][2])) if bars else None

    @property
    def seed(self) -> int | None:
        """The seed that its log says was drawn."""
        told = _SEED.search(self.logs[:20_000])
        seed = int(told[1]) if told else None
        return seed if seed is None or seed <= LARGEST_SEED else None

    @property
    def queued_seconds(self) -> float | None:
        """How long it waited before it began."""
        return _between(self.created_at, self.started_at)

    def is_late(self, seconds: float) -> bool:
        """Whether it was stopped because it took this long, or before it could begin."""
        if self.status != "canceled":
            return self.status == "aborted"
        lasted = _between(self.created_at, self.completed_at)
        past_deadline = _between(self.deadline, self.completed_at)
        return past_deadline is not None or (lasted or 0.0) >= seconds - _SLACK_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is known of a model, a version of it, or a deployment."""

    model: str
    """`owner/name`."""
    version: str = ""
    """The version's id."""
    document: Any = None
    """What holds the input schema."""
    hardware: str = ""
    """For a deployment: the machine it runs on."""


def prediction(said: Any) -> Prediction | None:
    """A prediction; None for what is none."""
    found = mapping(said)
    id, status = found.get("id"), found.get("status")
    if not isinstance(id, str) or not _ID.fullmatch(id) or not isinstance(status, str):
        return None
    return Prediction(
        id=id,
        status=status,
        model=one_line(_text(found.get("model"))),
        version=one_line(_text(found.get("version"))),
        input=mapping(found.get("input")),
        output=found.get("output"),
        error=_text(found.get("error")),
        logs=_text(found.get("logs")),
        predict_seconds=_seconds(mapping(found.get("metrics")).get("predict_time")),
        created_at=moment(found.get("created_at")),
        started_at=moment(found.get("started_at")),
        completed_at=moment(found.get("completed_at")),
        deadline=moment(found.get("deadline")),
        is_removed=found.get("data_removed") is True,
    )


def predictions(said: Any) -> list[Prediction]:
    """One page of a listing, the most recent first."""
    results = mapping(said).get("results")
    found = (prediction(one) for one in (results if isinstance(results, list) else ()))
    return [one for one in found if one is not None]


def moment(said: Any) -> datetime | None:
    """A time as the API writes it, in UTC."""
    if not isinstance(said, str):
        return None
    try:
        found = datetime.fromisoformat(said)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is an object, or else an empty one."""
    return value if isinstance(value, dict) else {}


def _between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from one to the other; None where one is unknown, or they stand the wrong way."""
    seconds = (end - start).total_seconds() if start and end else -1.0
    return seconds if seconds >= 0 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= _LONGEST_SECONDS else None
