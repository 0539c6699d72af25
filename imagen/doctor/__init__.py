"""Find what is wrong: with everything that imagen needs, or with the configuration alone."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from imagen.doctor.checks import (
    Check,
    Finding,
    check_configuration,
    check_versions,
    finding_of,
    list_checks,
)
from imagen.doctor.config_check import (
    ConfigReport,
    check_config,
    find_backend_problems,
    find_unset_variables,
)
from imagen.errors import ImagenError
from imagen.net.threads import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from imagen.config import Settings

    Watch = Callable[[Sequence[str]], None]

__all__ = [
    "ConfigReport",
    "Finding",
    "check_config",
    "examine",
    "find_backend_problems",
    "find_unset_variables",
]

_PATIENCE_SECONDS = 30.0
"""For all checks together: a server across the world answers sooner."""
_TICK_SECONDS = 0.1


def _ignore(pending: Sequence[str]) -> None:
    """A `watch` that shows nothing."""


def examine(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    quick: bool = False,
    patience_seconds: float = _PATIENCE_SECONDS,
    watch: Watch = _ignore,
    settings: Settings | None = None,
) -> list[Finding]:
    """Check everything that imagen needs, section by section; with `quick` no server is asked.

    `path` names a configuration, or `settings` are those in use. `watch` is called repeatedly with
    the subjects that are still being checked. Nothing is changed, except that a library of an
    earlier version is migrated.
    """
    findings: list[Finding] = []
    if settings is None:
        findings, settings = check_configuration(path, environ)
    elif settings.source is not None:
        findings, _ = check_configuration(settings.source, environ)
    checks = list_checks(settings, environ, quick=quick) if settings else []
    checks.append(Check(section="versions", subject="imagen", look=check_versions))
    return [
        *(replace(finding, section="configuration") for finding in findings),
        *run_checks(checks, patience_seconds=patience_seconds, watch=watch),
    ]


def run_checks(
    checks: Sequence[Check], *, patience_seconds: float, watch: Watch = _ignore
) -> list[Finding]:
    """Run checks concurrently, so that a silent server delays no other check.

    The findings are in the order of the checks; a check that takes too long is a finding too.
    """
    running = [(check, Background(partial(_run_check, check))) for check in checks]
    deadline = time.monotonic() + patience_seconds
    while pending := [check.subject for check, work in running if not work.ready()]:
        watch(pending)
        if time.monotonic() >= deadline:
            break
        time.sleep(_TICK_SECONDS)
    findings: list[Finding] = []
    for check, work in running:
        late = Finding(
            subject=check.subject,
            state=check.when_late,
            says=f"no answer within {patience_seconds:g} s",
        )
        found = work.result() if work.ready() else [late]
        findings += [replace(finding, section=check.section) for finding in found]
    return findings


def _run_check(check: Check) -> list[Finding]:
    """The findings of a check, and the error that ended it."""
    findings: list[Finding] = []
    try:
        findings.extend(check.look())
    except ImagenError as error:
        findings.append(finding_of(check.subject, error))
    return findings
