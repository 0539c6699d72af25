"""Jobs: what runs that were interrupted left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.doctor.findings import Finding
from imagen.jobs import file_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHOWN = 5


def look(state_dir: Path) -> Iterator[Finding]:
    """What is left, but for what a process that lives has in hand."""
    ids = file_store.pending(state_dir)
    idle = [id for id in ids if not file_store.is_worked_on(id, state_dir)]
    busy = len(ids) - len(idle)
    if busy:
        yield Finding(subject="at work", says=_counted(busy, "job", "jobs"))
    if not idle:
        yield Finding(subject="left behind", says="none")
        return
    names = ", ".join(idle[:_SHOWN]) + (", …" if len(idle) > _SHOWN else "")
    yield Finding(
        subject="left behind",
        state="warning",
        says=f"{_counted(len(idle), 'job is', 'jobs are')} not at the end: {names}",
        remedies=("Bring them to their end with: imagen resume",),
    )


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
