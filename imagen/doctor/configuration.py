"""The configuration: which file it is, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen import delivery
from imagen.config import check
from imagen.doctor.findings import Finding, told
from imagen.doctor.validation import report
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.config import Settings
    from imagen.doctor.validation import Report

_NONE = "there is none, and the defaults apply"
_WRITE = "`imagen config init --detect --write` writes one for the engines it finds."


def look(path: Path | None, environ: Mapping[str, str]) -> tuple[list[Finding], Settings | None]:
    """What is wrong with it, and the settings as far as they are sound.

    None where they can't be told: nothing else can be looked at then.
    """
    try:
        found = list(_problems(report(path, environ=environ)))
        settings = check(path, environ=environ).settings
    except ConfigError as error:
        return [told("imagen.yaml", error)], None
    return [*found, *_switches(settings, environ)], settings


def _problems(found: Report) -> Iterator[Finding]:
    """What is not set is told among the credentials."""
    if found.source is None:
        yield Finding(subject="imagen.yaml", state="note", says=_NONE, remedies=(_WRITE,))
    elif not found.problems:
        yield Finding(subject="imagen.yaml", says=str(found.source.absolute()))
    for problem in found.problems:
        line = f"line {problem.line}: " if problem.line else ""
        yield Finding(
            subject=str(found.source or "defaults"),
            state="broken",
            says=f"{line}{problem.sentence}",
            remedies=tuple(problem.remedy.splitlines()),
        )


def _switches(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is switched on, and can't be."""
    try:
        delivery.check_settings(settings, environ)
    except ConfigError as error:
        yield told("switches", error)
