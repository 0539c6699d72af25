"""What the library records of a generation, whatever the outcome."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen.config import LibrarySettings, OutputSettings, Settings, UsageSettings
from imagen.core.filesystem import is_held, lock, lock_file
from imagen.core.request import Request, Upscale
from imagen.core.result import Facts, Result
from imagen.core.ticket import Ticket, new_id
from imagen.errors import Failed, OutputError
from imagen.jobs import file_store
from imagen.jobs.model import Job
from imagen.library import Library, Query, StoredImage, search_images
from imagen.library.ledger import list_rows
from imagen.library.schema import generations, thumbnails
from imagen.library.search import search_failures
from imagen.pipeline.generate import generate, upscale_locally
from imagen.pipeline.record import build_failure, build_record, find_caller, open_library_synced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.core.result import Progress

_ASKED = Request(prompt="a fox", seed=7, width=32, height=32)


@pytest.fixture
def settings(tmp_path: Path, library_url: str) -> Settings:
    return Settings(
        backends={"failing": {"type": "mock", "fail": "failed"}},
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=tmp_path / "out"),
        library=LibrarySettings(url=library_url),
    )


@pytest.fixture
def library(settings: Settings) -> Iterator[Library]:
    with open_library_synced(settings) as library:
        yield library


def test_recorded_image_has_all_details(settings: Settings, library: Library) -> None:
    (made,) = generate(_ASKED, settings)
    (image,) = search_images(library, Query()).images
    (saved,) = made.saved
    assert (image.path, image.sidecar, image.sha256) == (
        saved.path,
        saved.sidecar,
        saved.sha256,
    )
    assert image.size_bytes == saved.path.stat().st_size
    assert (image.prompt, image.backend, image.seed) == ("a fox", "mock", 7)
    assert (image.width, image.height, image.generation) == (32, 32, made.ticket.id)


def test_recorded_image_has_a_thumbnail(settings: Settings, library: Library) -> None:
    generate(_ASKED, settings)
    with library.reading() as connection:
        (small,) = connection.execute(thumbnails.select()).all()
    assert small.webp[:4] == b"RIFF"


def test_failure_is_recorded_without_cost(settings: Settings, library: Library) -> None:
    with pytest.raises(Failed):
        generate(_ASKED, settings, backend="failing")
    with library.reading() as connection:
        (kept,) = connection.execute(generations.select()).all()
    assert (kept.state, kept.backend, kept.error["code"]) == ("failed", "failing", "failed")
    assert search_images(library, Query()).images == ()
    assert list(list_rows(library)) == []


def test_rescued_image_is_recorded_with_its_path(
    settings: Settings, library: Library, tmp_path: Path
) -> None:
    def put_something_in_the_way(_: Progress) -> None:
        (tmp_path / "out").write_text("a file in the way")

    with pytest.raises(OutputError):
        generate(_ASKED, settings, on_progress=put_something_in_the_way)
    (image,) = search_images(library, Query()).images
    assert image.path.parent == settings.state_dir / "rescued"
    assert len(list(list_rows(library))) == 1


def test_lost_image_is_not_recorded(
    settings: Settings, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    def put_something_in_the_way(_: Progress) -> None:
        (tmp_path / "out").write_text("a file in the way")
        (settings.state_dir / "rescued").write_text("another")

    with pytest.raises(OutputError, match="It is lost"):
        generate(_ASKED, settings, on_progress=put_something_in_the_way)
    with library.reading() as connection:
        assert connection.execute(generations.select()).all() == []
    assert list(list_rows(library)) == []


@pytest.fixture
def without_library(settings: Settings, tmp_path: Path) -> Settings:
    """The same with a library that can't be used: its file is a folder."""
    return settings.model_copy(update={"library": LibrarySettings(url=str(tmp_path))})


def test_failure_is_recorded_once_the_library_works(
    settings: Settings, without_library: Settings
) -> None:
    with pytest.raises(Failed):
        generate(_ASKED, without_library, backend="failing")
    (id,) = file_store.pending(settings.state_dir)
    assert file_store.read(id, settings.state_dir).state == "failed"
    with open_library_synced(settings) as library, library.reading() as connection:
        (kept,) = connection.execute(generations.select()).all()
    assert (kept.id, kept.state, file_store.pending(settings.state_dir)) == (id, "failed", [])


def test_rescued_image_is_recorded_once_the_library_works(
    settings: Settings, without_library: Settings, tmp_path: Path
) -> None:
    def put_something_in_the_way(_: Progress) -> None:
        (tmp_path / "out").write_text("a file in the way")

    with pytest.raises(OutputError):
        generate(_ASKED, without_library, on_progress=put_something_in_the_way)
    with open_library_synced(settings) as library:
        (image,) = search_images(library, Query()).images
    assert image.path.parent == settings.state_dir / "rescued"


def test_job_stays_if_nothing_can_be_written(without_library: Settings, tmp_path: Path) -> None:
    folder = without_library.state_dir / "tickets"

    def fill_the_disk(progress: Progress) -> None:
        if progress.stage == "done":
            (tmp_path / "out").write_text("a file in the way")
            (id,) = file_store.pending(without_library.state_dir)
            (folder / f"{id}.new").mkdir()

    with pytest.raises(OutputError, match="It is in"):
        generate(_ASKED, without_library, on_progress=fill_the_disk)
    assert len(file_store.pending(without_library.state_dir)) == 1


def test_image_is_recorded_if_its_job_cannot_be_written(
    settings: Settings, library: Library
) -> None:
    def fill_the_disk(progress: Progress) -> None:
        if progress.stage == "done":
            (id,) = file_store.pending(settings.state_dir)
            (settings.state_dir / "tickets" / f"{id}.new").mkdir()

    (made,) = generate(_ASKED, settings, on_progress=fill_the_disk)
    (image,) = search_images(library, Query()).images
    assert (image.path, made.remark) == (made.saved[0].path, "")
    assert file_store.pending(settings.state_dir) == []


def test_upscaled_image_is_recorded(settings: Settings, library: Library) -> None:
    (made,) = generate(_ASKED, settings)
    asked = Request(image=str(made.saved[0].path), upscale=Upscale(factor=2, method="lanczos"))
    upscale_locally(asked, settings)
    newest, _ = search_images(library, Query()).images
    assert (newest.backend, newest.width) == ("interpolation", 64)


def test_nothing_is_recorded_without_a_library(tmp_path: Path) -> None:
    off = Settings(
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=tmp_path / "out"),
        library=LibrarySettings(enabled=False, url=str(tmp_path / "library.db")),
    )
    (made,) = generate(_ASKED, off)
    assert (made.remark, (tmp_path / "library.db").exists()) == ("", False)
    assert list((tmp_path / "state" / "tickets").iterdir()) == []


def test_ledger_has_time_caller_and_electricity(
    settings: Settings, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_CALLER", "a script")
    costs = UsageSettings(currency="EUR", watts={"mock": 360_000}, price_per_kwh=0.5)
    (made,) = generate(_ASKED, settings.model_copy(update={"usage": costs}))
    (use,) = list_rows(library)
    seconds = made.result.facts.executing_seconds or made.result.facts.latency_seconds
    assert seconds is not None
    assert use.actual_cost == pytest.approx(seconds * 360_000 / 3_600_000 * 0.5)
    assert (use.caller, use.currency, use.engine_seconds) == ("a script", "EUR", seconds)
    assert (use.is_paid, use.estimated_cost, use.seed, use.images) == (False, None, 7, 1)


_TMUX = """#!/bin/sh
test "$*" = 'display-message -p -t %7 #{@caller}' && echo the pane
"""


def _tmux(folder: Path, program: str) -> dict[str, str]:
    """An environment within a tmux of this program."""
    (folder / "tmux").write_text(program)
    (folder / "tmux").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {"TMUX": "/tmp/tmux-0/default,1,0", "TMUX_PANE": "%7", "PATH": path}


def test_first_caller_variable_wins() -> None:
    usage = UsageSettings(caller_env=("IMAGEN_CALLER", "TEAM_ID"))
    assert find_caller(usage, {"IMAGEN_CALLER": "me", "TEAM_ID": "7"}) == "me"
    assert find_caller(usage, {"IMAGEN_CALLER": "", "TEAM_ID": "7\x1b[2J"}) == "7[2J"
    assert find_caller(usage, {}) == ""


def test_caller_variables_are_configurable() -> None:
    usage = UsageSettings(caller_env=("TEAM_MEMBER",))
    environ = {"IMAGEN_CALLER": "me", "TEAM_MEMBER": "nora"}
    assert find_caller(usage, environ) == "nora"
    assert find_caller(UsageSettings(caller_env=()), environ) == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no tmux")
@pytest.mark.parametrize(
    ("program", "name"),
    [(_TMUX, "the pane"), ("#!/bin/sh\necho no such pane\nexit 1\n", ""), ("no program", "")],
    ids=["named", "an error", "no tmux"],
)
def test_tmux_pane_may_name_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, name: str
) -> None:
    environ = _tmux(tmp_path, program)
    monkeypatch.setenv("PATH", environ["PATH"])
    assert find_caller(UsageSettings(caller_tmux_option="@caller"), environ) == name


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no tmux")
@pytest.mark.parametrize(("option", "name"), [("@team-name", "#{@team-name}"), ("", "")])
def test_tmux_option_is_configurable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    environ = _tmux(tmp_path, "#!/bin/sh\nshift 4\necho $1\n")
    monkeypatch.setenv("PATH", environ["PATH"])
    assert find_caller(UsageSettings(caller_tmux_option=option), environ) == name


def test_lock_has_one_holder(tmp_path: Path) -> None:
    first = lock(tmp_path / "new" / "a.lock")
    assert first is not None
    assert lock(first.path) is None
    assert is_held(first.path)
    first.release()
    assert not first.path.exists()
    second = lock(first.path)
    assert second is not None
    second.release()


def test_lock_is_never_held_twice(tmp_path: Path) -> None:
    holders: list[int] = []
    most: list[int] = []

    def take_turns(number: int) -> None:
        for _ in range(500):
            if (mine := lock(tmp_path / "a.lock")) is not None:
                holders.append(number)
                most.append(len(holders))
                time.sleep(0)
                holders.remove(number)
                mine.release()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(take_turns, range(6)))
    assert max(most) == 1


def test_unlockable_file_is_not_reported_as_held() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        lock_file(1_000_000)


def test_lock_of_another_process_is_respected(tmp_path: Path) -> None:
    mine = lock(tmp_path / "a.lock")
    assert mine is not None
    program = (
        "import sys; from pathlib import Path; from imagen.core.filesystem import is_held; "
        "print(is_held(Path(sys.argv[1])))"
    )
    asked = [sys.executable, "-c", program, str(mine.path)]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "True\n"
    mine.release()
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "False\n"


def test_unreadable_job_does_not_stop_recording_others(settings: Settings) -> None:
    ticket = Ticket(id=new_id(), backend="mock", request=_ASKED, receipt={})
    job = Job(ticket=ticket, request=_ASKED)
    file_store.write(job.with_record(build_failure(job, Failed("no"))), settings.state_dir)
    folder = settings.state_dir / "tickets"
    (folder / "0.json").write_text("{")
    (folder / "z.json").mkdir()
    with open_library_synced(settings) as library:
        assert [one.id for one in search_failures(library, Query()).failures] == [job.id[:8]]
    assert file_store.pending(settings.state_dir) == ["0", "z"]


class _Interrupting(dict[str, str]):
    """An environment in which Ctrl-C comes as soon as it is asked for the cloud."""

    def get(self, name: str, default: object = None) -> Any:
        if name.startswith("SUPABASE"):
            raise KeyboardInterrupt
        return default


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files can't be listed")
def test_library_is_closed_if_recording_is_interrupted(tmp_path: Path) -> None:
    settings = Settings(
        state_dir=tmp_path / "state",
        library=LibrarySettings(url=str(tmp_path / "library.db")),
        owner_user_id="3b241101-e2bb-4255-8caf-4136c566a962",
    )
    ticket = Ticket(id=new_id(), backend="mock", request=_ASKED, receipt={})
    job = Job(ticket=ticket, request=_ASKED)
    result = Result(outputs=(), facts=Facts())
    image = StoredImage(path=tmp_path / "fox.png", index=0, sha256="0" * 64, size_bytes=1)
    file_store.write(job.with_record(build_record(job, result, [image])), settings.state_dir)
    with pytest.raises(KeyboardInterrupt):
        open_library_synced(settings, _Interrupting())
    opened = [os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    assert [file for file in opened if file.startswith(f"{tmp_path}/library.db")] == []


def test_sidecar_is_recorded_by_absolute_path(settings: Settings, library: Library) -> None:
    here = settings.model_copy(update={"output": OutputSettings(directory=Path("out"))})
    (made,) = generate(_ASKED, here)
    (image,) = search_images(library, Query()).images
    assert not made.saved[0].path.is_absolute()
    assert image.path == made.saved[0].path.absolute()
    assert image.sidecar == image.path.with_name(f"{image.path.name}.json")


def test_waiting_job_has_absolute_paths(settings: Settings) -> None:
    """Another process may take it in, in another folder."""
    here = settings.model_copy(update={"output": OutputSettings(directory=Path("out"))})
    broken = here.model_copy(update={"library": LibrarySettings(url=str(Path("no/such/x.db")))})
    Path("no").write_text("not a folder")
    (made,) = generate(_ASKED, broken)
    (kept,) = file_store.read(made.ticket.id, settings.state_dir).record.images  # type: ignore[union-attr]
    assert kept.path == made.saved[0].path.absolute()
    assert kept.sidecar == kept.path.with_name(f"{kept.path.name}.json")
