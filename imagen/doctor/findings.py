"""What was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imagen.errors import ImagenError

State = Literal["ok", "note", "warning", "broken"]
"""A note is worth knowing, and nothing is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at, and how it is."""

    subject: str
    state: State = "ok"
    says: str = ""
    remedies: tuple[str, ...] = ()
    """What to do about it, a sentence each."""
    section: str = ""
    """Filled in by the examination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at; `look` reaches whatever it must, and may raise ImagenError."""

    section: str
    subject: str
    look: Callable[[], Iterable[Finding]]
    when_late: State = "broken"
    """What it means that it has come to no end in time."""


def told(subject: str, error: ImagenError) -> Finding:
    """An error as a finding."""
    return Finding(
        subject=subject,
        state="broken",
        says=error.message,
        remedies=tuple(error.remedy.splitlines()),
    )
