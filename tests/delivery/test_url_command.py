"""imagen url: an address of a picture in the cloud, or what keeps it from being there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from simulators.supabase import ANON_KEY, BUCKET, SERVICE_KEY, Supabase
from simulators.supabase.storage import Bucket
from support.other_tools_images import A1111, png
from support.sync_folder import SyncFolder

from imagen.cli import run


def _read(url: str) -> bytes:
    return httpx.get(url, trust_env=False).raise_for_status().content


def _picture() -> Path:
    (path,) = Path("outputs").glob("*.png")
    return path


def test_whoever_has_the_address_sees_the_picture(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make()
    run(["sync"])
    capsys.readouterr()
    assert run(["url", lab.ids()[0]]) == 0
    (url,) = capsys.readouterr().out.splitlines()
    assert _read(url) == _picture().read_bytes()
    assert SERVICE_KEY not in url


def test_a_file_may_be_named_as_well(lab: SyncFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lab.make()
    run(["sync"])
    capsys.readouterr()
    assert run(["url", str(_picture())]) == 0
    assert capsys.readouterr().out.startswith(f"{lab.cloud.url}/storage/v1/object/sign/{BUCKET}/")


@pytest.mark.parametrize(
    ("span", "seconds"),
    [("1h", 3600), ("30min", 1800), ("7d", 604800), ("2w", 1209600), ("90s", 90)],
)
def test_it_holds_as_long_as_is_asked(
    lab: SyncFolder, span: str, seconds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make()
    run(["sync"])
    capsys.readouterr()
    assert run(["url", lab.ids()[0], "--expires", span, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    left = datetime.fromisoformat(told["expires"]) - datetime.now(UTC)
    assert seconds - 20 < left.total_seconds() <= seconds + 1
    asked = [json.loads(seen.body) for seen in lab.cloud.requests if "/sign/" in seen.path]
    assert asked == [{"expiresIn": seconds}]
    assert (told["id"], told["bucket"]) == (lab.ids()[0], BUCKET)
    assert (told["bucket"], told["path"]) in lab.cloud.objects


def test_a_picture_of_a_public_bucket_has_one_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Supabase(buckets=[Bucket(name=BUCKET, public=True)]) as cloud:
        lab = SyncFolder(cloud, monkeypatch)
        lab.make()
        run(["sync"])
        capsys.readouterr()
        assert run(["url", lab.ids()[0]]) == 0
        shown = _read(capsys.readouterr().out.strip())
    assert shown.startswith(b"\x89PNG")
    assert b"a fox" not in shown


@pytest.mark.parametrize("span", ["soon", "0h", "-1h", "1", "5000d", "200000000w", "99999999999d"])
def test_a_span_that_is_none_is_refused(span: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["url", "abc", f"--expires={span}"]) == 2
    assert "is no span of time up to ten years" in capsys.readouterr().err


def test_what_waits_is_said_to_wait(lab: SyncFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lab.make()
    assert run(["url", lab.ids()[0]]) == 2
    assert capsys.readouterr().err == (
        f"imagen: {lab.ids()[0]} is not in the cloud yet: it waits to be sent.\n"
        "Send it with: imagen sync\n"
    )


def test_what_waits_for_the_cloud_to_come_back_is_said_to(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.cloud.stop()
    lab.make()
    run(["sync"])
    capsys.readouterr()
    assert run(["url", lab.ids()[0]]) == 2
    _, _, said = capsys.readouterr().err.partition("\n")  # below the line about all deliveries
    assert said == (
        f"imagen: {lab.ids()[0]} is not in the cloud yet: it waits to be sent. "
        f"{lab.cloud.url} cannot be reached: Connection refused.\n"
        "Send it with: imagen sync --retry\n"
    )


def test_what_is_stuck_is_said_to_be_with_its_remedy(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make()
    lab.set(SUPABASE_SERVICE_KEY=ANON_KEY)
    run(["sync"])
    capsys.readouterr()
    assert run(["url", lab.ids()[0]]) == 2
    _, *said = capsys.readouterr().err.splitlines()  # below the line about all deliveries
    assert said[0].startswith(f"imagen: {lab.ids()[0]} is not in the cloud yet: it is stuck. http")
    assert said[1:] == [
        "Put the service key of the project into SUPABASE_SERVICE_KEY.",
        "Send it with: imagen sync --retry",
    ]


_NEVER = (
    "is not in the cloud, and does not go there: cloud sync was off when it was made, it was taken "
    "in from elsewhere, or it was forgotten with imagen sync --forget."
)


def test_what_was_kept_here_is_said_to_be(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make("--no-cloud")
    assert run(["url", lab.ids()[0]]) == 2
    assert capsys.readouterr().err == f"imagen: {lab.ids()[0]} {_NEVER}\n"


@pytest.mark.usefixtures("lab")
def test_so_is_what_was_taken_in(capsys: pytest.CaptureFixture[str]) -> None:
    png("cat.png", parameters=A1111)
    run(["library", "add", "."])
    assert run(["url", "cat.png"]) == 2
    assert _NEVER in capsys.readouterr().err


def test_an_unknown_picture_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["url", "abc"]) == 2
    assert "Image 'abc' was not found" in capsys.readouterr().err
