"""A finished job may stay as its file until a command opens the library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagen.config import LibrarySettings, Settings
from imagen.jobs import file_store
from imagen.jobs.model import Job
from imagen.pipeline.record import open_library_synced, record_pending

_GENERATE = ("generate", "a fox", "--backend", "mock", "--size", "32x32", "--quiet")


def _run(*words: str) -> str:
    """What an imagen process prints; it must succeed."""
    command = [sys.executable, "-m", "imagen", *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _json(*words: str) -> Any:
    return json.loads(_run(*words, "--json"))


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose configuration has its own state directory and library."""
    monkeypatch.chdir(tmp_path)
    Path("imagen.yaml").write_text('{state_dir: "./state", library: {url: "./library.db"}}')
    return tmp_path


def test_generate_leaves_a_fast_job_as_its_file(configured: Path) -> None:
    _run(*_GENERATE)
    (id,) = file_store.pending(configured / "state")
    job = file_store.read(id, configured / "state")
    assert (job.state, job.deferred_to) == ("saved", str(configured / "library.db"))
    assert not Path("library.db").exists()


def test_generate_does_not_load_sqlalchemy_for_a_fast_job() -> None:
    code = (
        "import sys; from imagen.cli import run; "
        f"assert run({list(_GENERATE)}) == 0; print('sqlalchemy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"


def test_history_records_deferred_jobs_in_the_order_in_which_they_began(configured: Path) -> None:
    for seed in ("1", "2", "3"):
        _run(*_GENERATE, "--seed", seed)
    images = _json("history")["images"]
    assert [image["seed"] for image in images] == [3, 2, 1]
    assert file_store.pending(configured / "state") == []


def test_show_last_finds_a_deferred_image() -> None:
    _run(*_GENERATE, "--seed", "7")
    assert _json("show", "last")["request"]["seed"] == 7


def test_resume_does_not_list_deferred_jobs() -> None:
    _run(*_GENERATE)
    assert _json("resume", "--list") == {"jobs": []}
    assert _json("resume")["jobs"] == []


def test_a_deferred_job_stays_if_the_library_is_damaged(configured: Path) -> None:
    _run(*_GENERATE)
    Path("library.db").write_bytes(b"not a database" * 100)
    command = [sys.executable, "-m", "imagen", "history"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 5
    assert len(file_store.pending(configured / "state")) == 1


def _deferred_jobs(folder: Path, number: int) -> list[Job]:
    """Jobs that one process left, under ids of their own."""
    _run(*_GENERATE)
    (id,) = file_store.pending(folder / "state")
    job = file_store.read(id, folder / "state")
    assert job.record is not None
    jobs = []
    for n in range(number):
        new = job.with_id(f"{id[:-4]}{n:04}")
        record = job.record.model_copy(update={"id": new.id, "ticket": new.ticket})
        jobs.append(new.with_record(record))
        file_store.write(jobs[-1], folder / "state")
    return jobs


def test_generate_records_all_jobs_once_fifty_wait(configured: Path) -> None:
    _deferred_jobs(configured, 60)
    _run(*_GENERATE)
    assert file_store.pending(configured / "state") == []
    assert Path("library.db").exists()


def test_a_job_is_recorded_in_the_library_of_its_own_configuration(configured: Path) -> None:
    (job,) = _deferred_jobs(configured, 1)
    other = Settings(
        state_dir=configured / "state", library=LibrarySettings(url=str(configured / "other.db"))
    )
    with open_library_synced(other) as library:
        record_pending(library, other)
    assert job.id in file_store.pending(configured / "state")


def test_jobs_of_earlier_versions_are_read(tmp_path: Path) -> None:
    (job,) = _deferred_jobs(tmp_path, 1)
    data = json.loads(job.model_dump_json())
    data["asked"], data["entry"] = data.pop("request"), data.pop("record")
    data["entry"]["asked"] = data["entry"].pop("request")
    data["entry"]["\x70ictures"] = data["entry"].pop("images")
    del data["deferred_to"]
    old = Job.model_validate_json(json.dumps(data))
    assert old.model_copy(update={"deferred_to": job.deferred_to}) == job
