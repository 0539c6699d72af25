"""Checks of the library and its outbox."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.doctor_samples import keep, settings, summarize

from imagen.doctor import run_checks
from imagen.doctor.checks import library_checks
from imagen.library.migrations import STEPS

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.config import Settings


def _told(whole: Settings, *, quick: bool = False) -> list[tuple[str, str, str]]:
    checks = list(library_checks(whole, {}, quick=quick))
    return summarize(run_checks(checks, patience_seconds=20))


def test_intact_library_is_ok(tmp_path: Path) -> None:
    whole = settings(tmp_path)
    keep(whole)
    assert _told(whole) == [
        ("library", "ok", f"{tmp_path / 'library.db'}, version {len(STEPS)}, 0 images"),
        ("outbox", "ok", "empty"),
        ("integrity", "ok", "intact and searchable"),
    ]


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")
def test_read_only_library_is_a_warning(tmp_path: Path) -> None:
    whole = settings(tmp_path)
    keep(whole)
    tmp_path.chmod(0o500)
    output = _told(whole)
    tmp_path.chmod(0o700)
    says = f"{tmp_path / 'library.db'}, version {len(STEPS)}, 0 images; it is read-only"
    assert output == [
        ("library", "warning", says),
        ("outbox", "ok", "empty"),
        ("integrity", "ok", "intact and searchable"),
    ]


def test_each_kind_of_library_is_reported_with_its_outbox(tmp_path: Path, library_url: str) -> None:
    whole = settings(tmp_path, library={"url": library_url})
    keep(whole, webhooks=1, why="Refused.", stuck=True)
    (_, state, says), *others = _told(whole)
    assert (state, says.endswith(f", version {len(STEPS)}, 0 images")) == ("ok", True)
    assert others == [
        ("outbox", "ok", "empty"),
        ("outbox", "broken", "1 for the webhook stuck: Refused."),
        ("integrity", "ok", "intact and searchable"),
    ]


def test_missing_library_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    assert _told(settings(tmp_path)) == [("library", "ok", f"{path}, not created yet")]
    assert not path.exists()


def test_disabled_library_is_a_note(tmp_path: Path) -> None:
    whole = settings(tmp_path, library={"enabled": False})
    assert _told(whole) == [("library", "note", "off: library.enabled is false")]


def test_invalid_library_file_is_broken(tmp_path: Path) -> None:
    (tmp_path / "library.db").write_text("no library" * 100)
    (subject, state, says), *_ = _told(settings(tmp_path))
    assert (subject, state) == ("library", "broken")
    assert says.endswith(": file is not a database.")


def test_newer_library_is_broken_and_unchanged(tmp_path: Path) -> None:
    keep(settings(tmp_path))
    with closing(sqlite3.connect(tmp_path / "library.db")) as connection, connection:
        connection.execute("UPDATE library_version SET version = 99")
    (_, state, says), *_ = _told(settings(tmp_path))
    assert state == "broken"
    assert says.startswith("The library has version 99, of a newer imagen")


def test_damaged_page_is_found(tmp_path: Path) -> None:
    keep(settings(tmp_path))
    with closing(sqlite3.connect(tmp_path / "library.db")) as connection, connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'usage' AND type = 'table'"
        ).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "library.db").open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 512)
    assert [(subject, state) for subject, state, _ in _told(settings(tmp_path))][2:] != [
        ("integrity", "ok")
    ]


def test_pending_deliveries_are_a_note(tmp_path: Path) -> None:
    keep(settings(tmp_path), webhooks=2)
    assert _told(settings(tmp_path))[1] == ("outbox", "note", "2 for the webhook pending")


def test_deliveries_waiting_for_a_retry_are_a_warning(tmp_path: Path) -> None:
    keep(settings(tmp_path), webhooks=2, why="The address is out of reach.")
    assert _told(settings(tmp_path))[1] == (
        "outbox",
        "warning",
        "2 for the webhook waiting for a retry: The address is out of reach.",
    )


def test_stuck_deliveries_are_broken_with_the_reason(tmp_path: Path) -> None:
    keep(settings(tmp_path), webhooks=3, why="Refused:\x1b[2J no.", stuck=True)
    assert _told(settings(tmp_path))[1:3] == [
        ("outbox", "ok", "empty"),
        ("outbox", "broken", "3 for the webhook stuck: Refused:[2J no."),
    ]


@pytest.mark.parametrize(
    ("quick", "state"), [(True, "ok"), (False, "broken")], ids=["quick", "asked"]
)
def test_unreachable_database_is_broken_unless_quick(
    tmp_path: Path, quick: bool, state: str
) -> None:
    whole = settings(tmp_path, library={"url": "postgresql://me@127.0.0.1:9/imagen"})
    assert _told(whole, quick=quick)[0][:2] == ("library", state)
