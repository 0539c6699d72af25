"""Images are uploaded under names made of their content."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.comfyui_backends import REQUEST, request_paths
from support.comfyui_tasks import (
    IMAGE_TO_IMAGE,
    UNREACHABLE_URL,
    name_in_graph,
    only_image,
    open_workflow,
    write_image,
    write_workflow,
)

from imagen.backends.comfyui import client
from imagen.core.result import no_progress
from imagen.core.ticket import Ticket
from imagen.errors import BackendError, Cancelled, Rejected, RequestError, Unavailable
from imagen.testing.comfyui import ComfyUI, GatewayAnswer

if TYPE_CHECKING:
    from imagen.core.request import Request
    from imagen.core.result import Progress


@pytest.fixture(autouse=True)
def shelf() -> None:
    """A workflow that redraws an image."""
    write_workflow("redraw", IMAGE_TO_IMAGE)


def asked(path: str) -> Request:
    """A request to redraw a little of this image."""
    return REQUEST.with_values({"image": path, "strength": 0.0})


def test_an_image_is_uploaded_under_a_name_made_of_its_content() -> None:
    path = write_image("me.png")
    with ComfyUI() as server, closing(open_workflow(server.url, "redraw")) as backend:
        result = backend.collect(backend.prepare(asked(path)), no_progress)
        name = name_in_graph(path).removeprefix("imagen/")
        assert server.files.get("input", "imagen", name) == Path(path).read_bytes()
        assert server.prompts[0]["prompt"]["10"]["inputs"]["image"] == name_in_graph(path)
    assert only_image(result).getpixel((5, 5)) == (0, 128, 128)


def test_prepare_sends_nothing_and_lists_the_uploads() -> None:
    path = write_image("me.png")
    ticket = open_workflow(UNREACHABLE_URL, "redraw").prepare(asked(path))
    assert ticket.payload["10"]["inputs"]["image"] == name_in_graph(path)
    (upload,) = ticket.engine["uploads"].values()
    assert upload["path"] == str(Path("me.png").absolute())
    assert name_in_graph(path)[14:46] == upload["sha256"][:32]


def test_a_request_without_images_has_no_uploads() -> None:
    assert "uploads" not in open_workflow(UNREACHABLE_URL, "sd15").prepare(REQUEST).engine


def test_a_file_renamed_by_the_server_is_used_by_its_new_name() -> None:
    path = write_image("me.png")
    told: list[Progress] = []
    with (
        ComfyUI(rename_upload=True) as server,
        closing(open_workflow(server.url, "redraw")) as backend,
    ):
        result = backend.collect(backend.prepare(asked(path)), told.append)
        sent = server.prompts[0]["prompt"]["10"]["inputs"]["image"]
    tickets = [progress.ticket for progress in told if progress.ticket is not None]
    assert sent == name_in_graph(path).replace(".png", " (1).png")
    assert tickets[-1].payload["10"]["inputs"]["image"] == sent
    assert only_image(result).getpixel((5, 5)) == (0, 128, 128)


def test_one_image_used_twice_is_uploaded_once() -> None:
    graph = IMAGE_TO_IMAGE | {"12": {"class_type": "LoadImage", "inputs": {"image": "$<other>"}}}
    write_workflow(
        "twice", graph, {"task": "image-to-image", "parameters": {"other": {"type": "image"}}}
    )
    path = write_image("me.png")
    with ComfyUI() as server, closing(open_workflow(server.url, "twice")) as backend:
        ticket = backend.prepare(asked(path).with_values({"other": path}))
        backend.collect(ticket, no_progress)
        assert request_paths(server).count("/upload/image") == 1


def test_a_ticket_from_disk_holds_its_uploads() -> None:
    path = write_image("me.png")
    with ComfyUI() as server, closing(open_workflow(server.url, "redraw")) as backend:
        text = backend.prepare(asked(path)).model_dump_json()
    with ComfyUI() as server, closing(open_workflow(server.url, "redraw")) as later:
        result = later.collect(Ticket.model_validate_json(text), no_progress)
    assert len(result.images) == 1


def test_a_file_that_changed_since_prepare_is_refused() -> None:
    path = write_image("me.png")
    with ComfyUI() as server, closing(open_workflow(server.url, "redraw")) as backend:
        ticket = backend.prepare(asked(path))
        write_image("me.png", "red")
        with pytest.raises(RequestError, match=r"me\.png has changed since the job was prepared"):
            backend.collect(ticket, no_progress)
        assert server.prompts == []


def test_a_file_deleted_since_prepare_says_to_repeat_the_command() -> None:
    path = write_image("me.png")
    with ComfyUI() as server, closing(open_workflow(server.url, "redraw")) as backend:
        ticket = backend.prepare(asked(path))
        Path(path).unlink()
        with pytest.raises(RequestError, match=r"upload: there is no file .*me\.png") as caught:
            backend.collect(ticket, no_progress)
    assert caught.value.remedy == "No job was submitted. Run the command again."


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RequestError, match=r"image: there is no file gone\.png"):
        open_workflow(UNREACHABLE_URL, "redraw").prepare(asked("gone.png"))


def test_an_image_that_is_too_large_says_how_to_raise_the_limit() -> None:
    path = write_image("me.png")
    with (
        ComfyUI(largest_body=100) as server,
        closing(open_workflow(server.url, "redraw")) as backend,
    ):
        ticket = backend.prepare(asked(path))
        with pytest.raises(Rejected) as caught:
            backend.collect(ticket, no_progress)
    assert "does not accept an image as large as 0.0 MB" in caught.value.message
    assert "--max-upload-size" in caught.value.remedy


def test_an_upload_is_repeated_after_a_server_error() -> None:
    path = write_image("me.png")
    trouble = GatewayAnswer(status=503, path="/upload/image", times=1)
    with (
        ComfyUI(http_errors=(trouble,)) as server,
        closing(open_workflow(server.url, "redraw")) as backend,
    ):
        result = backend.collect(backend.prepare(asked(path)), no_progress)
        assert request_paths(server).count("/upload/image") == 2
    assert len(result.images) == 1


def test_a_ticket_whose_uploads_failed_is_not_submitted() -> None:
    path = write_image("me.png")
    told: list[Progress] = []
    with ComfyUI() as server:
        pass
    with closing(open_workflow(server.url, "redraw")) as backend, pytest.raises(Unavailable):
        backend.collect(backend.prepare(asked(path)), told.append)
    assert [progress.ticket for progress in told if progress.ticket is not None] == []


def test_cancelling_during_uploads_submits_nothing() -> None:
    path = write_image("me.png")

    def cancel(_: Progress) -> None:
        raise Cancelled

    with ComfyUI(slow=1.2) as server, closing(open_workflow(server.url, "redraw")) as backend:
        ticket = backend.prepare(asked(path))
        with pytest.raises(Cancelled):
            backend.collect(ticket, cancel)
        assert server.prompts == []


@pytest.mark.parametrize(
    ("default", "tasks"),
    [
        ("example.png", {"image-to-image", "text-to-image"}),
        (None, {"image-to-image"}),
    ],
    ids=["with an image of its own", "without"],
)
def test_a_workflow_with_a_default_image_needs_none(default: str | None, tasks: set[str]) -> None:
    image = {"type": "image", "default": default}
    write_workflow(
        "own", IMAGE_TO_IMAGE, {"task": "image-to-image", "parameters": {"image": image}}
    )
    known = open_workflow(UNREACHABLE_URL, "own").capabilities()
    assert set(known.tasks) & {"text-to-image", "image-to-image"} == tasks


def test_a_default_image_is_a_file_of_the_server() -> None:
    write_workflow(
        "own",
        IMAGE_TO_IMAGE,
        {
            "task": "image-to-image",
            "parameters": {
                "image": {"type": "image", "default": "example.png"},
                "strength": {"type": "float", "default": 0.5},
            },
        },
    )
    ticket = open_workflow(UNREACHABLE_URL, "own").prepare(
        REQUEST.with_values({"image": "example.png"})
    )
    assert ticket.payload["10"]["inputs"]["image"] == "example.png"
    assert "uploads" not in ticket.engine


@pytest.mark.parametrize(
    ("said", "literal"),
    [
        ({"name": "a.png", "subfolder": "x", "type": "input"}, "x/a.png"),
        ({"name": "a.png", "subfolder": "", "type": "input"}, "a.png"),
        ({"name": "a.png", "type": "temp"}, "a.png [temp]"),
    ],
    ids=["subfolder", "none", "another folder"],
)
def test_the_answer_to_an_upload_holds_the_name_for_the_graph(said: object, literal: str) -> None:
    assert client.parse_upload_name(said) == literal


@pytest.mark.parametrize("said", [{"name": 7}, {"error": "full"}, []])
def test_an_answer_without_a_name_is_not_an_upload(said: object) -> None:
    with pytest.raises(ValueError, match="no name"):
        client.parse_upload_name(said)


def test_an_answer_without_a_file_is_not_from_comfyui() -> None:
    path = write_image("me.png")
    other = GatewayAnswer(status=200, path="/upload/image", times=9)
    with (
        ComfyUI(http_errors=(other,)) as server,
        closing(open_workflow(server.url, "redraw")) as backend,
    ):
        ticket = backend.prepare(asked(path))
        with pytest.raises(BackendError, match="does not answer like ComfyUI"):
            backend.collect(ticket, no_progress)
