"""A request whose answer was lost is not sent again, unless the server knows its key."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from simulators.openai import ImagesServer
from support.images_api import generate, open_images_api

from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import Cancelled, Lost
from imagen.net.threads import Background

if TYPE_CHECKING:
    from imagen.core.result import Progress

REQUEST = Request(prompt="a fox", width=64, height=64)


@pytest.mark.parametrize("way", ["dropped", "reset", "page", "gateway"])
def test_a_lost_answer_is_not_requested_again(way: Any) -> None:
    with ImagesServer(way) as server, pytest.raises(Lost) as caught:
        generate(server)
    assert len(server.keys) == 1
    assert not caught.value.is_certain
    assert "may have been made, and charged" in caught.value.remedy


def test_an_answer_that_is_too_late_is_not_requested_again() -> None:
    with ImagesServer(seconds=30) as server, pytest.raises(Lost, match="does not answer"):
        generate(server, total_seconds=0.3)
    assert len(server.keys) == 1


def test_a_server_that_knows_the_key_is_asked_again() -> None:
    with ImagesServer("dropped_once", idempotent=True) as server:
        assert len(generate(server, server="imagen").images) == 1
        assert server.submissions == 1
        assert len(set(server.keys)) == 1


def test_a_submitted_ticket_is_lost_where_the_api_cannot_be_asked_for_it() -> None:
    with ImagesServer() as server, closing(open_images_api(server.url)) as backend:
        ticket = backend.prepare(REQUEST).sent()
        with pytest.raises(Lost, match="cannot be asked for it again") as caught:
            backend.collect(ticket, no_progress)
        assert server.keys == []
    assert not caught.value.is_certain


def _cancel_when_running(progress: Progress) -> None:
    if progress.stage == "running":
        raise Cancelled


def test_a_cancelled_request_is_ended_and_may_be_charged() -> None:
    with ImagesServer(seconds=30) as server:
        with pytest.raises(Cancelled) as caught:
            generate(server, {}, _cancel_when_running)
        assert not server.is_at_work()
    assert not caught.value.is_stopped
    assert "charge for it" in caught.value.remedy


def test_a_cancelled_request_is_not_sent_again_with_its_key() -> None:
    with ImagesServer(seconds=30, idempotent=True, is_imagen=True) as server:
        with pytest.raises(Cancelled) as caught:
            generate(server, {}, _cancel_when_running, server="imagen")
        assert not server.is_at_work()
        assert len(server.keys) == 1
    assert caught.value.is_stopped


def test_cancelling_a_request_leaves_others_of_the_backend_alone() -> None:
    with ImagesServer(seconds=1.2) as server, closing(open_images_api(server.url)) as backend:
        other = Background(lambda: backend.collect(backend.prepare(REQUEST), no_progress))
        with pytest.raises(Cancelled):
            backend.collect(backend.prepare(REQUEST), _cancel_when_running)
        assert len(other.result().images) == 1
