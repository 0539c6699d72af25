"""Checks run concurrently, and a silent one delays no other."""

from __future__ import annotations

import threading
from pathlib import Path

from support.doctor_samples import summarize

from imagen.doctor import Finding, examine, run_checks
from imagen.doctor.checks import Check
from imagen.errors import Unavailable


def _check(subject: str, says: str) -> Check:
    look = lambda: [Finding(subject=subject, says=says)]  # noqa: E731
    return Check(section="things", subject=subject, look=look)


def _silent() -> list[Finding]:
    threading.Event().wait()
    return []


def _refused() -> list[Finding]:
    raise Unavailable("It is gone.", remedy="Start it.\nOr don't.")


def test_findings_are_in_the_order_of_the_checks() -> None:
    barrier = threading.Barrier(2, timeout=20)

    def meeting() -> list[Finding]:
        barrier.wait()
        return [Finding(subject="met")]

    both = [Check(section="x", subject="one", look=meeting)] * 2
    checks = [_check("first", "1"), *both, _check("last", "2")]
    found = run_checks(checks, patience_seconds=20)
    assert [(f.section, f.subject) for f in found] == [
        ("things", "first"),
        ("x", "met"),
        ("x", "met"),
        ("things", "last"),
    ]


def test_late_check_is_a_finding_and_delays_no_other() -> None:
    checks = [
        Check(section="x", subject="silent", look=_silent),
        Check(section="x", subject="slow", look=_silent, when_late="warning"),
        _check("well", "fine"),
    ]
    assert summarize(run_checks(checks, patience_seconds=0.2)) == [
        ("silent", "broken", "no answer within 0.2 s"),
        ("slow", "warning", "no answer within 0.2 s"),
        ("well", "ok", "fine"),
    ]


def test_error_is_a_finding_with_remedies() -> None:
    (found,) = run_checks([Check(section="x", subject="gone", look=_refused)], patience_seconds=20)
    assert found == Finding(
        section="x",
        subject="gone",
        state="broken",
        says="It is gone.",
        remedies=("Start it.", "Or don't."),
    )


def test_watch_is_called_with_pending_checks() -> None:
    watched: list[list[str]] = []
    checks = [Check(section="x", subject="silent", look=_silent)]
    run_checks(checks, patience_seconds=0.05, watch=lambda left: watched.append([*left]))
    assert watched[-1] == ["silent"]


def test_bare_machine_is_healthy() -> None:
    found = examine(environ={"HOME": str(Path.home()), "PATH": ""})
    assert {finding.state for finding in found} <= {"ok", "note"}
    assert list(dict.fromkeys(finding.section for finding in found)) == [
        "configuration",
        "credentials",
        "backends",
        "disk",
        "jobs",
        "library",
        "cloud",
        "preview",
        "versions",
    ]
    assert list(Path().iterdir()) == []
    assert [path for path in Path.home().rglob("*") if path.is_file()] == []


def test_unreadable_configuration_skips_only_its_checks() -> None:
    Path("imagen.yaml").write_text("backends: [")
    found = examine(environ={"HOME": str(Path.home())})
    assert {finding.section for finding in found} == {"configuration", "versions"}
    assert found[0].state == "broken"
    assert "imagen.yaml" in found[0].says


def test_missing_configuration_is_reported() -> None:
    found = examine(Path("gone.yaml"), environ={"HOME": str(Path.home())})
    assert summarize(found)[0] == (
        "imagen.yaml",
        "broken",
        "Configuration gone.yaml not found.",
    )
    assert found[0].remedies == ("`imagen config init --write gone.yaml` writes one.",)


def test_configuration_problems_have_lines_and_other_checks_run() -> None:
    Path("imagen.yaml").write_text("backends:\n  a: {type: mock}\nlimits: {max_widht: 3}\n")
    found = examine(environ={"HOME": str(Path.home())})
    assert summarize(found)[0] == (
        "imagen.yaml",
        "broken",
        "line 3: limits.max_widht: unknown key. Did you mean 'max_width'?",
    )
    assert [(f.subject, f.state) for f in found if f.section == "backends"] == [("a", "ok")]


def test_impossible_switches_are_broken() -> None:
    Path("imagen.yaml").write_text("output: {cloud_sync: on}\nowner_user_id: me\n")
    found = examine(environ={"HOME": str(Path.home())})
    by_subject = {f.subject: (f.state, f.says) for f in found}
    assert by_subject["switches"] == (
        "broken",
        "output.cloud_sync is on, but SUPABASE_URL and SUPABASE_SERVICE_KEY are not set.",
    )
    assert by_subject["cloud"] == (
        "broken",
        "off: SUPABASE_URL and SUPABASE_SERVICE_KEY are not set",
    )
