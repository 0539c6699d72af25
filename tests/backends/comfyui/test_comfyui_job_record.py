"""The record of a job, event by event, and its progress."""

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


def _record(*reports: websocket.ComfyEvent, graph: dict[str, Any] = GRAPH) -> ComfyJobRecord:
    record = ComfyJobRecord(graph, _Clock())
    for event in reports:
        record.apply(event)
    return record


def _image(name: str, kind: str = "output", subfolder: str = "") -> dict[str, str]:
    return {"filename": name, "subfolder": subfolder, "type": kind}


def test_each_node_is_timed() -> None:
    record = _record(
        websocket.JobStarted(None),
        websocket.NodeRunning("1", "1"),
        websocket.NodeRunning("8", "8"),
        websocket.JobEnded(),
    )
    assert record.node_seconds == {"1": 1.0, "8": 1.0}
    assert record.ended


def test_a_blocked_branch_is_recorded_once() -> None:
    blocked = websocket.NodeFailed("9", "SaveImage", "ExecutionBlocked", "no")
    record = _record(blocked, blocked)
    assert (record.blocked, record.failure) == ((blocked,), None)


def test_a_job_is_complete_once_each_output_node_gave_something() -> None:
    assert _record(websocket.NodeOutput("9.0.1", "9", {"images": []})).is_complete()
    assert not _record(websocket.NodeOutput("9", "9", {})).is_complete()
    assert not _record().is_complete()


def test_the_history_completes_the_record() -> None:
    record = _record(websocket.JobStarted(5.0))
    messages: tuple[tuple[str, dict[str, Any]], ...] = (
        ("execution_start", {"timestamp": 1000}),
        ("execution_success", {"timestamp": 3500}),
        ("something_new", {}),
    )
    record.apply_history(HistoryEntry({"9": {"images": [1]}}, {"9": "9"}, messages, "success"))
    assert (record.began_ms, record.finished_ms, record.started_at) == (1000, 3500, 1.0)
    assert (record.ended, record.outputs) == (True, {"9": {"images": [1]}})


def test_a_preview_without_a_node_counts_only_while_our_job_runs() -> None:
    image = websocket.SocketImage(b"x", None)
    assert _record(image).preview is None
    assert _record(websocket.NodeRunning("8", "8"), image).take_preview() == b"x"
    assert _record(websocket.NodeRunning("8", "8"), websocket.JobEnded(), image).preview is None


def test_files_of_any_key_count_once_each() -> None:
    output = {
        "images": [_image("a.png"), _image("a.png"), _image("a.png", subfolder="b"), "junk", {}],
        "gifs": [_image("a.png"), _image("c.mp4")],
        "animated": [True],
        "text": "one text",
    }
    assert list_outputs(_record(websocket.NodeOutput("9", "9", output))) == [
        ComfyFile("9", 0, "a.png", "", "output"),
        ComfyFile("9", 1, "a.png", "b", "output"),
        ComfyFile("9", 2, "c.mp4", "", "output"),
        ComfyText("9", 0, "one text"),
    ]


def test_only_named_output_nodes_count() -> None:
    record = _record(
        websocket.NodeOutput("8", "8", {"images": [_image("a.png")]}),
        websocket.NodeOutput("9.0.1", "9", {"images": [_image("b.png")]}),
    )
    assert list_outputs(record, ("9",)) == [ComfyFile("9", 0, "b.png", "", "output")]


@pytest.mark.parametrize(
    ("graph", "things", "lacks"),
    [
        pytest.param(GRAPH, [], True, id="nothing"),
        pytest.param(GRAPH, [ComfyText("9", 0, "x")], True, id="only words where images belong"),
        pytest.param(GRAPH, [ComfyFile("9", 0, "a", "", "output")], False, id="an image"),
        pytest.param({"1": {"inputs": {"text": "x"}}}, [ComfyText("1", 0, "x")], False, id="words"),
    ],
)
def test_texts_do_not_replace_missing_images(
    graph: dict[str, Any], things: list[Any], lacks: bool
) -> None:
    assert lacks_images(graph, things) is lacks


def _report(record: ComfyJobRecord, sight: ComfyJobStatus | None = None) -> Progress:
    reports: list[Progress] = []
    ComfyProgress(record.graph, job_progress(reports.append)).report(record, sight)
    return reports[0]


@pytest.mark.parametrize(
    ("record", "sight", "stage"),
    [
        pytest.param(_record(), None, "submitted", id="nothing known"),
        pytest.param(_record(), ComfyJobStatus(position=3), "queued", id="in the queue"),
        pytest.param(_record(), ComfyJobStatus(runs=True), "running", id="seen to run"),
        pytest.param(_record(websocket.NodeRunning("1", "1")), None, "loading", id="a loader runs"),
        pytest.param(
            _record(websocket.NodeRunning("8", "8")), None, "running", id="a sampler runs"
        ),
    ],
)
def test_the_stage_follows_events_and_looks(
    record: ComfyJobRecord, sight: ComfyJobStatus | None, stage: str
) -> None:
    assert _report(record, sight).stage == stage


def test_the_fraction_is_weighted_and_never_falls() -> None:
    reports: list[Progress] = []
    record = _record(websocket.NodeRunning("1", "1"), websocket.NodeRunning("8", "8"))
    comfy_progress = ComfyProgress(GRAPH, job_progress(reports.append))
    comfy_progress.report(record, None)
    record.apply(websocket.NodeStepped("8", 2, 4))
    comfy_progress.report(record, None)
    record.apply(websocket.NodeStepped("8", 1, 4))
    comfy_progress.report(record, None)
    first, second, third = (progress.fraction for progress in reports)
    assert first < 0.1
    assert 0.4 < second < 0.6
    assert third == second


def test_a_node_is_shown_by_its_title() -> None:
    assert _report(_record(websocket.NodeRunning("9", "9"))).node == "Keep[1m"
    assert _report(_record(websocket.NodeRunning("8", "8"))).node == "KSampler"
