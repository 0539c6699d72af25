"""The line about failed background deliveries that the next command shows."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from simulators.supabase import ANON_KEY, SERVICE_KEY, USAGE, Supabase
from support.sync_folder import SyncFolder

from imagen.cli import run
from imagen.config import load_settings
from imagen.delivery.background import read_sync_failure, write_sync_failure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def down(lab: SyncFolder, capsys: pytest.CaptureFixture[str]) -> str:
    """Two images wait for a cloud that is down; the line that says so."""
    lab.configure(usage={"mirror": "off"})
    lab.make(many=2)
    lab.cloud.stop()
    assert run(["sync"]) == 0
    capsys.readouterr()
    return (
        f"imagen: cloud sync: {lab.cloud.url} cannot be reached: Connection refused "
        "(2 waiting; imagen sync)\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "history --json",
        "usage",
        "backends",
        "workflows list",
        "resume",
        "generate fox --size 32x32 --quiet --backend mock",
    ],
)
def test_the_next_command_shows_the_sync_failure(
    down: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 0
    out, err = capsys.readouterr()
    assert err.count("cloud sync") == 1
    assert down in err
    assert "cloud sync" not in out


@pytest.mark.usefixtures("down")
@pytest.mark.parametrize(
    "line", ["--help", "version", "completion bash", "config show", "config init", "sync --list"]
)
def test_some_commands_do_not_show_the_sync_failure(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(line.split())
    assert "imagen: cloud sync" not in capsys.readouterr().err


@pytest.mark.usefixtures("down")
def test_the_sync_failure_is_removed_once_everything_is_sent(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.cloud.start()
    assert run(["sync", "--retry"]) == 0
    capsys.readouterr()
    assert run(["history"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("down")
def test_the_sync_failure_is_removed_after_another_process_sent_everything(lab: SyncFolder) -> None:
    line = read_sync_failure(load_settings().state_dir)
    lab.cloud.start()
    assert run(["sync", "--retry"]) == 0
    write_sync_failure(
        load_settings().state_dir, line
    )  # the process died before it removed the line
    assert run(["sync"]) == 0
    assert read_sync_failure(load_settings().state_dir) == ""


@pytest.mark.usefixtures("down")
def test_the_sync_failure_is_removed_once_everything_is_forgotten(lab: SyncFolder) -> None:
    ids = [str(one.id) for one in lab.left()]
    assert run(["sync", "--forget", *ids]) == 0
    assert read_sync_failure(load_settings().state_dir) == ""


def test_a_stuck_failure_names_the_retry_command(lab: SyncFolder) -> None:
    lab.configure(usage={"mirror": "off"})
    lab.make()
    lab.set(SUPABASE_SERVICE_KEY=ANON_KEY)
    assert run(["sync"]) == 4
    assert read_sync_failure(load_settings().state_dir).endswith("(1 stuck; imagen sync --retry)")
    lab.set(SUPABASE_SERVICE_KEY=SERVICE_KEY)


def test_a_failure_of_the_ledger_copy_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Supabase(exposed=("public", "imagen")) as cloud:
        SyncFolder(cloud, monkeypatch).make()
        assert run(["sync"]) == 0
    capsys.readouterr()
    assert run(["history"]) == 0
    assert capsys.readouterr().err == (
        f"imagen: cloud sync: {cloud.url} refused the request: Invalid schema: mai Only the "
        "following schemas are exposed: public, imagen (406 PGRST106) (1 stuck; "
        "imagen sync --retry)\n"
    )


def test_a_failed_webhook_is_named_webhook(
    lab: SyncFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPABASE_URL")
    lab.configure(webhooks=[{"url": "http://127.0.0.1:9/hook"}])
    lab.make()
    run(["sync"])
    assert read_sync_failure(load_settings().state_dir).startswith("webhook: ")


def test_the_sync_failure_has_no_control_characters(tmp_path: Path) -> None:
    write_sync_failure(tmp_path, "cloud sync: a\x1b[2J\nb")
    assert read_sync_failure(tmp_path) == "cloud sync: a[2J b"


def test_an_unwritable_sync_failure_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_sync_failure(tmp_path / "file" / "state", "cloud sync: x")
    assert read_sync_failure(tmp_path / "file" / "state") == ""


def test_showing_the_sync_failure_does_not_load_the_library(lab: SyncFolder) -> None:
    write_sync_failure(load_settings().state_dir, "cloud sync: down (1 waiting; imagen sync)")
    program = (
        "from imagen.cli import run; run(['workflows', 'list'])\n"
        "import sys; print('sqlalchemy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stderr == "imagen: cloud sync: down (1 waiting; imagen sync)\n"
    assert ran.stdout.splitlines()[-1] == "False"
    assert lab.cloud.requests == []


def test_missing_columns_of_the_ledger_copy_are_one_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Supabase(tables=[USAGE.without("images", "actual_cost", "currency")]) as cloud:
        lab = SyncFolder(cloud, monkeypatch)
        lab.configure(output={"cloud_sync": "off"})
        lab.make(many=3)
        capsys.readouterr()
        assert run(["sync"]) == 0
        out, err = capsys.readouterr()
        assert out == "Sent 3 ledger rows.\n"
        assert err.startswith("The table mai.imagen_usage in the cloud has no column images: ")
        assert len(err.splitlines()) == 1
        assert len(cloud.rows("mai", "imagen_usage")) == 3
        assert len(cloud.requests) == 4
    assert read_sync_failure(load_settings().state_dir) == ""


def test_no_cloud_still_copies_the_ledger(lab: SyncFolder) -> None:
    lab.make("--no-cloud")
    assert run(["sync"]) == 0
    assert lab.there() == (0, 0, 1)
