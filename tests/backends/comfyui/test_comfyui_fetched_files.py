"""Files of every kind and folder are fetched whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_backends import (
    REQUEST,
    SAMPLED,
    TWO_OUTPUTS,
    request_paths,
    run_and_collect_progress,
    run_request,
)

from imagen.core.image_file import is_complete
from imagen.errors import Failed, Lost, Unavailable
from imagen.testing.comfyui import BLOCKED, ComfyUI, GatewayAnswer

if TYPE_CHECKING:
    from imagen.core.result import Progress

PREVIEWED = SAMPLED | {"99": {"class_type": "PreviewImage", "inputs": {"images": ["90", 0]}}}


def test_outputs_of_every_kind_and_folder_are_fetched() -> None:
    with ComfyUI(extra_outputs=True) as server:
        result = run_request(server)
    assert [(o.name, o.media_type, o.index) for o in result.outputs] == [
        ("lab/a_00001_.png", "image/png", 0),
        ("elsewhere/a_00001_.png", "image/png", 1),
        ("moving_00001.gif", "image/gif", 3),
        ("audio/sound_00001_.flac", "audio/flac", 4),
        ("", "text/plain", 0),
        ("expanded/expanded_from_99_00001_.png", "image/png", 0),
    ]
    assert {output.source for output in result.outputs} == {"99"}
    assert result.outputs[0].data != result.outputs[1].data


def test_history_and_websocket_give_the_same_outputs() -> None:
    with ComfyUI(extra_outputs=True) as heard, ComfyUI(extra_outputs=True, silent=True) as silent:
        first, second = run_request(heard), run_request(silent)
    assert [o.name for o in first.outputs] == [o.name for o in second.outputs]
    assert [o.data for o in first.outputs] == [o.data for o in second.outputs]


def test_outputs_come_in_the_order_of_the_graph() -> None:
    with ComfyUI() as server:
        result = run_request(server, TWO_OUTPUTS, request=REQUEST.with_values({"count": 2}))
    assert [(o.source, o.name, o.index, o.seed) for o in result.outputs] == [
        ("99", "lab/a_00001_.png", 0, 7),
        ("99", "lab/a_00002_.png", 1, 7),
        ("100", "lab/b_00001_.png", 0, 7),
        ("100", "lab/b_00002_.png", 1, 7),
    ]


def test_previews_are_the_result_where_nothing_is_saved() -> None:
    with ComfyUI() as server:
        result = run_request(server, PREVIEWED)
    assert [output.media_type for output in result.outputs] == ["image/png"]


def test_previews_are_ignored_where_something_is_saved() -> None:
    graph = {**PREVIEWED, "100": SAMPLED["99"]}
    with ComfyUI() as server:
        result = run_request(server, graph)
    assert [output.source for output in result.outputs] == ["100"]


@pytest.mark.parametrize("switch", ["truncate_view", "cut_file"])
def test_a_truncated_download_is_repeated(switch: str) -> None:
    switches: dict[str, Any] = {switch: 1}
    with ComfyUI(**switches) as server:
        result = run_request(server)
        assert request_paths(server).count("/view") == 2
    assert is_complete(result.images[0].data)


def test_a_download_that_is_always_truncated_is_an_error() -> None:
    with ComfyUI(cut_file=99) as server, pytest.raises(Unavailable, match="came cut short"):
        run_request(server)


def test_a_download_is_repeated_after_a_server_error() -> None:
    with ComfyUI(http_errors=(GatewayAnswer(status=502, path="/view"),)) as server:
        assert len(run_request(server).images) == 1


def test_a_cached_file_that_was_deleted_has_a_remedy() -> None:
    with ComfyUI() as server:
        run_request(server)
        server.files.clear("output")
        with pytest.raises(Lost, match=r"lab/a_00001_\.png") as caught:
            run_request(server)
    assert "another seed" in caught.value.remedy
    assert not caught.value.is_certain


def test_one_deleted_file_of_several_is_a_warning() -> None:
    with ComfyUI() as server:

        def delete_one(progress: Progress) -> None:
            if progress.stage == "fetching":
                server.files.remove("a_00002_.png")

        request = REQUEST.with_values({"count": 3})
        result = run_request(server, request=request, on_progress=delete_one)
    assert [output.name for output in result.outputs] == ["lab/a_00001_.png", "lab/a_00003_.png"]
    assert result.warnings == (
        "ComfyUI made lab/a_00002_.png but refuses to send it (status 404).",
    )


def test_a_text_does_not_replace_a_deleted_file() -> None:
    gone = GatewayAnswer(status=404, path="/view", times=99)
    with (
        ComfyUI(extra_outputs=True, http_errors=(gone,)) as server,
        pytest.raises(Lost, match="refuses to send it"),
    ):
        run_request(server)


def test_a_file_name_with_dots_is_never_used_as_a_path() -> None:
    with ComfyUI(evil_names=True) as server:
        result = run_request(server)
    (name,) = [output.name for output in result.outputs]
    assert name.isprintable()
    assert len(result.images) == 1


def test_a_blocked_branch_explains_why_there_is_no_image() -> None:
    with ComfyUI(error=BLOCKED) as server, pytest.raises(Failed) as caught:
        run_request(server)
    assert caught.value.message.splitlines() == [
        "ComfyUI ended the job without an image.",
        "  Node 99 (SaveImage) kept a part from running: Execution Blocked: not today.",
    ]


def test_a_late_history_is_awaited() -> None:
    with ComfyUI(history_late=2, drop_at="executed") as server:
        assert len(run_request(server).images) == 1


def test_the_facts_of_a_run_are_complete() -> None:
    with ComfyUI() as server:
        facts = run_request(server, poll_seconds=10).facts
        (prompt_id,) = server.history
        (client_id,) = server.client_ids
    assert facts.model == "v1-5-pruned-emaonly-fp16.safetensors"
    assert facts.models == ("v1-5-pruned-emaonly-fp16.safetensors",)
    assert (facts.seed, facts.steps, facts.cfg) == (7, 3, 2.0)
    assert (facts.sampler, facts.scheduler) == ("euler", "normal")
    assert (facts.width, facts.height, facts.cached) == (64, 48, False)
    assert facts.engine["prompt_id"] == prompt_id
    assert facts.engine["client_id"] == client_id
    assert facts.engine["server_version"] == "0.9.2"
    assert facts.engine["vram_used_bytes"] == 4 << 30
    assert set(facts.engine["node_seconds"]) == {"1", "5", "6", "7", "8", "90", "99"}


def test_progress_names_nodes_and_counts_steps() -> None:
    with ComfyUI(step_seconds=0.01) as server:
        progress = run_and_collect_progress(server, poll_seconds=10)
    assert [p.stage for p in progress if p.node == "The model"] == ["loading"]
    assert [(p.step, p.steps) for p in progress if p.node == "The sampler"][1:] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    assert [p.stage for p in progress][-2:] == ["fetching", "done"]


def test_progress_holds_the_queue_position() -> None:
    with ComfyUI(busy=2, busy_seconds=0.2) as server:
        positions = [
            p.queue_position for p in run_and_collect_progress(server) if p.stage == "queued"
        ]
    assert positions[0] == 1
    assert positions[-1] == 0
