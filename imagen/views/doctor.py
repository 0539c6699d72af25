"""What doctor and the check of the configuration find, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from imagen.core.validation import dotted
from imagen.doctor import Finding
from imagen.views.base import View

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imagen.core.validation import Problem
    from imagen.doctor import ConfigReport


class DoctorView(View):
    """What was checked, and what is wrong."""

    ok: bool = Field(description="Whether nothing is broken.")
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> DoctorView:
        every = tuple(findings)
        return cls(ok=not any(one.state == "broken" for one in every), findings=every)


class ProblemView(View):
    """A problem of the configuration."""

    key: str
    line: int | None
    what: str
    remedy: str

    @classmethod
    def list_of(cls, problems: Iterable[Problem]) -> tuple[ProblemView, ...]:
        return tuple(
            cls(key=dotted(one.path), line=one.line, what=one.what, remedy=one.remedy)
            for one in problems
        )


class ConfigReportView(View):
    """Every problem of the configuration."""

    ok: bool
    file: str | None
    problems: tuple[ProblemView, ...]
    warnings: tuple[ProblemView, ...]

    @classmethod
    def of(cls, report: ConfigReport) -> ConfigReportView:
        return cls(
            ok=not report.problems,
            file=str(report.source) if report.source else None,
            problems=ProblemView.list_of(report.problems),
            warnings=ProblemView.list_of(report.warnings),
        )
