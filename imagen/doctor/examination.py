"""Looks at everything, side by side, so that what does not answer holds up nothing else."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from imagen.doctor import (
    backends,
    cloud,
    configuration,
    credentials,
    jobs,
    library,
    places,
    previews,
    versions,
)
from imagen.doctor.findings import Check, Finding, told
from imagen.errors import ImagenError
from imagen.net.threads import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from imagen.config import Settings

    Watch = Callable[[Sequence[str]], None]

_PATIENCE_SECONDS = 30.0
"""For all of it together: a server across the world answers sooner."""
_TICK_SECONDS = 0.1


def unwatched(pending: Sequence[str]) -> None:
    """A `watch` that shows nothing."""


def examine(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    quick: bool = False,
    patience_seconds: float = _PATIENCE_SECONDS,
    watch: Watch = unwatched,
) -> list[Finding]:
    """How everything is that imagen needs, by section; with `quick` no server is asked.

    `path` names a configuration, as everywhere. `watch` is told again and again what is still
    being looked at. Nothing is changed, but that a library of an earlier version is brought up to
    this one.
    """
    found, settings = configuration.look(path, environ)
    first = [replace(finding, section="configuration") for finding in found]
    checks = _checks(settings, environ, quick=quick) if settings else []
    checks.append(Check(section="versions", subject="imagen", look=versions.look))
    return [*first, *side_by_side(checks, patience_seconds=patience_seconds, watch=watch)]


def _checks(settings: Settings, environ: Mapping[str, str], *, quick: bool) -> list[Check]:
    return [
        Check(
            section="credentials",
            subject="credentials",
            look=partial(credentials.look, settings, environ),
        ),
        *backends.checks(settings, environ, quick=quick),
        Check(section="disk", subject="disk", look=partial(places.look, settings)),
        Check(section="jobs", subject="jobs", look=partial(jobs.look, settings.state_dir)),
        *library.checks(settings, environ, quick=quick),
        *cloud.checks(settings, environ, quick=quick),
        Check(
            section="preview",
            subject="preview",
            look=partial(previews.look, settings.output, environ),
        ),
    ]


def side_by_side(
    checks: Sequence[Check], *, patience_seconds: float, watch: Watch = unwatched
) -> list[Finding]:
    """The findings of all checks, in the order of these; what is late is a finding too."""
    works = [(check, Background(partial(_findings, check))) for check in checks]
    until = time.monotonic() + patience_seconds
    while pending := [check.subject for check, work in works if not work.ready()]:
        watch(pending)
        if time.monotonic() >= until:
            break
        time.sleep(_TICK_SECONDS)
    return [
        replace(finding, section=check.section)
        for check, work in works
        for finding in (work.result() if work.ready() else [_late(check, patience_seconds)])
    ]


def _findings(check: Check) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check.look())
    except ImagenError as error:
        found.append(told(check.subject, error))
    return found


def _late(check: Check, seconds: float) -> Finding:
    says = f"no answer within {seconds:g} s"
    return Finding(subject=check.subject, state=check.when_late, says=says)
