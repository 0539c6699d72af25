"""imagen jobs every: schedules from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli import run
from imagen.config import load_settings
from imagen.jobs.cron import submit_due_schedules
from imagen.jobs.sql_store import open_job_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.jobs.sql_store import SqlJobStore


@pytest.fixture
def store() -> Iterator[SqlJobStore]:
    Path("imagen.yaml").write_text("state_dir: state\nbackends: {mock: {type: mock}}\n")
    with open_job_store(load_settings()) as store:
        yield store


def _every(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run(["jobs", "every", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_schedule_keeps_the_requests_of_its_command(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    added = _every(
        capsys, "0 7 * * *", "--timezone", "UTC", "--", "generate", "a {red|blue} fox",
        "--steps", "3", "-o", "foxes",
    )  # fmt: skip
    assert (added["cron"], added["timezone"], added["name"]) == (
        "0 7 * * *", "UTC", "a {red|blue} fox",
    )  # fmt: skip
    assert not Path("foxes").exists()
    assert store.list_jobs() == []
    later = datetime.now(UTC) + timedelta(days=1)
    submit_due_schedules(store, load_settings(), now=later)
    (job,) = store.list_jobs()
    assert job.spec is not None
    assert job.spec.request.prompt in ("a red fox", "a blue fox")
    assert job.spec.request.steps == 3
    assert job.spec.output["directory"] == str(Path("foxes").absolute())


def test_schedules_are_listed_paused_resumed_and_deleted(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    id = _every(capsys, "0 7 * * *", "--timezone", "UTC", "--", "generate", "a fox")["id"]
    assert _every(capsys, "--pause", id[:6])["is_paused"] is True
    assert run(["jobs", "every", "--list"]) == 0
    assert capsys.readouterr().out.split()[0] == id[:8]
    assert _every(capsys, "--resume", id)["is_paused"] is False
    assert [one["id"] for one in _every(capsys, "--list")["schedules"]] == [id]
    _every(capsys, "--delete", id)
    assert store.schedules() == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("0 7 * *", "--", "generate", "x"), "it needs five fields"),
        (("0 7 * * *", "--timezone", "Zurich", "--", "generate", "x"), "is not a time zone"),
        (("0 7 * * *",), "The command is missing"),
        (("0 7 * * *", "--", "genrate", "x"), "Did you mean 'generate'?"),
        (("0 7 * * *", "--", "history"), "is not a command that can be repeated"),
        (("0 7 * * *", "--", "generate", "x", "--setps", "3"), "Did you mean '--steps'?"),
        (("0 7 * * *", "--", "generate", "x", "-b", "mcok"), "Did you mean 'mock'?"),
        (("0 7 * * *", "--", "generate"), "needs a prompt"),
        (("--pause", "abc"), "is not the ID of a schedule"),
        ((), "Give a schedule and a command"),
        (("0 7 * * *", "--list"), "Give a schedule and a command"),
    ],
)
def test_a_wrong_schedule_is_refused_before_it_is_stored(
    words: tuple[str, ...], sentence: str, store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["jobs", "every", *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert store.schedules() == []
