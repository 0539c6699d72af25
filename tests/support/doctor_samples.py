"""Settings and libraries for tests of the doctor."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imagen.config import Settings
from imagen.core.request import Request
from imagen.core.ticket import Ticket
from imagen.library import Delivery, GenerationRecord, open_library, record_generation
from imagen.library.outbox import claim, mark_failed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imagen.doctor import Finding

_WHEN = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


def settings(place: Path, **more: Any) -> Settings:
    """Settings with every path in `place`."""
    output = {"directory": place / "images", **more.pop("output", {})}
    library = {"url": str(place / "library.db"), **more.pop("library", {})}
    values = {"state_dir": place / "state", "output": output, "library": library, **more}
    return Settings.model_validate(values)


def summarize(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Subject, state and sentence of each finding."""
    return [(finding.subject, finding.state, finding.says) for finding in findings]


def entry(number: int = 1) -> GenerationRecord:
    """A generation without images."""
    id = f"{number:08}-2222-4333-8444-555555555555"
    request = Request(prompt="a red fox")
    ticket = Ticket(id=id, backend="mock", request=request, receipt={})
    return GenerationRecord(
        id=id, backend="mock", ticket=ticket, request=request, created_at=_WHEN, ended_at=_WHEN
    )


def keep(settings: Settings, *, webhooks: int = 0, why: str = "", stuck: bool = False) -> None:
    """Write a library with a generation and so many deliveries; with `why` all of them failed."""
    made = entry()
    deliveries = [
        Delivery(kind="webhook", destination=f"http://{n}", generation=made.id, payload={})
        for n in range(webhooks)
    ]
    with open_library(settings) as library:
        record_generation(library, made, deliveries)
        for waiting in claim(library) if why else ():
            mark_failed(library, waiting, why, again_in_seconds=None if stuck else 60)
