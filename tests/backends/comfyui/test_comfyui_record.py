"""What is heard of a job, event by event, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import job_progress

from imagen.backends.comfyui import websocket
from imagen.backends.comfyui.client import HistoryEntry
from imagen.backends.comfyui.follow import ComfyJobRecord, ComfyJobStatus, ComfyProgress
from imagen.backends.comfyui.outputs import ComfyFile, ComfyText, lacks_images, list_outputs

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


def _heard(*told: websocket.ComfyEvent, graph: dict[str, Any] = GRAPH) -> ComfyJobRecord:
    record = ComfyJobRecord(graph, _Clock())
    for event in told:
        record.apply(event)
    return record


def _image(name: str, kind: str = "output", subfolder: str = "") -> dict[str, str]:
    return {"filename": name, "subfolder": subfolder, "type": kind}


def test_each_node_has_its_time() -> None:
    """From its beginning to that of the next, or to the end."""
    record = _heard(
        websocket.JobStarted(None),
        websocket.NodeRunning("1", "1"),
        websocket.NodeRunning("8", "8"),
        websocket.JobEnded(),
    )
    assert record.node_seconds == {"1": 1.0, "8": 1.0}
    assert record.ended


def test_a_blocked_branch_is_heard_once() -> None:
    """The websocket and the history both tell of it; it is no failure."""
    blocked = websocket.NodeFailed("9", "SaveImage", "ExecutionBlocked", "no")
    record = _heard(blocked, blocked)
    assert (record.blocked, record.failure) == ((blocked,), None)


def test_a_job_is_complete_when_each_last_node_gave_something() -> None:
    """Only then the history need not be asked."""
    assert _heard(websocket.NodeOutput("9.0.1", "9", {"images": []})).is_complete()
    assert not _heard(websocket.NodeOutput("9", "9", {})).is_complete()
    assert not _heard().is_complete()


def test_the_history_adds_to_what_was_heard() -> None:
    """Its begin is the server's, in milliseconds; ours stays as we heard it."""
    record = _heard(websocket.JobStarted(5.0))
    messages: tuple[tuple[str, dict[str, Any]], ...] = (
        ("execution_start", {"timestamp": 1000}),
        ("execution_success", {"timestamp": 3500}),
        ("something_new", {}),
    )
    record.apply_history(HistoryEntry({"9": {"images": [1]}}, {"9": "9"}, messages, "success"))
    assert (record.began_ms, record.finished_ms, record.started_at) == (1000, 3500, 1.0)
    assert (record.ended, record.outputs) == (True, {"9": {"images": [1]}})


def test_a_preview_of_nobody_counts_only_while_ours_runs() -> None:
    """Before, it is somebody else's."""
    picture = websocket.SocketImage(b"x", None)
    assert _heard(picture).preview is None
    assert _heard(websocket.NodeRunning("8", "8"), picture).take_preview() == b"x"
    assert _heard(websocket.NodeRunning("8", "8"), websocket.JobEnded(), picture).preview is None


def test_files_of_any_key_count_once_each() -> None:
    """Some nodes tell of the same file twice."""
    output = {
        "images": [_image("a.png"), _image("a.png"), _image("a.png", subfolder="b"), "junk", {}],
        "gifs": [_image("a.png"), _image("c.mp4")],
        "animated": [True],
        "text": "one text",
    }
    assert list_outputs(_heard(websocket.NodeOutput("9", "9", output))) == [
        ComfyFile("9", 0, "a.png", "", "output"),
        ComfyFile("9", 1, "a.png", "b", "output"),
        ComfyFile("9", 2, "c.mp4", "", "output"),
        ComfyText("9", 0, "one text"),
    ]


def test_only_the_named_nodes_count_where_some_are_named() -> None:
    """By the node of the graph, whichever made it."""
    record = _heard(
        websocket.NodeOutput("8", "8", {"images": [_image("a.png")]}),
        websocket.NodeOutput("9.0.1", "9", {"images": [_image("b.png")]}),
    )
    assert list_outputs(record, ("9",)) == [ComfyFile("9", 0, "b.png", "", "output")]


@pytest.mark.parametrize(
    ("graph", "things", "lacks"),
    [
        pytest.param(GRAPH, [], True, id="nothing"),
        pytest.param(GRAPH, [ComfyText("9", 0, "x")], True, id="only words where pictures belong"),
        pytest.param(GRAPH, [ComfyFile("9", 0, "a", "", "output")], False, id="a picture"),
        pytest.param({"1": {"inputs": {"text": "x"}}}, [ComfyText("1", 0, "x")], False, id="words"),
    ],
)
def test_words_are_no_picture(graph: dict[str, Any], things: list[Any], lacks: bool) -> None:
    """Unless words are all that the workflow makes."""
    assert lacks_images(graph, things) is lacks


def _told(record: ComfyJobRecord, sight: ComfyJobStatus | None = None) -> Progress:
    told: list[Progress] = []
    ComfyProgress(record.graph, job_progress(told.append)).report(record, sight)
    return told[0]


@pytest.mark.parametrize(
    ("record", "sight", "stage"),
    [
        pytest.param(_heard(), None, "submitted", id="nothing known"),
        pytest.param(_heard(), ComfyJobStatus(position=3), "queued", id="in the queue"),
        pytest.param(_heard(), ComfyJobStatus(runs=True), "running", id="seen to run"),
        pytest.param(_heard(websocket.NodeRunning("1", "1")), None, "loading", id="a loader runs"),
        pytest.param(_heard(websocket.NodeRunning("8", "8")), None, "running", id="a sampler runs"),
    ],
)
def test_the_stage_is_told(
    record: ComfyJobRecord, sight: ComfyJobStatus | None, stage: str
) -> None:
    """From what is heard, or else from what is seen."""
    assert _told(record, sight).stage == stage


def test_the_fraction_weighs_what_takes_long_and_never_falls() -> None:
    """A sampler is most of the work."""
    told: list[Progress] = []
    record = _heard(websocket.NodeRunning("1", "1"), websocket.NodeRunning("8", "8"))
    telling = ComfyProgress(GRAPH, job_progress(told.append))
    telling.report(record, None)
    record.apply(websocket.NodeStepped("8", 2, 4))
    telling.report(record, None)
    record.apply(websocket.NodeStepped("8", 1, 4))
    telling.report(record, None)
    first, second, third = (progress.fraction for progress in told)
    assert first < 0.1
    assert 0.4 < second < 0.6
    assert third == second


def test_a_node_goes_by_the_title_its_author_gave_it() -> None:
    """Made safe for a terminal."""
    assert _told(_heard(websocket.NodeRunning("9", "9"))).node == "Keep[1m"
    assert _told(_heard(websocket.NodeRunning("8", "8"))).node == "KSampler"
