"""A finished image is fetched whole, or stays at the server until it can be."""

from __future__ import annotations

import json
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.comfyui_backends import (
    REQUEST,
    SAMPLED,
    TWO_OUTPUTS,
    open_comfyui,
    request_paths,
    run_request,
)

from imagen.backends.comfyui.outputs import ComfyFile, fetch_outputs, is_from_graph
from imagen.core.result import no_progress
from imagen.errors import BackendError, Failed, Lost, Unavailable
from imagen.testing.comfyui import ComfyUI, GatewayAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.core.result import Progress
    from imagen.core.ticket import Ticket

PREVIEWED = SAMPLED | {"99": {"class_type": "PreviewImage", "inputs": {"images": ["90", 0]}}}
_INSTEAD: dict[str, dict[str, Any]] = {
    "a page": {"status": 200, "body": "<html>Log in</html>", "content_type": "text/html"},
    "an error as JSON": {"status": 200, "body": '{"error": "no"}'},
    "text that says it is an image": {"status": 200, "body": "no", "content_type": "image/png"},
    "nothing": {"status": 200, "body": "", "content_type": "image/png"},
    "a bad request": {"status": 400, "body": ""},
    "no credential": {"status": 401, "body": "no"},
    "no access": {"status": 403, "body": "no"},
    "not found": {"status": 404, "body": ""},
    "a redirect": {"status": 302, "body": ""},
}


def _restart(server: ComfyUI) -> Callable[[Progress], None]:
    """Restarts the server, which forgets its history, once it has named a file."""
    done: list[bool] = []

    def restart(progress: Progress) -> None:
        if progress.ticket is not None and progress.ticket.engine.get("made") and not done:
            done.append(True)
            server.restart(empty=True)

    return restart


@pytest.mark.parametrize("said", _INSTEAD.values(), ids=_INSTEAD)
def test_a_file_is_requested_again_after_a_wrong_answer(said: dict[str, Any]) -> None:
    with ComfyUI(http_errors=(GatewayAnswer(path="/view", **said),)) as server:
        (image,) = run_request(server).images
        assert request_paths(server).count("/view") == 2
    assert image.media_type == "image/png"


@pytest.mark.parametrize("said", _INSTEAD.values(), ids=_INSTEAD)
def test_a_file_that_does_not_arrive_may_be_fetched_later(said: dict[str, Any]) -> None:
    with ComfyUI(http_errors=(GatewayAnswer(path="/view", times=99, **said),)) as server:
        with pytest.raises(BackendError, match="lab/a_00001_") as caught:
            run_request(server)
        assert request_paths(server).count("/view") == 4
    assert isinstance(caught.value, Lost | Unavailable)
    assert not (isinstance(caught.value, Lost) and caught.value.is_certain)


def test_an_error_names_what_came_instead_of_an_image() -> None:
    page = GatewayAnswer(path="/view", times=99, **_INSTEAD["a page"])
    with ComfyUI(http_errors=(page,)) as server, pytest.raises(Unavailable) as caught:
        run_request(server)
    assert caught.value.message == (
        f"What {server.url} sent for lab/a_00001_.png is not an image but text/html, 4 times."
    )
    assert "login page" in caught.value.remedy


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        pytest.param(404, "", "If it was deleted there", id="ComfyUI has no such file"),
        pytest.param(404, "no such page", "Something in front of the server", id="a gateway's 404"),
        pytest.param(413, "too large", "Something in front of the server", id="a gateway's limit"),
        pytest.param(401, "no", "Name the variable", id="a session that ran out"),
        pytest.param(302, "", "If that is the right server", id="a redirect"),
    ],
)
def test_the_remedy_for_a_refused_file_depends_on_who_refuses_it(
    status: int, body: str, remedy: str
) -> None:
    withheld = GatewayAnswer(path="/view", times=99, status=status, body=body)
    with ComfyUI(http_errors=(withheld,)) as server, pytest.raises(Lost) as caught:
        run_request(server)
    assert caught.value.message == (
        f"ComfyUI made lab/a_00001_.png but refuses to send it (status {status})."
    )
    assert caught.value.remedy.startswith(remedy)


def test_a_file_refused_by_a_gateway_only_keeps_the_job() -> None:
    shut = GatewayAnswer(path="/view", after=1, times=4, status=404, body="no such page")
    with ComfyUI(http_errors=(shut,)) as server, pytest.raises(Lost, match="a_00002_") as caught:
        run_request(server, request=REQUEST.with_values({"count": 3}))
    assert not caught.value.is_certain


def test_a_file_is_requested_once_from_a_silent_server() -> None:
    silent = GatewayAnswer(path="/view", hangs=True, times=99)
    with (
        ComfyUI(http_errors=(silent,)) as server,
        pytest.raises(Unavailable, match="did not answer in time"),
    ):
        run_request(server, idle_seconds=0.5)
    assert request_paths(server).count("/view") == 1


def test_a_file_without_a_type_is_an_output() -> None:
    with ComfyUI(bare_names=True) as server:
        assert len(run_request(server).images) == 1


@pytest.mark.parametrize("said", ["a page", "an error as JSON", "no access"])
def test_a_history_hidden_by_a_gateway_is_requested_again(said: str) -> None:
    hidden = GatewayAnswer(path="/history", times=2, **_INSTEAD[said])
    with ComfyUI(mute_outputs=1, http_errors=(hidden,)) as server:
        assert len(run_request(server, poll_seconds=10).images) == 1


def test_a_hidden_history_does_not_lose_the_job() -> None:
    hidden = GatewayAnswer(path="/history", times=99, **_INSTEAD["a page"])
    with ComfyUI(mute_outputs=1, http_errors=(hidden,)) as server:
        with pytest.raises(BackendError, match="does not answer like ComfyUI") as caught:
            run_request(server, poll_seconds=10)
        assert server.interrupts == []
    assert not isinstance(caught.value, Failed)


def test_a_history_that_never_comes_may_come_later() -> None:
    with (
        ComfyUI(mute_outputs=1, history_late=99) as server,
        pytest.raises(Lost, match="its history does not have it") as caught,
    ):
        run_request(server, poll_seconds=10)
    assert not caught.value.is_certain


def test_files_named_before_a_restart_are_fetched() -> None:
    with ComfyUI() as server:
        result = run_request(server, on_progress=_restart(server))
        assert len(server.prompts) == 1
    assert [output.name for output in result.images] == ["lab/a_00001_.png"]


def test_the_first_output_is_fetched_after_a_restart_between_two() -> None:
    later = {**TWO_OUTPUTS, "95": SAMPLED["8"], "96": SAMPLED["90"]}
    later["95"] = {**later["95"], "inputs": {**later["95"]["inputs"], "seed": 1, "steps": 40}}
    later["96"] = {**later["96"], "inputs": {"samples": ["95", 0], "vae": ["1", 2]}}
    later["100"] = {
        **TWO_OUTPUTS["100"],
        "inputs": {**TWO_OUTPUTS["100"]["inputs"], "images": ["96", 0]},
    }
    with ComfyUI(step_seconds=0.05) as server:
        result = run_request(server, later, on_progress=_restart(server), lost_seconds=9)
        assert len(server.prompts) == 1
    assert [output.name for output in result.images] == ["lab/a_00001_.png"]
    (warning,) = [one for one in result.warnings if "no longer knows the job" in one]
    assert warning.endswith("The files that it had named were fetched.")


def test_a_missing_history_is_a_warning_that_outputs_may_be_missing() -> None:
    with ComfyUI(history_late=99, mute_outputs=1) as server:
        result = run_request(server, TWO_OUTPUTS, poll_seconds=10)
    assert len(result.images) == 1
    assert result.warnings[0] == (
        f"{server.url} does not have the history of the job, which may have made more."
    )


def _left_behind(server: ComfyUI, graph: dict[str, Any] = SAMPLED) -> Ticket:
    """The ticket of a job whose caller died after the server had named its files."""
    tickets: list[Ticket] = []

    def note(progress: Progress) -> None:
        if progress.ticket is not None:
            tickets.append(progress.ticket)

    run_request(server, graph, on_progress=note)
    return tickets[-1]


def test_a_file_that_was_named_is_fetched_by_another_process_after_a_restart() -> None:
    with ComfyUI() as server:
        ticket = _left_behind(server)
        server.restart(empty=True)
        with closing(open_comfyui(server.url)) as backend:
            result = backend.collect(ticket, no_progress)
        assert len(server.prompts) == 1
    assert [(output.name, output.seed) for output in result.images] == [("lab/a_00001_.png", 7)]
    assert "does not know the job" in result.warnings[-1]


@pytest.mark.parametrize("graph", [SAMPLED, PREVIEWED], ids=["deleted", "a preview"])
def test_a_named_file_that_was_deleted_is_lost(graph: dict[str, Any]) -> None:
    with ComfyUI() as server:
        ticket = _left_behind(server, graph)
        server.restart(empty=True)
        server.files.clear("output")
        with closing(open_comfyui(server.url, graph)) as backend, pytest.raises(Lost) as caught:
            backend.collect(ticket, no_progress)
    assert (caught.value.is_certain, caught.value.never_ran) == (True, False)


def test_a_named_file_that_is_refused_now_is_not_lost() -> None:
    with ComfyUI() as server:
        ticket = _left_behind(server)
        server.restart(empty=True)
        server.switches = ComfyUI(
            http_errors=(GatewayAnswer(path="/view", times=99, **_INSTEAD["no access"]),)
        ).switches
        with closing(open_comfyui(server.url)) as backend, pytest.raises(Lost) as caught:
            backend.collect(ticket, no_progress)
    assert not caught.value.is_certain


def test_another_image_under_the_same_name_is_not_accepted() -> None:
    with ComfyUI() as server:
        ticket = _left_behind(server)
        server.restart(empty=True)
        server.files.clear("output")
        run_request(server, request=REQUEST.with_values({"seed": 8}))
        with (
            closing(open_comfyui(server.url)) as backend,
            pytest.raises(Lost, match="does not know"),
        ):
            backend.collect(ticket, no_progress)


def _png_that_says(prompt: str) -> bytes:
    info, file = PngInfo(), BytesIO()
    info.add_text("prompt", prompt)
    Image.new("RGB", (1, 1)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


@pytest.mark.parametrize(
    ("prompt", "is_ours"),
    [
        pytest.param(json.dumps(SAMPLED), True, id="the graph"),
        pytest.param("{}", True, id="an empty graph"),
        pytest.param("{", True, id="not JSON"),
        pytest.param(json.dumps(PREVIEWED), False, id="another graph"),
    ],
)
def test_is_from_graph_compares_the_embedded_graph(prompt: str, is_ours: bool) -> None:
    assert is_from_graph(SAMPLED, _png_that_says(prompt)) is is_ours


def test_a_file_of_an_unknown_type_is_an_octet_stream() -> None:
    odd = GatewayAnswer(path="/view", status=200, body="odd", content_type="")
    with ComfyUI(http_errors=(odd,)) as server, closing(open_comfyui(server.url)) as backend:
        things = [ComfyFile("9", 0, "made.unheard-of", "", "output")]
        (output,), missing = fetch_outputs(backend.client(), things, lambda: None)
    assert (output.data, output.media_type, missing) == (b"odd", "application/octet-stream", [])
