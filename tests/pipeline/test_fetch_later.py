"""A finished image that can't be had now keeps its ticket, and `resume` fetches it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import COMMUNITY, Replicate, ReplicateSwitches

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.core.result import Progress, no_progress
from imagen.errors import BackendError, Cancelled, Rejected
from imagen.jobs import file_store
from imagen.jobs.recover import recover
from imagen.library import Query, search_images
from imagen.pipeline.generate import generate
from imagen.pipeline.record import open_library_synced
from imagen.testing.comfyui import ComfyUI, FailureSwitches, GatewayAnswer

if TYPE_CHECKING:
    from pathlib import Path

_ASKED = Request(prompt="a fox", seed=7, width=64, height=64, steps=2)


def _settings(place: Path, **block: Any) -> Settings:
    return Settings(
        default_backend="studio",
        backends={"studio": block},
        state_dir=place / "state",
        output=OutputSettings(directory=place / "out"),
        library=LibrarySettings(url=str(place / "library.db")),
    )


def _on(server: ComfyUI, place: Path) -> Settings:
    return _settings(place, type="comfyui", url=server.url, workflow="sd15", lost_seconds=0.2)


def _cancel_when_made(progress: Progress) -> None:
    if progress.stage == "fetching":
        raise Cancelled


def _files(settings: Settings) -> list[str]:
    return sorted(path.suffix for path in settings.output.directory.glob("*.*"))


def _in_library(settings: Settings) -> int:
    with open_library_synced(settings) as library:
        return len(search_images(library, Query()).images)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"status": 200, "body": "<html>", "content_type": "text/html"}, id="a page"),
        pytest.param({"status": 200, "body": "\x89PNG\r\n"}, id="not an image"),
        pytest.param({"status": 401}, id="401"),
        pytest.param({"status": 403}, id="403"),
        pytest.param({"status": 404, "body": ""}, id="404"),
        pytest.param({"status": 503}, id="503"),
    ],
)
def test_resume_fetches_an_image_that_did_not_arrive(said: dict[str, Any], tmp_path: Path) -> None:
    with ComfyUI(http_errors=(GatewayAnswer(path="/view", times=99, **said),)) as server:
        settings = _on(server, tmp_path)
        with pytest.raises(BackendError) as caught:
            generate(_ASKED, settings)
        (id,) = file_store.pending(settings.state_dir)
        assert f"imagen resume {id}" in caught.value.remedy
        assert (_files(settings), _in_library(settings)) == ([], 0)
        server.switches = FailureSwitches()
        assert recover(id, settings, no_progress).outcome == "fetched"
        assert len(server.prompts) == 1
    assert (_files(settings), _in_library(settings)) == ([".json", ".png"], 1)
    assert file_store.pending(settings.state_dir) == []


def test_resume_fetches_after_a_cancelled_fetch(tmp_path: Path) -> None:
    with ComfyUI() as server:
        settings = _on(server, tmp_path)
        with pytest.raises(Cancelled) as caught:
            generate(_ASKED, settings, on_progress=_cancel_when_made)
        (id,) = file_store.pending(settings.state_dir)
        assert caught.value.remedy == (
            "The images are finished, and the engine still has them.\n"
            f"Fetch it again with: imagen resume {id}"
        )
        assert recover(id, settings, no_progress).outcome == "fetched"
        assert (len(server.prompts), server.interrupts) == (1, [])
    assert (_files(settings), _in_library(settings)) == ([".json", ".png"], 1)


def test_cancelled_resume_keeps_a_finished_job(
    tmp_path: Path,
) -> None:
    with ComfyUI() as server:
        settings = _on(server, tmp_path)
        with pytest.raises(Cancelled):
            generate(_ASKED, settings, on_progress=_cancel_when_made)
        (id,) = file_store.pending(settings.state_dir)
        server.switches = FailureSwitches(slow=0.7)

        def cancel(_: Progress) -> None:
            server.switches = FailureSwitches()
            raise Cancelled

        with pytest.raises(Cancelled) as caught:
            recover(id, settings, cancel)
        assert "was finished before it could be cancelled" in caught.value.remedy
        assert recover(id, settings, no_progress).outcome == "fetched"
        assert len(server.prompts) == 1


@pytest.mark.usefixtures("replicate_token")
def test_resume_fetches_a_paid_image_after_a_cancelled_fetch(tmp_path: Path) -> None:
    with Replicate() as cloud:
        settings = _settings(tmp_path, type="replicate", model=COMMUNITY, base_url=cloud.url)
        with pytest.raises(Cancelled):
            generate(_ASKED, settings, on_progress=_cancel_when_made)
        (id,) = file_store.pending(settings.state_dir)
        assert recover(id, settings, no_progress).outcome == "fetched"
        assert (cloud.submissions, _in_library(settings)) == (1, 1)


@pytest.mark.usefixtures("replicate_token")
@pytest.mark.parametrize(
    "trouble", [ReplicateSwitches(gone=True), ReplicateSwitches(page=99)], ids=["404", "a page"]
)
def test_resume_fetches_a_paid_image_that_did_not_arrive(
    trouble: ReplicateSwitches, tmp_path: Path
) -> None:
    with Replicate() as cloud:
        cloud.switches = trouble
        settings = _settings(tmp_path, type="replicate", model=COMMUNITY, base_url=cloud.url)
        with pytest.raises(BackendError):
            generate(_ASKED, settings)
        (id,) = file_store.pending(settings.state_dir)
        cloud.switches = ReplicateSwitches()
        assert recover(id, settings, no_progress).outcome == "fetched"
        assert (cloud.submissions, _in_library(settings)) == (1, 1)


class _Killed(BaseException):
    """Ends a run as a kill does."""


def test_named_image_survives_its_process_and_the_servers_history(
    tmp_path: Path,
) -> None:
    """Both machines lost their power."""

    def kill(progress: Progress) -> None:
        if progress.ticket is not None and progress.ticket.engine.get("made"):
            raise _Killed

    with ComfyUI() as server:
        settings = _on(server, tmp_path)
        with pytest.raises(_Killed):
            generate(_ASKED, settings, on_progress=kill)
        server.restart(empty=True)
        (id,) = file_store.pending(settings.state_dir)
        assert recover(id, settings, no_progress).outcome == "fetched"
        assert len(server.prompts) == 1
    assert (_files(settings), _in_library(settings)) == ([".json", ".png"], 1)


def test_failed_job_update_does_not_end_the_job(tmp_path: Path) -> None:
    """It is there already; what more is known of the job is not worth the image."""
    settings: Settings

    def fill(progress: Progress) -> None:
        folder = settings.state_dir / "tickets"
        if progress.stage in ("loading", "running") and folder.is_dir():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
            folder.write_text("in the way")

    with ComfyUI(step_seconds=0.05) as server:
        settings = _on(server, tmp_path)
        (made,) = generate(_ASKED, settings, on_progress=fill)
        assert (len(made.saved), server.interrupts) == (1, [])


def test_refusal_is_reported_if_its_job_cannot_be_written(tmp_path: Path) -> None:
    """The ticket still counts as submitted: resume looks for the job, and finds none."""
    missing = ["v1-5-pruned-emaonly-fp16.safetensors"]
    with ComfyUI(missing_models=missing) as server:
        settings = _on(server, tmp_path)

        def fill(progress: Progress) -> None:
            folder = settings.state_dir / "tickets"
            if progress.ticket is not None and progress.ticket.submitted:
                folder.rename(tmp_path / "moved")
                folder.write_text("in the way")

        with pytest.raises(Rejected, match="ckpt_name"):
            generate(_ASKED, settings, on_progress=fill)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_fetch_names_the_resume_command(number: signal.Signals, tmp_path: Path) -> None:
    with ComfyUI(http_errors=(GatewayAnswer(path="/view", hangs=True, times=1),)) as server:
        block = {"type": "comfyui", "url": server.url, "workflow": "sd15"}
        whole = {"default_backend": "studio", "backends": {"studio": block}, "state_dir": "./state"}
        (tmp_path / "imagen.yaml").write_text(json.dumps(whole))
        line = [sys.executable, "-m", "imagen", "generate", "a fox", "--steps", "1"]
        command = subprocess.Popen(
            [*line, "--size", "64x64"],
            cwd=tmp_path,
            env=os.environ | {"IMAGEN_CONFIG": str(tmp_path / "imagen.yaml")},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + 60
        while not any(seen.path.startswith("/view") for seen in server.requests):
            assert time.monotonic() < end
            time.sleep(0.02)
        command.send_signal(number)
        _, said = command.communicate(timeout=60)
        (id,) = file_store.pending(tmp_path / "state")
    assert command.returncode == 130
    assert f"Fetch it again with: imagen resume {id}" in said


def test_resume_does_not_submit_a_cancelled_job(tmp_path: Path) -> None:
    """Its submission is not answered, and the server can't be asked whether it has the job."""
    begun = time.monotonic()

    def cancel(progress: Progress) -> None:
        if progress.ticket is None and time.monotonic() - begun > 1:
            raise Cancelled

    unanswered = GatewayAnswer(path="/prompt", method="POST", hangs=True)
    unwell = GatewayAnswer(path="/queue", times=99)
    with ComfyUI(http_errors=(unanswered, unwell)) as server:
        settings = _on(server, tmp_path)
        with pytest.raises(Cancelled):
            generate(_ASKED, settings, on_progress=cancel)
        (id,) = file_store.pending(settings.state_dir)
        server.switches = FailureSwitches()
        done = recover(id, settings, no_progress)
        assert (done.outcome, done.is_forgotten, len(server.prompts)) == ("failed", True, 0)
        assert recover(id, settings, no_progress, resubmit=True).outcome == "resubmitted"
