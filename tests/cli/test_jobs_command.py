"""imagen jobs: what is in the queue, and what people do with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli import run
from imagen.config import load_settings
from imagen.core.request import Request
from imagen.core.result import Progress
from imagen.errors import Failed, Lost
from imagen.jobs import file_store
from imagen.jobs.model import ServedResource, WorkerInfo
from imagen.jobs.queue import queue_name
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submit import JobRequest, SubmitOptions, submit_requests
from imagen.pipeline.generate import create_jobs, open_named, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore

_CONFIG = """
state_dir: state
output: {directory: out}
backends: {mock: {type: mock}, other: {type: mock}}
pools: {both: [mock, other]}
"""


@pytest.fixture
def store() -> Iterator[SqlJobStore]:
    """The queue of the commands, to do in it what a worker would do."""
    Path("imagen.yaml").write_text(_CONFIG)
    with open_job_store(load_settings()) as store:
        yield store


def _submit(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The ID that a detached command prints."""
    capsys.readouterr()
    assert run(["generate", *words, "--detach"]) == 0
    return capsys.readouterr().out.strip()


def _take(store: SqlJobStore, pool: str = "mock") -> QueuedJob:
    """Take the next job, as a worker does."""
    worker = store.queue
    delivery = worker.fetch([[queue_name(pool, pool)]])
    assert delivery is not None
    job = store.take(delivery, worker="w", backend="mock", resource="mock", at_once=4)
    assert job is not None
    return job


def _see_worker(store: SqlJobStore, *backends: str) -> None:
    now = datetime.now(UTC)
    store.see_worker(
        WorkerInfo(
            id="w", host="desk", pid=7, started=now, seen=now,
            resources=tuple(ServedResource(name, 1, (name,)) for name in backends),
        )
    )  # fmt: skip


def _json(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_detach_prints_the_id_alone_and_says_how_to_start_a_worker(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "a fox", "--seed", "7", "--detach"]) == 0
    out, err = capsys.readouterr()
    job = store.read(out.strip())
    assert (job.name, job.state) == ("a fox", "queued")
    assert err == "No worker is running. Start one with: imagen worker\n"
    assert not Path("out").exists()


def test_detach_with_json_lists_all_jobs(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = _json(capsys, "generate", "a fox", "--count", "2", "--detach")
    assert [store.read(id).parent for id in printed["jobs"]] == [printed["job"]] * 2
    assert printed["warnings"] == ["No worker is running. Start one with: imagen worker"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--priority", "2"), "--priority needs --detach"),
        (("--at", "in 2h"), "--at needs --detach"),
        (("--after", "last"), "--after needs --detach"),
        (("--detach", "--priority", "urgent"), "'urgent' is not a valid integer range"),
        (("--detach", "--priority", "5000"), "5000 is not in the range"),
        (("--detach", "--at", "25:00"), "'25:00' is not a valid time"),
        (("--detach", "--at", "2020-01-01"), "'2020-01-01' is in the past"),
        (("--detach", "--at", "soon"), "'soon' is not a valid time"),
        (("--detach", "--pool", "bothh"), "Unknown pool 'bothh'. Did you mean 'both'?"),
        (("--detach", "--pool", "both", "--backend", "mock"), "exclude each other"),
        (("--detach", "--after", "zzz"), "Job 'zzz' not found"),
        (("--detach", "--preview"), "--preview needs the image at once"),
        (("--detach", "-b", "mcok"), "Unknown backend or pool 'mcok'. Did you mean 'mock'?"),
    ],
)
@pytest.mark.usefixtures("store")
def test_wrong_options_are_refused_with_a_sentence(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "a fox", *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert _json(capsys, "jobs", "list")["jobs"] == []


def test_jobs_lists_what_runs_then_the_line_then_what_ended(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    running, ended, waiting = (_submit(capsys, f"fox {number}") for number in range(3))
    urgent = _submit(capsys, "an urgent fox", "--priority", "5")
    later = _submit(capsys, "a later fox", "--after", waiting)
    run(["jobs", "move", running, "--priority", "9"])
    assert _take(store).id == running
    run(["jobs", "cancel", ended])
    listed = _json(capsys, "jobs", "list")["jobs"]
    assert [(job["id"], job["state"]) for job in listed] == [
        (running, "running"),
        (urgent, "queued"),
        (waiting, "queued"),
        (later, "held"),
        (ended, "cancelled"),
    ]
    assert [job["position"] for job in listed] == [None, 1, 2, None, None]
    assert listed[3]["after"] == waiting


def test_starts_and_ends_are_estimated_from_earlier_jobs_and_unknown_otherwise(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    _submit(capsys, "first")
    _submit(capsys, "second")
    assert [job["expected_start"] for job in _json(capsys, "jobs", "list")["jobs"]] == [None] * 2
    _see_worker(store, "mock")
    first, second = _json(capsys, "jobs", "list")["jobs"]  # a place is free, no speed is known
    assert first["expected_start"] is not None
    assert (first["expected_end"], second["expected_start"]) == (None, None)
    store.learn_speed("mock", "mock", 60)
    first, second = _json(capsys, "jobs", "list")["jobs"]
    ends = [datetime.fromisoformat(job["expected_end"]) for job in (first, second)]
    assert datetime.fromisoformat(second["expected_start"]) == ends[0]
    assert (ends[1] - ends[0]).total_seconds() == 60
    capsys.readouterr()
    run(["jobs"])
    assert capsys.readouterr().err == ""


def test_a_batch_is_one_line_with_its_count(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [JobRequest(Request(prompt=f"fox {n}", seed=1), "mock") for n in range(3)]
    options = SubmitOptions(backend="mock")
    submission = submit_requests(
        rows, load_settings(), options, kind="batch", name="foxes.txt", store=store
    )
    store.finish(_take(store).fence, None, load_settings())
    run(["jobs", "cancel", submission.ids[2]])
    capsys.readouterr()
    assert run(["jobs", "list"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:4] == [submission.id[:8], "running", "1/3,", "1"]
    assert line.endswith("foxes.txt")
    listed = _json(capsys, "jobs", "list", "--batch", submission.id[:8])["jobs"]
    assert {job["id"] for job in listed} == set(submission.ids)
    (parent,) = _json(capsys, "jobs", "list")["jobs"]
    assert parent["counts"] == {"done": 1, "queued": 1, "cancelled": 1}


def test_jobs_are_filtered_by_state_and_backend(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    fox = _submit(capsys, "a fox")
    cat = _submit(capsys, "a cat", "--pool", "both")
    run(["jobs", "cancel", fox])

    def ids(*words: str) -> list[str]:
        return [job["id"] for job in _json(capsys, "jobs", "list", *words)["jobs"]]

    assert ids("--state", "cancelled") == [fox]
    assert [job["id"] for job in _json(capsys, "jobs", "--state", "queued")["jobs"]] == [cat]
    assert run(["jobs"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert ids("--state", "queued,running") == [cat]
    assert ids("--backend", "both") == [cat]
    assert run(["jobs", "list", "--state", "quued"]) == 2
    assert "Did you mean 'queued'?" in capsys.readouterr().err
    assert len(store.list_jobs()) == 2


def test_the_interrupted_job_of_a_plain_command_is_listed_and_retried(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings()
    request = Request(prompt="a plain fox", seed=7)
    engine = open_named("mock", settings)
    (job,) = create_jobs(prepare(engine, request, settings), request, settings)
    file_store.write(job, settings.state_dir)
    (listed,) = _json(capsys, "jobs", "list")["jobs"]
    assert (listed["id"], listed["kind"], listed["state"]) == (job.id, "plain", "interrupted")
    assert _json(capsys, "jobs", "show", job.id[:8])["name"] == "a plain fox"
    assert run(["jobs", "cancel", job.id]) == 2
    assert f"imagen resume {job.id}" in capsys.readouterr().err
    assert run(["jobs", "retry", job.id[:8], "--quiet"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert Path(line).is_file()
    assert _json(capsys, "jobs", "list")["jobs"] == []
    assert store.list_jobs() == []


def test_show_prints_the_request_the_history_and_the_error(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    id = _submit(capsys, "a fox", "--steps", "3")
    taken = _take(store)
    store.fail(taken.fence, Failed("The engine broke.", remedy="Mend it."))
    assert run(["jobs", "show", "last"]) == 0
    printed = capsys.readouterr().out
    for text in (id, "failed", "steps", "The engine broke.", "Mend it.", "running"):
        assert text in printed
    shown = _json(capsys, "jobs", "show", id)
    assert [event["data"]["state"] for event in shown["events"]] == ["queued", "running", "failed"]
    assert shown["request"]["steps"] == 3


def test_wait_returns_once_the_job_has_ended_with_an_exit_code_by_its_outcome(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, gone = (_submit(capsys, f"fox {number}") for number in range(3))
    codes: dict[str, int] = {}
    thread = Thread(target=lambda: codes.setdefault(good, run(["jobs", "wait", good, "-q"])))
    thread.start()
    store.finish(_take(store).fence, None, load_settings())
    thread.join(60)
    store.fail(_take(store).fence, Failed("The engine broke."))
    run(["jobs", "cancel", gone])
    assert codes == {good: 0}
    capsys.readouterr()
    assert run(["jobs", "wait", bad, "-q"]) == 4
    assert capsys.readouterr().err == f"{bad[:8]} failed: The engine broke.\n"
    assert run(["jobs", "wait", gone, good, "-q"]) == 130


def test_wait_gives_up_after_its_timeout_and_leaves_the_job_alone(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    id = _submit(capsys, "a fox")
    printed = _json(capsys, "jobs", "wait", id, "--timeout", "0", code=124)
    assert printed["error"]["code"] == "wait_timed_out"
    assert store.read(id).state == "queued"


def test_cancel_asks_the_worker_of_a_running_job(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    id = _submit(capsys, "a fox")
    taken = _take(store)
    printed: list[Any] = []
    thread = Thread(target=lambda: printed.append(run(["jobs", "cancel", id])))
    thread.start()
    deadline = datetime.now(UTC).timestamp() + 30
    while not store.read(id).cancel and datetime.now(UTC).timestamp() < deadline:
        pass
    store.fail(taken.fence, Failed("Cancelled."), state="cancelled")
    thread.join(60)
    assert printed == [0]
    assert capsys.readouterr().out.endswith(f"Cancelled {id[:8]}.\n")


def test_retry_puts_failed_jobs_in_line_again_and_lost_ones_only_if_asked(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    id = _submit(capsys, "a fox")
    store.fail(_take(store).fence, Failed("The engine broke."))
    assert run(["jobs", "retry", id]) == 0
    store.fail(_take(store).fence, Failed("Lost."), state="lost")
    assert run(["jobs", "retry", id]) == 2
    assert "--resubmit" in capsys.readouterr().err
    assert run(["jobs", "retry", id, "--resubmit"]) == 0
    assert store.read(id).state == "queued"
    assert run(["jobs", "retry", id]) == 2


def test_move_changes_the_place_in_line(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = _submit(capsys, "a fox", "--priority", "3"), _submit(capsys, "a cat")
    assert run(["jobs", "move", second, "--first"]) == 0
    assert [job["id"] for job in _json(capsys, "jobs", "list")["jobs"]] == [second, first]
    assert _take(store).id == second
    for words in ((), ("--first", "--priority", "1")):
        assert run(["jobs", "move", first, *words]) == 2
    assert run(["jobs", "move", second, "--first"]) == 2  # it runs
    capsys.readouterr()


def test_logs_prints_changes_and_progress(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    id = _submit(capsys, "a fox")
    taken = _take(store)
    store.report(taken.fence, Progress(stage="running", fraction=0.5, step=2, steps=4))

    def lines(*words: str) -> list[str]:
        assert run(["jobs", "logs", id, *words]) == 0
        return [line.split("  ", 2)[2] for line in capsys.readouterr().out.splitlines()]

    assert lines() == ["queued", "running", "running, step 2 of 4"]
    store.finish(taken.fence, None, load_settings())
    assert lines("--follow") == ["queued", "running", "done"]  # it has ended, so this ends too
    assert run(["jobs", "logs", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert {event["job"] for event in events} == {id}


def test_prune_deletes_old_jobs_from_the_list(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    id = _submit(capsys, "a fox")
    run(["jobs", "cancel", id])
    assert _json(capsys, "jobs", "prune") == {"pruned": 0}
    assert _json(capsys, "jobs", "prune", "--older", "0s") == {"pruned": 1}
    assert run(["jobs", "prune", "--older", "long"]) == 2
    assert "is not a duration" in capsys.readouterr().err
    assert store.list_jobs() == []


def test_resume_lists_the_lost_jobs_of_the_queue_and_runs_them_again_if_asked(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings()
    id = _submit(capsys, "a fox")
    taken = _take(store)
    request = Request(prompt="a fox", seed=7)
    engine = open_named("mock", settings)
    (job,) = create_jobs(prepare(engine, request, settings), request, settings)
    store.write(taken.fence, job.with_id(id), settings)
    store.fail(taken.fence, Lost("The engine no longer knows it."), state="lost")
    (listed,) = _json(capsys, "resume", "--list")["jobs"]
    assert (listed["id"], listed["state"], listed["prompt"]) == (id, "lost", "a fox")
    left = _json(capsys, "resume", code=4)["jobs"]
    assert [(one["id"], one["outcome"]) for one in left] == [(id, "failed")]
    assert f"imagen resume --resubmit {id}" in left[0]["error"]["remedy"]
    assert store.read(id).state == "lost"
    again = _json(capsys, "resume", id[:8], "--resubmit")["jobs"]
    assert [(one["id"], one["outcome"]) for one in again] == [(id, "queued")]
    assert store.read(id).state == "queued"
    assert run(["resume"]) == 0
    assert capsys.readouterr().err == "There are no interrupted jobs.\n"


@pytest.mark.parametrize(
    "line",
    [
        "edit fox.png brighter",
        "outpaint fox.png hills --right 64",
        "upscale fox.png --factor 2",
        "upscale fox.png --backend mock",
        "restore fox.png",
        "preprocess canny fox.png",
        "generate bear --image fox.png --control canny:fox.png --preprocess",
        "again fox.png",
        "compare fox -m mock,other -o sheet",
        "batch prompts.txt",
    ],
)
def test_each_command_that_makes_images_can_be_detached_and_run_by_a_worker(
    line: str, store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["generate", "a fox", "--size", "64x64", "-o", "fox.png", "-q"])
    Path("prompts.txt").write_text("a cat\na dog\n")
    capsys.readouterr()
    assert run([*line.split(), "--detach", "--json"]) == 0
    printed = capsys.readouterr().out
    id = json.loads(printed[printed.index("{") :])["job"]
    assert store.read(id).state == "queued"
    assert run(["worker", "--drain"]) == 0
    assert store.read(id).state == "done", store.read(id).error
    assert run(["jobs", "wait", id, "-q"]) == 0
    assert all(Path(path).is_file() for path in capsys.readouterr().out.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent Ctrl-C alone")
def test_ctrl_c_stops_waiting_and_leaves_the_job_alone(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    id = _submit(capsys, "a fox")
    command = [sys.executable, "-m", "imagen", "jobs", "wait", id]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"{id[:8]}: queued\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("imagen: Stopped waiting.\nThe jobs go on.")
    assert store.read(id).state == "queued"


def test_show_names_an_input_image_as_the_user_did(
    store: SqlJobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["generate", "a fox", "--size", "64x64", "-o", "fox.png", "-q"])
    id = _submit(capsys, "a bear", "--image", "fox.png")
    assert run(["jobs", "show", id]) == 0
    assert "image   fox.png\n" in capsys.readouterr().out
    assert _json(capsys, "jobs", "show", id)["request"]["image"].startswith("blob:")
    assert len(store.list_jobs()) == 1
