"""Tickets on disk: there from before the submission until the images are safe."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from imagen.core.request import Request
from imagen.core.ticket import Ticket, new_id
from imagen.errors import (
    Failed,
    ImagenError,
    Lost,
    OutputError,
    Rejected,
    RequestError,
    Unauthorized,
    Unavailable,
)
from imagen.jobs import file_store
from imagen.jobs.model import Job
from imagen.jobs.store import FileJobStore
from imagen.library.records import GenerationRecord

if TYPE_CHECKING:
    from pathlib import Path

_ASKED = Request(prompt="a fox")
_TICKET = Ticket(
    id="5b6c8e5e-0000-4000-8000-000000000001",
    backend="studio",
    request=Request(prompt="a fox", seed=2**64 - 1),
    receipt={},
    payload={"1": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1}}},
)


_JOB = Job(ticket=_TICKET, request=_ASKED, output={"name": "{slug}"}, kind="comfyui", caller="me")
_SENT = _JOB.with_ticket(_TICKET.sent(prompt_id="p"))
_WHEN = datetime(2026, 11, 27, 12, tzinfo=UTC)
_ENTRY = GenerationRecord(
    id=_TICKET.id,
    backend="studio",
    ticket=_TICKET,
    request=_ASKED,
    created_at=_WHEN,
    ended_at=_WHEN,
)


def _run(state: Path, error: BaseException | None, *, sent: bool) -> None:
    with file_store.plan_jobs([_JOB], state), FileJobStore(state).keep(_JOB) as stored:
        if sent:
            stored.write(_SENT)
        if error is not None:
            raise error


def test_job_is_on_disk_during_the_work(tmp_path: Path) -> None:
    with FileJobStore(tmp_path).keep(_JOB):
        assert file_store.read(_TICKET.id, tmp_path) == _JOB


def test_job_is_synced_before_it_is_renamed(tmp_path: Path) -> None:
    done: list[str] = []

    def note(_: object, event: str, what: Any) -> None:
        if event == "c_call" and what in (os.fsync, os.replace):
            done.append(what.__name__)

    sys.setprofile(note)
    file_store.write(_JOB, tmp_path)
    sys.setprofile(None)
    name = [] if sys.platform == "win32" else ["fsync"]
    assert done == ["fsync", "replace", *name]


@pytest.mark.skipif(sys.platform == "win32", reason="there no folder can be opened as a file")
def test_folder_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    to_disk = os.fsync

    def note(file: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(file).st_mode))
        if synced[-1]:
            raise OSError(errno.EINVAL, "a folder can't be synced here")
        to_disk(file)

    monkeypatch.setattr(os, "fsync", note)
    file_store.write(_JOB, tmp_path)
    assert synced == [False, True]
    assert file_store.read(_JOB.id, tmp_path) == _JOB


def test_job_stays_until_it_is_recorded(tmp_path: Path) -> None:
    with FileJobStore(tmp_path).keep(_JOB) as stored:
        stored.write(_SENT.with_record(_ENTRY))
    assert file_store.read(_TICKET.id, tmp_path).state == "saved"
    file_store.forget(_TICKET.id, tmp_path)
    assert file_store.pending(tmp_path) == []


def test_saved_job_stays_after_a_later_error(
    tmp_path: Path,
) -> None:
    def fail() -> None:
        with FileJobStore(tmp_path).keep(_JOB) as stored:
            stored.write(_SENT.with_record(_ENTRY))
            raise Failed("too late")

    with pytest.raises(Failed):
        fail()
    assert file_store.read(_TICKET.id, tmp_path).record == _ENTRY


def test_submitted_job_is_rewritten(tmp_path: Path) -> None:
    with FileJobStore(tmp_path).keep(_JOB) as stored:
        stored.write(_SENT)
        kept = file_store.read(_TICKET.id, tmp_path).ticket
    assert (kept.submitted, kept.engine) == (True, {"prompt_id": "p"})


def test_plan_writes_all_jobs_first(tmp_path: Path) -> None:
    second = _JOB.with_id("5b6c8e5e-0000-4000-8000-000000000002")
    with file_store.plan_jobs([_JOB, second], tmp_path):
        assert file_store.pending(tmp_path) == [_JOB.id, second.id]
        assert [file_store.read(id, tmp_path).state for id in (_JOB.id, second.id)] == [
            "planned"
        ] * 2


def test_failed_plan_forgets_unsubmitted_jobs(tmp_path: Path) -> None:
    second = _JOB.with_id("5b6c8e5e-0000-4000-8000-000000000002")

    def fail() -> None:
        with file_store.plan_jobs([_JOB, second], tmp_path):
            file_store.write(_SENT, tmp_path)
            raise Unavailable("gone")

    with pytest.raises(Unavailable):
        fail()
    assert file_store.pending(tmp_path) == [_JOB.id]


def test_unwritable_plan_leaves_no_job(tmp_path: Path) -> None:
    second = _JOB.with_id("5b6c8e5e-0000-4000-8000-000000000002")
    (tmp_path / "tickets" / f"{second.id}.new").mkdir(parents=True)
    with pytest.raises(OutputError), file_store.plan_jobs([_JOB, second], tmp_path):
        pass
    assert file_store.pending(tmp_path) == []


def test_failed_plan_keeps_finished_jobs(tmp_path: Path) -> None:
    def fail() -> None:
        with file_store.plan_jobs([_JOB], tmp_path):
            file_store.write(_JOB.with_record(_ENTRY), tmp_path)
            raise Unavailable("gone")

    with pytest.raises(Unavailable):
        fail()
    assert file_store.read(_JOB.id, tmp_path).record == _ENTRY


def test_held_job_cannot_be_claimed(tmp_path: Path) -> None:
    with file_store.plan_jobs([_JOB], tmp_path):
        assert file_store.is_worked_on(_JOB.id, tmp_path)
        with file_store.claim(_JOB.id, tmp_path) as job:
            assert job is None
    assert not file_store.is_worked_on(_JOB.id, tmp_path)
    with file_store.claim(_JOB.id, tmp_path) as job:
        assert job == _JOB


def test_held_job_cannot_be_planned_again(tmp_path: Path) -> None:
    file_store.write(_SENT, tmp_path)
    with (
        file_store.try_lock(_JOB.id, tmp_path),
        pytest.raises(RequestError, match=f"Another process is working on {_JOB.id}"),
        file_store.plan_jobs([_JOB], tmp_path),
    ):
        pass
    assert file_store.read(_JOB.id, tmp_path) == _SENT


def test_job_of_a_killed_process_can_be_claimed(tmp_path: Path) -> None:
    file_store.write(_SENT, tmp_path)
    program = (
        "import sys, os; from pathlib import Path; from imagen.jobs import file_store as tickets; "
        "mine = tickets.try_lock(sys.argv[1], Path(sys.argv[2])); mine.__enter__(); os._exit(9)"
    )
    ran = subprocess.run([sys.executable, "-c", program, _JOB.id, str(tmp_path)], check=False)
    assert ran.returncode == 9
    assert (tmp_path / "tickets" / f"{_JOB.id}.lock").exists()
    with file_store.claim(_JOB.id, tmp_path) as job:
        assert job == _SENT


def test_list_ids_sorts_by_start_with_unreadable_jobs_last(tmp_path: Path) -> None:
    for id, hour in (("b", 2), ("c", 1), ("d", 3)):
        began = _WHEN.replace(hour=hour)
        file_store.write(_JOB.with_id(id).model_copy(update={"began": began}), tmp_path)
    (tmp_path / "tickets" / "a.json").write_text("{")
    assert file_store.list_ids(tmp_path) == ["c", "b", "d", "a"]


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("gone"),
        Unauthorized("expired"),
        Lost("out of reach", is_certain=False),
        Lost("never arrived", never_ran=True),
        OutputError("full", lost=True),
    ],
    ids=["gone", "expired", "out of reach", "never arrived", "full"],
)
def test_job_with_possible_images_stays_and_names_resume(
    tmp_path: Path, error: ImagenError
) -> None:
    with pytest.raises(ImagenError) as caught:
        _run(tmp_path, error, sent=True)
    assert file_store.pending(tmp_path) == [_TICKET.id]
    assert caught.value.remedy == f"Fetch it again with: imagen resume {_TICKET.id}"


def test_job_stays_when_the_process_is_killed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, KeyboardInterrupt(), sent=True)
    assert file_store.pending(tmp_path) == [_TICKET.id]


@pytest.mark.parametrize(
    "error",
    [Failed("no"), Lost("no"), OutputError("rescued")],
    ids=["failed", "lost", "safe elsewhere"],
)
def test_job_without_images_is_deleted(tmp_path: Path, error: ImagenError) -> None:
    with pytest.raises(ImagenError):
        _run(tmp_path, error, sent=True)
    assert file_store.pending(tmp_path) == []


def test_unsubmitted_job_is_deleted(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        _run(tmp_path, Unavailable("gone", remedy="Start it."), sent=False)
    assert (file_store.pending(tmp_path), caught.value.remedy) == ([], "Start it.")


@pytest.mark.parametrize(
    ("error", "left"),
    [(Rejected("no such model"), []), (Unavailable("gone"), [_TICKET.id])],
    ids=["refused", "gone"],
)
def test_resumed_job_stays_unless_it_was_refused(
    tmp_path: Path, error: ImagenError, left: list[str]
) -> None:
    def fail() -> None:
        with FileJobStore(tmp_path).keep(_JOB, is_resumed=True):
            raise error

    with pytest.raises(type(error)):
        fail()
    assert file_store.pending(tmp_path) == left


def test_unknown_job_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"Job '\.\./x' not found"):
        file_store.read("../x", tmp_path)


def test_unlockable_state_directory_is_reported_first(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(OutputError) as caught:
        _run(tmp_path / "state", None, sent=True)
    assert caught.value.message.startswith(
        f"Jobs cannot be locked in {tmp_path / 'state' / 'tickets'}: "
    )
    assert caught.value.remedy == (
        "Make the folder writable, or set IMAGEN_STATE, or state_dir in imagen.yaml."
    )


def test_unlockable_job_has_a_neutral_remedy(
    tmp_path: Path,
) -> None:
    file_store.write(_SENT, tmp_path)
    (tmp_path / "tickets" / f"{_JOB.id}.lock").mkdir()
    with pytest.raises(OutputError) as caught, file_store.claim(_JOB.id, tmp_path):
        pass
    assert "The engine has no job" not in caught.value.remedy


def test_unwritable_job_is_reported(tmp_path: Path) -> None:
    (tmp_path / "tickets" / f"{_JOB.id}.new").mkdir(parents=True)
    with pytest.raises(OutputError) as caught, FileJobStore(tmp_path).keep(_JOB):
        pass
    assert caught.value.message.startswith("The job cannot be written to ")
    assert caught.value.remedy == (
        "The engine has no job for it. Set IMAGEN_STATE, or state_dir in imagen.yaml."
    )


def test_damaged_job_is_reported(tmp_path: Path) -> None:
    (tmp_path / "tickets").mkdir()
    (tmp_path / "tickets" / "a.json").write_text("{")
    with pytest.raises(
        OutputError, match="cannot be read; it may be from another version of imagen"
    ):
        file_store.read("a", tmp_path)


def test_exact_id_wins_over_a_longer_one(tmp_path: Path) -> None:
    for id in ("ab", "abc", "abd"):
        file_store.write(_JOB.with_id(id), tmp_path)
    assert [file_store.resolve_id(word, tmp_path) for word in ("ab", "abc")] == ["ab", "abc"]
    with pytest.raises(RequestError, match="'a' matches several jobs: ab, abc, abd"):
        file_store.resolve_id("a", tmp_path)


def test_new_jobs_wait_for_the_removal_of_leftovers(tmp_path: Path) -> None:
    """Each run looks whether the locks of others are leftovers, and holds them for that."""

    def plan(_: int) -> str:
        job = _JOB.with_id(new_id())
        with file_store.plan_jobs([job], tmp_path):
            file_store.forget(job.id, tmp_path)
        return job.id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(plan, range(2000)))) == 2000


_KILLED_WHILE_PLANNING = """
import os, sys
from pathlib import Path
from imagen.jobs import file_store as tickets
from imagen.jobs.model import Job
from imagen.jobs.store import FileJobStore

jobs = [Job.model_validate_json(text) for text in sys.argv[2:]]
write = tickets.write
written = []

def die_at_the_second(job, state_dir):
    if written:
        os._exit(9)
    written.append(job)
    write(job, state_dir)

tickets.write = die_at_the_second
with tickets.plan_jobs(jobs, Path(sys.argv[1])):
    pass
"""


def test_half_written_plan_is_dropped(tmp_path: Path) -> None:
    jobs = [_JOB.model_dump_json(), _JOB.with_id(new_id()).model_dump_json()]
    line = [sys.executable, "-c", _KILLED_WHILE_PLANNING, str(tmp_path), *jobs]
    assert subprocess.run(line, check=False).returncode == 9
    assert (tmp_path / "tickets" / f"{_JOB.id}.json").is_file()
    assert file_store.pending(tmp_path) == []
    assert list((tmp_path / "tickets").glob("*.plan")) == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\0" * 73, b""])
def test_damaged_plan_drops_no_job(tmp_path: Path, content: bytes) -> None:
    file_store.write(_JOB, tmp_path)
    plan = tmp_path / "tickets" / f"{_JOB.id}.plan"
    plan.write_bytes(content)
    assert file_store.pending(tmp_path) == [_JOB.id]
    assert not plan.exists()
