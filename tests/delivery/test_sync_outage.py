"""Whatever way the cloud fails, each image is there once in the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from simulators.supabase import ANON_KEY, SERVICE_KEY, Supabase, SupabaseSwitches
from support.sync_folder import SyncFolder, without_times

from imagen.cli import run


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    return without_times(capsys.readouterr().out)


def _unnamed(text: str, lab: SyncFolder) -> str:
    """With the IDs of images replaced by numbers: `IMAGE-1`."""
    for number, id in enumerate(lab.ids(), 1):
        text = text.replace(id, f"IMAGE-{number}")
    return text


def test_images_made_during_an_outage_arrive_afterwards(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.cloud.stop()
    lab.make(many=5)
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert lab.states() == [("waiting", 0)] * 5

    assert run(["sync"]) == 0
    assert _unnamed(_said(capsys), lab) == (
        "Nothing was sent.\n"
        "1  cloud  IMAGE-1  waiting until TIME  tried 1 ×\n"
        "3  cloud  IMAGE-2  waiting until TIME  tried 1 ×\n"
        "5  cloud  IMAGE-3  waiting until TIME  tried 1 ×\n"
        "7  cloud  IMAGE-4  waiting until TIME  tried 1 ×\n"
        "9  cloud  IMAGE-5  waiting until TIME  tried 1 ×\n"
        f"    {lab.cloud.url} cannot be reached: Connection refused.\n"
        "5 ledger rows are waiting.\n"
        "Retry now with: imagen sync --retry\n"
    )
    lab.cloud.start()
    lab.pass_time()
    assert run(["sync"]) == 0
    assert _said(capsys) == "Sent 5 images to the cloud, 5 ledger rows.\n"
    assert lab.there() == (5, 5, 5)
    assert len(lab.uploads()) == 5


def test_generate_sends_no_request_to_the_cloud(lab: SyncFolder) -> None:
    lab.make(many=2)
    assert lab.cloud.requests == []


def test_an_unreachable_cloud_is_tried_once_per_sync(lab: SyncFolder) -> None:
    lab.make(many=4)
    lab.cloud.switches = SupabaseSwitches(outage=True)
    run(["sync"])
    tries_of_one = 3
    asked = [seen for seen in lab.cloud.requests if seen.part == "/storage/v1"]
    assert len(asked) == tries_of_one


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(SupabaseSwitches(lost_uploads=1), id="stored, and the answer lost"),
        pytest.param(SupabaseSwitches(lost_uploads=3), id="stored, and each answer lost"),
        pytest.param(SupabaseSwitches(lost_inserts=3), id="inserted, and each answer lost"),
        pytest.param(SupabaseSwitches(broken_inserts=3), id="uploaded, and not inserted"),
        pytest.param(SupabaseSwitches(broken_uploads=3), id="not uploaded"),
        pytest.param(SupabaseSwitches(lost_uploads=3, forgets_metadata=True), id="an old Storage"),
        pytest.param(SupabaseSwitches(broken=3), id="503"),
    ],
)
def test_an_outage_during_a_sync_leaves_each_image_once(
    lab: SyncFolder, trouble: SupabaseSwitches
) -> None:
    lab.make(many=2)
    lab.cloud.switches = trouble
    run(["sync"])
    lab.pass_time()
    assert run(["sync"]) == 0
    assert lab.there() == (2, 2, 2)
    assert lab.left() == []


def test_a_rate_limit_postpones_deliveries(lab: SyncFolder) -> None:
    lab.configure(usage={"mirror": "off"})
    lab.make(many=2)
    lab.cloud.switches = SupabaseSwitches(throttled=1, throttle_seconds=90)
    assert run(["sync"]) == 0
    assert lab.states() == [("waiting", 1), ("waiting", 1)]
    assert len(lab.cloud.requests) == 1
    run(["sync"])
    assert len(lab.cloud.requests) == 1


def test_retry_after_is_respected(lab: SyncFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lab.make()
    lab.cloud.switches = SupabaseSwitches(throttled=2, throttle_seconds=900)
    capsys.readouterr()
    run(["sync", "--json"])
    first = json.loads(capsys.readouterr().out)["left"][0]
    pause = datetime.fromisoformat(first["due"]) - datetime.now(UTC)
    assert 890 < pause.total_seconds() <= 900
    assert "limits the rate" in first["reason"]


def test_deliveries_with_a_wrong_key_are_stuck_until_retry(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.set(SUPABASE_SERVICE_KEY=ANON_KEY)
    lab.make(many=2)
    capsys.readouterr()
    assert run(["sync"]) == 4
    said = _unnamed(_said(capsys), lab)
    assert said.startswith(
        "Nothing was sent.\n"
        "1  cloud  IMAGE-1  stuck  tried 1 ×\n"
        "3  cloud  IMAGE-2  stuck  tried 1 ×\n"
        f"    {lab.cloud.url} refused the request: "
    )
    assert said.endswith(
        "    Put the service key of the project into SUPABASE_SERVICE_KEY.\n"
        "2 ledger rows are stuck.\n"
        "After fixing the cause, retry with: imagen sync --retry\n"
    )
    assert ANON_KEY not in said

    lab.set(SUPABASE_SERVICE_KEY=SERVICE_KEY)
    assert run(["sync"]) == 4
    capsys.readouterr()
    assert run(["sync", "--retry"]) == 0
    assert _said(capsys) == "Sent 2 images to the cloud, 2 ledger rows.\n"
    assert lab.there() == (2, 2, 2)


def test_a_refused_image_does_not_hold_up_others(lab: SyncFolder) -> None:
    lab.make(many=3)
    spoilt = sorted(Path("outputs").glob("*-2.png"))[0]
    spoilt.write_bytes(spoilt.read_bytes() + b"?")
    assert run(["sync"]) == 4
    assert lab.states() == [("stuck", 1)]
    assert lab.there() == (2, 2, 3)


def test_a_shell_without_the_key_leaves_deliveries_waiting(
    lab: SyncFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make()
    monkeypatch.delenv("SUPABASE_SERVICE_KEY")
    assert run(["sync"]) == 4
    assert "SUPABASE_SERVICE_KEY is not set" in capsys.readouterr().out
    assert lab.states() == [("waiting", 1)]
    lab.set(SUPABASE_SERVICE_KEY=SERVICE_KEY)
    assert run(["sync", "--retry"]) == 0
    assert lab.there() == (1, 1, 1)


def test_images_are_not_sent_after_cloud_sync_is_turned_off(lab: SyncFolder) -> None:
    lab.make()
    lab.set(IMAGEN_CLOUD_SYNC="off")
    assert run(["sync"]) == 4
    assert lab.states("cloud") == [("waiting", 1)]
    assert lab.there() == (0, 0, 1)


def test_nothing_is_sent_after_everything_is_turned_off(lab: SyncFolder) -> None:
    lab.make()
    lab.configure(usage={"mirror": "off"}, output={"cloud_sync": "off"})
    assert run(["sync"]) == 4
    assert lab.cloud.requests == []
    assert lab.states("cloud") + lab.states("mirror") == [("waiting", 1), ("waiting", 1)]


def test_a_failed_ledger_copy_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Supabase(exposed=("public", "imagen")) as cloud:
        lab = SyncFolder(cloud, monkeypatch)
        lab.make(many=3)
        capsys.readouterr()
        assert run(["sync"]) == 0
        assert lab.there() == (3, 3, 0)
    assert capsys.readouterr() == (
        "Sent 3 images to the cloud.\n3 ledger rows are stuck.\n"
        "After fixing the cause, retry with: imagen sync --retry\n",
        f"The copy of the ledger in the cloud lacks 3 rows: {cloud.url} refused the request: "
        "Invalid schema: mai Only the following schemas are exposed: public, imagen (406 "
        "PGRST106). Expose the schema: Project Settings, Data API, Exposed schemas.\n",
    )


def test_moved_images_are_sent_from_their_new_path(lab: SyncFolder) -> None:
    lab.make()
    Path("outputs").rename("elsewhere")
    assert run(["library", "add", "elsewhere"]) == 0
    assert run(["sync"]) == 0
    assert lab.there() == (1, 1, 1)
    (row,) = lab.cloud.rows("imagen", "images")
    assert row["sidecar"]["request"]["prompt"] == "a fox"
