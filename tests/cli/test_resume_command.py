"""imagen resume: jobs of a killed process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from imagen.cli import run
from imagen.core.ticket import Estimate, new_id
from imagen.jobs import file_store
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_TICKETS = Path("state/tickets")
_DYING = """
import os
from imagen.config import load_settings
from imagen.core.request import Request
from imagen.pipeline.generate import generate

def die(progress):
    progress.stage in ("running", "fetching") and os._exit(9)

generate(Request(prompt="a fox", seed=7, width=64, height=64), load_settings(), on_progress=die)
"""


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    """A simulated ComfyUI, and a configuration that uses it."""
    with ComfyUI() as server:
        Path("imagen.yaml").write_text(
            "default_backend: studio\nstate_dir: state\noutput: {directory: out}\nbackends:\n"
            f"  studio: {{type: comfyui, url: '{server.url}', workflow: flux1-schnell}}\n"
        )
        yield server


@pytest.fixture
def left(server: ComfyUI) -> str:  # noqa: ARG001
    """The ID of a job whose process was killed after submission."""
    ran = subprocess.run([sys.executable, "-c", _DYING], check=False)
    assert ran.returncode == 9
    (path,) = _TICKETS.glob("*.json")
    return path.stem


def test_resume_list_shows_interrupted_jobs(left: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["resume", "--list"]) == 0
    assert capsys.readouterr().out == f"{left}  submitted  studio  a fox\n"
    assert run(["resume", "--list", "--json"]) == 0
    (output,) = json.loads(capsys.readouterr().out)["jobs"]
    began = output.pop("began")
    assert datetime.fromisoformat(began).tzinfo is not None
    assert output == {"id": left, "backend": "studio", "prompt": "a fox", "state": "submitted"}


def test_resume_fetches_the_image_without_generating_it_again(
    server: ComfyUI, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["resume", left, "--json", "--quiet"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [(i["seed"], Path(i["path"]).is_file()) for i in printed["images"]] == [(7, True)]
    assert len(server.prompts) == 1
    assert list(_TICKETS.iterdir()) == []


def test_resume_saves_to_another_folder(left: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["resume", left, "--quiet", "--output", "rescued/fox.png"]) == 0
    path = Path("rescued/fox.png")
    assert (capsys.readouterr().out, path.is_file()) == (f"{path}\n", True)


def test_resume_reports_a_job_that_never_reached_its_engine(
    left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = file_store.read(left, _TICKETS.parent)
    lost = job.with_ticket(job.ticket.model_copy(update={"engine": {}})).with_id(new_id())
    file_store.write(lost, _TICKETS.parent)
    assert run(["resume", lost.id, "--quiet"]) == 0
    output = capsys.readouterr().err
    assert (
        output
        == f"{lost.id[:8]}, studio: generated again, since it had never reached its engine.\n"
    )


def test_resume_resubmit_reports_a_resubmitted_job(
    server: ComfyUI, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.restart(empty=True)
    assert run(["resume", left, "--resubmit", "--quiet"]) == 0
    output = capsys.readouterr().err
    assert output == f"{left[:8]}, studio: submitted again, since its engine no longer knew it.\n"


def test_resume_resubmit_respects_over_budget(
    server: ComfyUI, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = file_store.read(left, _TICKETS.parent)
    paid = job.ticket.model_copy(update={"estimate": Estimate(usd=1.0, basis="by the list")})
    file_store.write(job.with_ticket(paid), _TICKETS.parent)
    config = Path("imagen.yaml")
    config.write_text(config.read_text() + "\nbudgets: [{amount: 0.5, per: run}]\n")
    server.restart(empty=True)
    assert run(["resume", left, "--resubmit", "--quiet"]) == 2
    assert "This would exceed the budget of $0.50 for one run" in capsys.readouterr().err
    assert run(["resume", left, "--resubmit", "--over-budget", "--quiet"]) == 0


def test_resume_names_the_command_for_a_lost_job_in_a_pipe(
    server: ComfyUI, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.restart(empty=True)
    assert run(["resume", "--quiet"]) == 4
    output = capsys.readouterr().err
    assert f"It may have run. Submit it again with: imagen resume --resubmit {left}\n" in output
    assert len(server.prompts) == 1


def test_resume_yes_resubmits_a_lost_job_once(
    server: ComfyUI, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.restart(empty=True)
    assert run(["resume", "--yes", "--quiet"]) == 0
    output = capsys.readouterr()
    assert Path(output.out.strip()).is_file()
    assert output.err.startswith(f"{left[:8]}, studio: submitted again, since")
    assert run(["resume", "--yes", "--quiet"]) == 0
    assert (len(server.prompts), list(_TICKETS.glob("*.json"))) == (2, [])


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "code", "prompts"), [("y\n", 0, 2), ("n\n", 4, 1), ("", 130, 1)]
)
@pytest.mark.parametrize("which", ["one", "all"])
def test_resume_asks_on_a_terminal_whether_to_resubmit(
    server: ComfyUI,
    left: str,
    answer: str,
    code: int,
    prompts: int,
    which: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.restart(empty=True)
    monkeypatch.setattr("sys.stdin", _Terminal(answer))
    assert run(["resume", *{"one": [left], "all": []}[which], "--quiet"]) == code
    question = f"studio no longer knows job {left[:8]}, which may have run. Prompt: 'a fox'."
    assert f"{question} Submit it again? [y/N]: " in capsys.readouterr().err
    assert len(server.prompts) == prompts


def test_resume_never_resubmits_paid_jobs_without_asking(
    server: ComfyUI,
    left: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = file_store.read(left, _TICKETS.parent)
    paid = job.ticket.model_copy(update={"estimate": Estimate(usd=1.0, basis="by the list")})
    file_store.write(job.with_ticket(paid), _TICKETS.parent)
    server.restart(empty=True)
    monkeypatch.setattr("sys.stdin", _Terminal("y\n"))
    assert run(["resume", "--yes", "--quiet"]) == 4
    assert "so it is not submitted again automatically" in capsys.readouterr().err
    assert len(server.prompts) == 1


def test_resume_suggests_the_nearest_job_id(left: str, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = left[:-1] + "x"
    assert run(["resume", unknown]) == 2
    output = capsys.readouterr().err
    assert f"Job {unknown!r} not found. Did you mean {left!r}?" in output
    assert "List the jobs with: imagen resume --list" in output


@pytest.mark.parametrize("flag", ["--quiet", "--forget"])
def test_resume_last_is_the_newest_job(left: str, flag: str) -> None:
    older = json.loads((_TICKETS / f"{left}.json").read_text())
    (_TICKETS / "older.json").write_text(json.dumps(older | {"began": "2020-01-01T00:00:00Z"}))
    (_TICKETS / "unreadable.json").write_text("{")
    assert run(["resume", "last", flag]) == 0
    assert {path.stem for path in _TICKETS.iterdir()} == {"older", "unreadable"}


@pytest.mark.usefixtures("left")
def test_resume_last_beyond_the_first_job_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["resume", "last~1"]) == 2
    assert "Job 'last~1' not found." in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--quiet", "--forget"])
def test_resume_accepts_the_beginning_of_an_id(left: str, flag: str) -> None:
    assert run(["resume", left[:8], flag]) == 0
    assert list(_TICKETS.iterdir()) == []


def test_resume_refuses_an_ambiguous_id(left: str, capsys: pytest.CaptureFixture[str]) -> None:
    (_TICKETS / f"{left[:8]}-other.json").write_text("{")
    assert run(["resume", left[:8]]) == 2
    output = capsys.readouterr().err
    assert f"{left[:8]!r} matches several jobs: " in output
    assert left in output
    assert f"{left[:8]}-other" in output


def test_resume_list_includes_unreadable_jobs(
    left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (_TICKETS / "0.json").write_text("{")
    assert run(["resume", "--list"]) == 0
    other, unread = capsys.readouterr().out.splitlines()
    assert unread.startswith("0  The job ")
    assert unread.endswith("0.json cannot be read; it may be from another version of imagen.")
    assert other == f"{left}  submitted  studio  a fox"


def test_resume_list_json_has_the_error_of_an_unreadable_job(
    left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (_TICKETS / "0.json").write_text("{")
    assert run(["resume", "--list", "--json"]) == 0
    other, unread = json.loads(capsys.readouterr().out)["jobs"]
    assert (set(unread), unread["id"]) == ({"id", "error"}, "0")
    assert "cannot be read" in unread["error"]
    assert other["id"] == left


def test_resume_says_that_there_are_no_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["resume"]) == 0
    assert capsys.readouterr() == ("", "There are no interrupted jobs.\n")


def test_resume_prints_images_fetched_before_ctrl_c(
    server: ComfyUI, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = file_store.read(left, _TICKETS.parent)
    unsent = job.ticket.model_copy(update={"submitted": False, "engine": {}})
    file_store.write(job.start().with_ticket(unsent).with_id(new_id()), _TICKETS.parent)
    server.submit_foreign(seconds=60)
    cancel = Thread(target=_interrupt_once_there_are, args=(server, 2))
    cancel.start()
    assert run(["resume", "--quiet"]) == 130
    cancel.join()
    printed = capsys.readouterr()
    assert Path(printed.out.rstrip()).is_file()
    assert f"{left[:8]}, studio: fetched from its engine." in printed.err


def _interrupt_once_there_are(server: ComfyUI, prompts: int) -> None:
    """Interrupt the process as Ctrl-C does."""
    while len(server.prompts) < prompts:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
