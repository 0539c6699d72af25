"""What is heard of a job, event by event, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen.backends.comfyui import events
from imagen.backends.comfyui.answers import HistoryEntry
from imagen.backends.comfyui.look import JobStatus
from imagen.backends.comfyui.outputs import File, Text, lacks_a_picture, made
from imagen.backends.comfyui.record import Record
from imagen.backends.comfyui.telling import ProgressReporter

if TYPE_CHECKING:
    from imagen.core.result import Progress

GRAPH: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {}},
    "8": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "steps": 4}},
    "9": {
        "class_type": "SaveImage",
        "inputs": {"images": ["8", 0]},
        "_meta": {"title": "Keep\x1b[1m"},
    },
}


class _Clock:
    """A clock that goes on by a second each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def _heard(*told: events.Event, graph: dict[str, Any] = GRAPH) -> Record:
    record = Record(graph, _Clock())
    for event in told:
        record.take(event)
    return record


def _image(name: str, kind: str = "output", subfolder: str = "") -> dict[str, str]:
    return {"filename": name, "subfolder": subfolder, "type": kind}


def test_each_node_has_its_time() -> None:
    """From its beginning to that of the next, or to the end."""
    record = _heard(
        events.Started(None), events.Running("1", "1"), events.Running("8", "8"), events.Ended()
    )
    assert record.node_seconds == {"1": 1.0, "8": 1.0}
    assert record.ended


def test_a_blocked_branch_is_heard_once() -> None:
    """The websocket and the history both tell of it; it is no failure."""
    blocked = events.Broken("9", "SaveImage", "ExecutionBlocked", "no")
    record = _heard(blocked, blocked)
    assert (record.blocked, record.broken) == ((blocked,), None)


def test_a_job_is_whole_when_each_last_node_gave_something() -> None:
    """Only then the history need not be asked."""
    assert _heard(events.Made("9.0.1", "9", {"images": []})).is_whole()
    assert not _heard(events.Made("9", "9", {})).is_whole()
    assert not _heard().is_whole()


def test_the_history_adds_to_what_was_heard() -> None:
    """Its begin is the server's, in milliseconds; ours stays as we heard it."""
    record = _heard(events.Started(5.0))
    messages: tuple[tuple[str, dict[str, Any]], ...] = (
        ("execution_start", {"timestamp": 1000}),
        ("execution_success", {"timestamp": 3500}),
        ("something_new", {}),
    )
    record.adopt(HistoryEntry({"9": {"images": [1]}}, {"9": "9"}, messages, "success"))
    assert (record.began_ms, record.finished_ms, record.started_at) == (1000, 3500, 1.0)
    assert (record.ended, record.outputs) == (True, {"9": {"images": [1]}})


def test_a_preview_of_nobody_counts_only_while_ours_runs() -> None:
    """Before, it is somebody else's."""
    picture = events.Picture(b"x", None)
    assert _heard(picture).preview is None
    assert _heard(events.Running("8", "8"), picture).take_preview() == b"x"
    assert _heard(events.Running("8", "8"), events.Ended(), picture).preview is None


def test_files_of_any_key_count_once_each() -> None:
    """Some nodes tell of the same file twice."""
    output = {
        "images": [_image("a.png"), _image("a.png"), _image("a.png", subfolder="b"), "junk", {}],
        "gifs": [_image("a.png"), _image("c.mp4")],
        "animated": [True],
        "text": "one text",
    }
    assert made(_heard(events.Made("9", "9", output))) == [
        File("9", 0, "a.png", "", "output"),
        File("9", 1, "a.png", "b", "output"),
        File("9", 2, "c.mp4", "", "output"),
        Text("9", 0, "one text"),
    ]


def test_only_the_named_nodes_count_where_some_are_named() -> None:
    """By the node of the graph, whichever made it."""
    record = _heard(
        events.Made("8", "8", {"images": [_image("a.png")]}),
        events.Made("9.0.1", "9", {"images": [_image("b.png")]}),
    )
    assert made(record, ("9",)) == [File("9", 0, "b.png", "", "output")]


@pytest.mark.parametrize(
    ("graph", "things", "lacks"),
    [
        pytest.param(GRAPH, [], True, id="nothing"),
        pytest.param(GRAPH, [Text("9", 0, "x")], True, id="only words where pictures belong"),
        pytest.param(GRAPH, [File("9", 0, "a", "", "output")], False, id="a picture"),
        pytest.param({"1": {"inputs": {"text": "x"}}}, [Text("1", 0, "x")], False, id="words"),
    ],
)
def test_words_are_no_picture(graph: dict[str, Any], things: list[Any], lacks: bool) -> None:
    """Unless words are all that the workflow makes."""
    assert lacks_a_picture(graph, things) is lacks


def _told(record: Record, sight: JobStatus | None = None) -> Progress:
    told: list[Progress] = []
    ProgressReporter(record.graph, told.append).waiting(record, sight)
    return told[0]


@pytest.mark.parametrize(
    ("record", "sight", "stage"),
    [
        pytest.param(_heard(), None, "submitted", id="nothing known"),
        pytest.param(_heard(), JobStatus(position=3), "queued", id="in the queue"),
        pytest.param(_heard(), JobStatus(runs=True), "running", id="seen to run"),
        pytest.param(_heard(events.Running("1", "1")), None, "loading", id="a loader runs"),
        pytest.param(_heard(events.Running("8", "8")), None, "running", id="a sampler runs"),
    ],
)
def test_the_stage_is_told(record: Record, sight: JobStatus | None, stage: str) -> None:
    """From what is heard, or else from what is seen."""
    assert _told(record, sight).stage == stage


def test_the_fraction_weighs_what_takes_long_and_never_falls() -> None:
    """A sampler is most of the work."""
    told: list[Progress] = []
    record = _heard(events.Running("1", "1"), events.Running("8", "8"))
    telling = ProgressReporter(GRAPH, told.append)
    telling.waiting(record, None)
    record.take(events.Stepped("8", 2, 4))
    telling.waiting(record, None)
    record.take(events.Stepped("8", 1, 4))
    telling.waiting(record, None)
    telling.done()
    first, second, third, last = (progress.fraction for progress in told)
    assert first < 0.1
    assert 0.4 < second < 0.6
    assert (third, last) == (second, 1.0)


def test_a_node_goes_by_the_title_its_author_gave_it() -> None:
    """Made safe for a terminal."""
    assert _told(_heard(events.Running("9", "9"))).node == "Keep[1m"
    assert _told(_heard(events.Running("8", "8"))).node == "KSampler"
