"""Syncs in processes of their own: at once, in the background, and with --watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulators.supabase import USAGE, Supabase, SupabaseSwitches
from support.sync_folder import SyncFolder, running_imagen, start_imagen, wait_until

from imagen.cli import run
from imagen.config import Settings, load_settings
from imagen.core.filesystem import is_held, lock
from imagen.delivery.background import start_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

_ON = {"IMAGEN_BACKGROUND_SYNC": "on"}
_MAKE = ["generate", "a fox", "--size", "32x32", "--quiet"]


def test_two_syncs_send_nothing_twice(lab: SyncFolder, library_url: str) -> None:
    lab.configure(library={"url": library_url})
    lab.make("--count", "30", "--latent-batch")
    with running_imagen("sync", "--json") as first, running_imagen("sync", "--json") as second:
        printed = [process.communicate()[0] for process in (first, second)]
        assert [first.returncode, second.returncode] == [0, 0]
    assert lab.there() == (30, 30, 1)
    assert Counter(lab.uploads()).most_common(1)[0][1] == 1
    inserts = [seen for seen in lab.cloud.requests if seen.part == "/rest/v1"]
    assert len(inserts) == 31
    assert lab.left() == []
    assert min(text.count('"cloud"') for text in printed) > 0


def test_generate_sends_images_in_the_background(lab: SyncFolder) -> None:
    ended = start_imagen(*_MAKE, **_ON)
    assert ended.communicate()[0].endswith(".png\n")
    assert wait_until(lambda: lab.there() == (1, 1, 1))
    assert wait_until(lambda: not is_held(load_settings().state_dir / "sync.lock"))


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
def test_generate_without_streams_sends_images_in_the_background(lab: SyncFolder) -> None:
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "imagen", *_MAKE]
    assert subprocess.run(shell, env=os.environ | _ON, check=False).returncode == 5
    assert wait_until(lambda: lab.there() == (1, 1, 1))
    assert wait_until(lambda: not is_held(load_settings().state_dir / "sync.lock"))


def test_generate_does_not_wait_for_an_unresponsive_cloud(lab: SyncFolder) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        lab.set(SUPABASE_URL=f"http://127.0.0.1:{deaf.getsockname()[1]}")
        ended = start_imagen(*_MAKE, **_ON)
        assert ended.communicate(timeout=30)[1] == ""
        assert ended.returncode == 0
        lock_file = load_settings().state_dir / "sync.lock"
        assert wait_until(lambda: is_held(lock_file))
    assert wait_until(lambda: not is_held(lock_file))


def test_the_background_sync_uses_the_named_configuration(lab: SyncFolder) -> None:
    Path("imagen.yaml").rename("mine.yaml")
    start_imagen(*_MAKE, "--config", "mine.yaml", **_ON).communicate()
    assert wait_until(lambda: lab.there() == (1, 1, 1))


def test_a_failed_command_starts_a_background_sync(lab: SyncFolder) -> None:
    lab.make()
    lab.configure(backends={"bad": {"type": "mock", "fail": "failed"}})
    ended = start_imagen(*_MAKE, "-b", "bad", **_ON)
    ended.communicate()
    assert ended.returncode == 4
    assert wait_until(lambda: lab.there() == (1, 1, 1))


def test_a_running_sync_sends_new_images_too(lab: SyncFolder) -> None:
    lab.make(many=2)
    lab.cloud.switches = SupabaseSwitches(slow=0.2)
    with running_imagen("sync", "--unless-running") as first:
        assert wait_until(lambda: bool(lab.cloud.requests))
        lab.make("--count", "3", "--latent-batch")
        second = start_imagen("sync", "--unless-running")
        assert second.communicate()[0].startswith("Nothing was sent.\n")
        printed = first.communicate(timeout=60)[0]
    assert printed == "Sent 5 images to the cloud, 3 ledger rows.\n"
    assert lab.there() == (5, 5, 3)


def _with(**more: object) -> Settings:
    return Settings.model_validate({"webhooks": [{"url": "http://127.0.0.1:9"}], **more})


@pytest.mark.parametrize(
    ("settings", "environ"),
    [
        pytest.param(Settings(), {}, id="no target"),
        pytest.param(_with(), {"IMAGEN_BACKGROUND_SYNC": "off"}, id="switched off"),
        pytest.param(_with(library={"enabled": False}), {}, id="no library"),
        pytest.param(_with(webhooks=[], output={"cloud_sync": "on"}), {}, id="it can't be"),
    ],
)
def test_no_sync_is_started_without_a_target(settings: Settings, environ: dict[str, str]) -> None:
    assert start_sync(settings, environ) is False


def test_a_failed_start_of_the_background_sync_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/gone/python")
    assert start_sync(_with(), {}) is False


def test_a_dry_run_starts_no_background_sync(lab: SyncFolder) -> None:
    lab.make()
    start_imagen(*_MAKE, "--dry-run", **_ON).communicate()
    assert not wait_until(lambda: bool(lab.cloud.requests), seconds=1.5)


@pytest.fixture
def watching(lab: SyncFolder) -> Iterator[Popen[str]]:
    """An `imagen sync --watch` that has sent one image."""
    lab.make()
    with running_imagen("sync", "--watch") as process:
        assert wait_until(lambda: lab.there() == (1, 1, 1))
        yield process


def test_sync_watch_sends_new_images(lab: SyncFolder, watching: Popen[str]) -> None:
    lab.make()
    assert wait_until(lambda: lab.there() == (2, 2, 2))
    assert watching.poll() is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_sync_watch_retries_missing_columns_and_warns_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Supabase(tables=[USAGE.without("images")]) as cloud:
        lab = SyncFolder(cloud, monkeypatch)
        lab.configure(output={"cloud_sync": "off"})
        with running_imagen("sync", "--watch") as process:
            lab.make()
            assert wait_until(lambda: len(cloud.requests) == 2)
            lab.make()
            assert wait_until(lambda: len(cloud.requests) == 4)
            assert wait_until(lambda: lab.left() == [])
            os.kill(process.pid, signal.SIGTERM)
            assert process.communicate(timeout=30)[1].count("has no column images") == 1
        assert len(cloud.rows("mai", "imagen_usage")) == 2


def test_sync_watch_waits_for_an_unavailable_library(lab: SyncFolder) -> None:
    Path("away").mkdir()
    lab.set(IMAGEN_LIBRARY="away")
    with running_imagen("sync", "--watch") as process:
        assert process.stdout is not None
        assert "away cannot be used: unable to open database file." in process.stdout.readline()
        Path("away").rmdir()
        lab.make()
        assert wait_until(lambda: lab.there() == (1, 1, 1))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sync_watch_ends_on_a_signal(watching: Popen[str], number: int) -> None:
    os.kill(watching.pid, number)
    said, told = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert said == "Sent 1 image to the cloud, 1 ledger row.\n"
    assert told == "imagen: Stopped. The next imagen sync sends what is waiting.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_ctrl_c_finishes_the_current_delivery(lab: SyncFolder) -> None:
    lab.make("--count", "20", "--latent-batch")
    lab.cloud.switches = SupabaseSwitches(slow=0.05)
    with running_imagen("sync") as process:
        assert wait_until(lambda: len(lab.cloud.objects) > 1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    objects, rows, _ = lab.there()
    assert objects == rows < 20
    assert run(["sync"]) == 0
    assert lab.there() == (20, 20, 1)


def test_generate_without_targets_loads_no_delivery_code() -> None:
    code = (
        "import os, sys\n"
        "os.environ['IMAGEN_BACKGROUND_SYNC'] = 'on'\n"
        "from imagen.cli import run\n"
        "run(['generate', 'x', '-b', 'mock', '-q', '--size', '32x32'])\n"
        "loaded = {'httpx', 'tenacity', 'imagen.delivery.worker'} & set(sys.modules)\n"
        "print(sorted(loaded))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_stale_sync_lock_is_ignored(lab: SyncFolder) -> None:
    lab.make()
    left = lock(load_settings().state_dir / "sync.lock")
    assert left is not None
    os.close(left.file)
    assert run(["sync", "--unless-running"]) == 0
    assert lab.there() == (1, 1, 1)
