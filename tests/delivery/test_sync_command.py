"""imagen sync: its options, its list and its exit codes."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulators.supabase import ANON_KEY, SERVICE_KEY
from support.sync_folder import without_times

from imagen.cli import run
from imagen.config import load_settings
from imagen.core.filesystem import lock
from imagen.library import outbox

if TYPE_CHECKING:
    from support.sync_folder import SyncFolder


@pytest.fixture
def stuck(lab: SyncFolder, capsys: pytest.CaptureFixture[str]) -> SyncFolder:
    """Two images that the cloud refused because of a wrong key; and no ledger."""
    lab.configure(usage={"mirror": "off"})
    lab.make(many=2)
    lab.set(SUPABASE_SERVICE_KEY=ANON_KEY)
    assert run(["sync"]) == 4
    lab.set(SUPABASE_SERVICE_KEY=SERVICE_KEY)
    capsys.readouterr()
    return lab


def test_sync_says_that_nothing_is_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sync", "--list"]) == 0
    assert run(["sync"]) == 0
    assert capsys.readouterr() == ("Nothing is waiting.\nNothing was sent.\n", "")


def test_sync_list_sends_nothing(lab: SyncFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lab.make()
    capsys.readouterr()
    assert run(["sync", "--list"]) == 0
    assert capsys.readouterr().out == (
        f"1  cloud  {lab.ids()[0]}  waiting\n1 ledger row is waiting.\n"
    )
    assert lab.cloud.requests == []


def test_sync_list_shows_stuck_deliveries_with_their_error(
    stuck: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sync", "--list"]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["1", "cloud", stuck.ids()[0], "stuck", "tried", "1", "×"]
    assert lines[-1] == "After fixing the cause, retry with: imagen sync --retry"


def test_sync_retry_with_an_id_sends_that_delivery(
    stuck: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sync", "--retry", "2"]) == 4
    assert capsys.readouterr().out.startswith("Sent 1 image to the cloud.\n1  cloud  ")
    assert [one.id for one in stuck.left()] == [1]


def test_sync_forget_deletes_deliveries(
    stuck: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sync", "--forget", "1", "2"]) == 0
    assert capsys.readouterr().out == "Nothing is waiting.\n"
    assert stuck.there() == (0, 0, 0)


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize("flag", ["--retry", "--forget"])
def test_an_unknown_delivery_id_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sync", flag, "1", "77"]) == 2
    assert capsys.readouterr().err == (
        "imagen: Delivery 77 was not found.\nList unsent deliveries with: imagen sync --list\n"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sync 5", "An ID needs --retry or --forget."),
        ("sync --forget", "--forget needs IDs. List them with --list."),
        ("sync --retry --list", "--retry and --list cannot be combined."),
        ("sync --retry --forget 5", "--retry and --forget cannot be combined."),
        ("sync --watch --list", "--watch and --list cannot be combined."),
        ("sync --watch --json", "--watch cannot be combined with --json or --forget."),
        ("sync five", "'five' is not a valid integer"),
    ],
)
def test_flags_that_exclude_each_other_are_refused(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 2
    assert said in " ".join(capsys.readouterr())


def test_sync_fails_if_the_library_is_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("library: {enabled: false}")
    assert run(["sync"]) == 2
    assert "The library is switched off" in capsys.readouterr().err


def test_sync_json_lists_stuck_deliveries(
    stuck: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sync", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert told["sent"] == []
    first = told["left"][0]
    assert datetime.fromisoformat(first.pop("due")).tzinfo is not None
    assert first.pop("reason").startswith(f"{stuck.cloud.url} refused the request: ")
    assert first == {
        "id": 1,
        "kind": "cloud",
        "host": None,
        "image": stuck.ids()[0],
        "generation": stuck.left()[0].delivery.generation,
        "state": "stuck",
        "attempts": 1,
        "remedy": "Put the service key of the project into SUPABASE_SERVICE_KEY.",
    }


def test_sync_json_lists_sent_deliveries(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make("--count", "2", "--latent-batch")
    capsys.readouterr()
    run(["sync", "--json"])
    told = json.loads(capsys.readouterr().out)
    first, second = lab.ids()
    assert second == f"{first}.2"
    assert [(one["kind"], one["image"]) for one in told["sent"]] == [
        ("cloud", first),
        ("cloud", second),
        ("mirror", first),
    ]
    assert told["left"] == []


def test_unless_running_exits_while_another_sync_runs(lab: SyncFolder) -> None:
    lab.make()
    held = lock(load_settings().state_dir / "sync.lock")
    assert held is not None
    assert run(["sync", "--unless-running"]) == 0
    assert lab.cloud.requests == []
    held.release()
    assert run(["sync", "--unless-running"]) == 0
    assert lab.there() == (1, 1, 1)


def test_sync_list_shows_lease_expiry_of_claimed_deliveries(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    from imagen.pipeline.record import open_library_synced

    lab.make()
    with open_library_synced(load_settings()) as library:
        outbox.claim(library, limit=1)
    capsys.readouterr()
    run(["sync", "--list"])
    said = without_times(capsys.readouterr().out)
    assert said.splitlines()[0] == f"1  cloud  {lab.ids()[0]}  waiting until TIME"


def test_sync_list_shows_at_most_thirty_deliveries(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make("--count", "32", "--latent-batch")
    capsys.readouterr()
    run(["sync", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 32
    assert lines[30:] == ["… and 2 more; --json lists them all.", "1 ledger row is waiting."]


def test_sync_shows_webhooks_without_their_secrets(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.configure(webhooks=[{"url": "http://127.0.0.1:9/hook/s3cr3t?key=t0ps3cret"}])
    lab.make("--no-cloud")
    capsys.readouterr()
    run(["sync"])
    run(["sync", "--json"])
    printed = "".join(capsys.readouterr())
    assert "127.0.0.1" in printed
    assert "s3cr3t" not in printed
    assert "t0ps3cret" not in printed


def test_no_cloud_skips_the_upload(lab: SyncFolder) -> None:
    lab.make("--no-cloud")
    assert lab.states("cloud") == []
    assert run(["compare", "a fox", "-m", "mock", "--size", "32x32", "-q", "--no-cloud"]) == 0
    assert lab.states("cloud") == []
    assert run(["again", lab.ids()[0], "-q", "--no-cloud"]) == 0
    assert lab.states("cloud") == []
