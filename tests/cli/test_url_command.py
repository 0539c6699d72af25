"""imagen url: a temporary link to an image in the cloud, or why there is none."""

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


def _image() -> Path:
    (path,) = Path("outputs").glob("*.png")
    return path


def test_url_prints_a_link_to_the_image(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make()
    assert run(["sync"]) == 0
    capsys.readouterr()
    assert run(["url", lab.ids()[0]]) == 0
    (url,) = capsys.readouterr().out.splitlines()
    assert _read(url) == _image().read_bytes()
    assert SERVICE_KEY not in url


def test_url_accepts_a_file(lab: SyncFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lab.make()
    assert run(["sync"]) == 0
    capsys.readouterr()
    assert run(["url", str(_image())]) == 0
    assert capsys.readouterr().out.startswith(f"{lab.cloud.url}/storage/v1/object/sign/{BUCKET}/")


@pytest.mark.parametrize(
    ("span", "seconds"),
    [("1h", 3600), ("30min", 1800), ("7d", 604800), ("2w", 1209600), ("90s", 90)],
)
def test_url_expires_after_the_given_time(
    lab: SyncFolder, span: str, seconds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make()
    assert run(["sync"]) == 0
    capsys.readouterr()
    assert run(["url", lab.ids()[0], "--expires", span, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    left = datetime.fromisoformat(printed["expires"]) - datetime.now(UTC)
    assert seconds - 20 < left.total_seconds() <= seconds + 1
    asked = [json.loads(seen.body) for seen in lab.cloud.requests if "/sign/" in seen.path]
    assert asked == [{"expiresIn": seconds}]
    assert (printed["id"], printed["bucket"]) == (lab.ids()[0], BUCKET)
    assert (printed["bucket"], printed["path"]) in lab.cloud.objects


def test_url_works_with_a_public_bucket(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Supabase(buckets=[Bucket(name=BUCKET, public=True)]) as cloud:
        lab = SyncFolder(cloud, monkeypatch)
        lab.make()
        assert run(["sync"]) == 0
        capsys.readouterr()
        assert run(["url", lab.ids()[0]]) == 0
        shown = _read(capsys.readouterr().out.strip())
    assert shown.startswith(b"\x89PNG")
    assert b"a fox" not in shown


@pytest.mark.parametrize("span", ["soon", "0h", "-1h", "1", "5000d", "200000000w", "99999999999d"])
def test_url_refuses_an_invalid_duration(span: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["url", "abc", f"--expires={span}"]) == 2
    assert "is not a valid duration" in capsys.readouterr().err


def test_url_of_a_pending_image_names_imagen_sync(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make()
    assert run(["url", lab.ids()[0]]) == 2
    assert capsys.readouterr().err == (
        f"imagen: {lab.ids()[0]} is not in the cloud yet: its upload is pending.\n"
        "To upload it: imagen sync\n"
    )


def test_url_of_a_failed_upload_gives_the_reason(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.cloud.stop()
    lab.make()
    assert run(["sync"]) == 0
    capsys.readouterr()
    assert run(["url", lab.ids()[0]]) == 2
    _, _, message = capsys.readouterr().err.partition("\n")  # below the line about all deliveries
    assert message == (
        f"imagen: {lab.ids()[0]} is not in the cloud yet: its upload is pending. "
        f"{lab.cloud.url} cannot be reached: Connection refused.\n"
        "To upload it: imagen sync --retry\n"
    )


def test_url_of_a_stuck_upload_gives_the_remedy(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make()
    lab.set(SUPABASE_SERVICE_KEY=ANON_KEY)
    assert run(["sync"]) == 4
    capsys.readouterr()
    assert run(["url", lab.ids()[0]]) == 2
    _, *message = capsys.readouterr().err.splitlines()  # below the line about all deliveries
    assert message[0].startswith(
        f"imagen: {lab.ids()[0]} is not in the cloud yet: its upload is stuck. http"
    )
    assert message[1:] == [
        "Put the service key of the project into SUPABASE_SERVICE_KEY.",
        "To upload it: imagen sync --retry",
    ]


_NEVER = (
    "is not in the cloud and will not be uploaded: cloud sync was off when it was generated, it "
    "was imported, or its upload was cancelled with imagen sync --forget."
)


def test_url_of_a_local_image_says_that_it_is_not_uploaded(
    lab: SyncFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.make("--no-cloud")
    assert run(["url", lab.ids()[0]]) == 2
    assert capsys.readouterr().err == f"imagen: {lab.ids()[0]} {_NEVER}\n"


@pytest.mark.usefixtures("lab")
def test_url_of_an_imported_image_says_that_it_is_not_uploaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    png("cat.png", parameters=A1111)
    assert run(["library", "add", "."]) == 0
    assert run(["url", "cat.png"]) == 2
    assert _NEVER in capsys.readouterr().err


def test_url_refuses_an_unknown_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["url", "abc"]) == 2
    assert "Image 'abc' was not found" in capsys.readouterr().err
