"""The client of Replicate's API checks every answer."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.raw_server import OK, RawServer, read_request
from support.replicate_backend import cancel_job, replicate_config
from support.webhook_receiver import Receiver

from imagen.backends.replicate.client import ReplicateClient
from imagen.errors import BackendError, Rejected
from imagen.testing.http_server import HttpAnswer, json_answer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from imagen.backends.replicate.client import RecentPredictions

pytestmark = pytest.mark.usefixtures("replicate_token")

_SINCE = datetime(2026, 11, 21, 6, 0, 0, tzinfo=UTC)


class _ListRequests(NamedTuple):
    recent: RecentPredictions
    pages: int
    """The number of pages that were requested."""


def _read_list(*headers: str, made: tuple[datetime, ...] = (_SINCE,)) -> _ListRequests:
    """Read a list with these headers, whose pages hold one prediction each."""
    asked: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        while head := read_request(connection):
            asked.append(head)
            body = _page(made[len(asked) - 1], has_more=len(asked) < len(made))
            named = [*headers, f"Content-Length: {len(body)}", "", ""]
            connection.sendall(OK + "\r\n".join(named).encode() + body)

    with (
        RawServer(behave) as server,
        closing(ReplicateClient(replicate_config(server.url))) as client,
    ):
        return _ListRequests(client.recent(_SINCE), len(asked))


def _page(at: datetime, *, has_more: bool) -> bytes:
    made = {"id": "abc", "status": "succeeded", "created_at": at.isoformat()}
    following = "https://elsewhere.example/v1/predictions?cursor=2" if has_more else None
    return json.dumps({"results": [made], "next": following}).encode()


def _date_header(ahead: timedelta) -> str:
    return f"Date: {format_datetime(datetime.now(UTC) + ahead, usegmt=True)}"


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_offset_is_read_from_the_date_header(hours: int) -> None:
    ahead = timedelta(hours=hours)
    assert abs(_read_list(_date_header(ahead)).recent.clock_offset - ahead) < timedelta(seconds=30)


@pytest.mark.parametrize("headers", [(), ("Date: at noon",), ("Date: ",)])
def test_without_a_date_header_the_clock_offset_is_zero(headers: tuple[str, ...]) -> None:
    assert _read_list(*headers).recent.clock_offset == timedelta()


@pytest.mark.parametrize(
    ("ahead", "first", "pages"),
    [
        pytest.param(0, -60, 1, id="older"),
        pytest.param(0, 60, 2, id="newer"),
        pytest.param(1, 1800, 1, id="older by the clock of the API"),
        pytest.param(-1, -1800, 2, id="newer by the clock of the API"),
    ],
)
def test_pages_are_read_until_a_prediction_is_older_by_the_apis_clock(
    ahead: int, first: int, pages: int
) -> None:
    made = _SINCE + timedelta(seconds=first), _SINCE - timedelta(days=1)
    found = _read_list(_date_header(timedelta(hours=ahead)), made=made)
    assert (found.pages, len(found.recent.predictions), found.recent.is_complete) == (
        pages,
        pages,
        True,
    )


_HIDDEN = json_answer({"owner": "acme", "name": "painter", "latest_version": {"id": "hidden"}})


@pytest.mark.parametrize(
    ("answers", "ask", "kind", "message"),
    [
        pytest.param(
            [HttpAnswer(status=404), _HIDDEN],
            lambda client: client.create({}),
            Rejected,
            "acme/painter cannot be run: it has no version at Replicate.",
            id="a hidden version",
        ),
        pytest.param(
            [json_answer({"id": "abc"})],
            lambda client: client.get("abc"),
            BackendError,
            "does not answer like Replicate's API.",
            id="not a prediction",
        ),
        pytest.param(
            [HttpAnswer(status=413)],
            lambda client: client.upload(b"x", "a.png", "image/png"),
            Rejected,
            "a.png is too large: Replicate takes files up to 100 MB.",
            id="a file that is too large",
        ),
        pytest.param(
            [json_answer({"id": "file", "urls": {}})],
            lambda client: client.upload(b"x", "a.png", "image/png"),
            BackendError,
            "took a file and did not say where it is.",
            id="a file without an address",
        ),
        pytest.param(
            [json_answer({"urls": {"get": "https://x"}})],
            lambda client: client.upload(b"x", "a.png", "image/png"),
            BackendError,
            "took a file and did not say where it is.",
            id="a file without an id",
        ),
    ],
)
def test_an_unusable_answer_is_an_error(
    answers: list[HttpAnswer],
    ask: Callable[[ReplicateClient], object],
    kind: type[BackendError],
    message: str,
) -> None:
    with (
        Receiver(*answers) as there,
        closing(ReplicateClient(replicate_config(there.url, model="acme/painter"))) as client,
        pytest.raises(BackendError) as caught,
    ):
        ask(client)
    assert type(caught.value) is kind
    assert caught.value.message.endswith(message)


def test_a_deployment_without_a_model_is_an_unexpected_answer() -> None:
    release = {"model": "../..", "version": "x"}
    config = replicate_config("http://127.0.0.1", model="deployments/acme/studio")
    with Receiver(json_answer({"current_release": release})) as there:
        config = config.model_copy(update={"base_url": there.url})
        with closing(ReplicateClient(config)) as client, pytest.raises(BackendError) as caught:
            client.model_info(config.reference)
    assert caught.value.message.endswith("does not answer like Replicate's API.")


_DONE: dict[str, Any] = {"id": "abc", "status": "succeeded"}


@pytest.mark.parametrize(
    ("answers", "doubt"),
    [
        pytest.param(
            [json_answer(_DONE), json_answer(_DONE)],
            "The job was finished before it could be cancelled.",
            id="made",
        ),
        pytest.param(
            [json_answer(_DONE), json_answer(_DONE | {"data_removed": True})], "", id="removed"
        ),
        pytest.param([json_answer(_DONE), HttpAnswer(status=404)], "", id="forgotten since"),
        pytest.param([HttpAnswer(status=404), HttpAnswer(status=404)], "", id="forgotten"),
    ],
)
def test_cancelling_an_ended_prediction_mentions_images_only_if_they_exist(
    answers: list[HttpAnswer], doubt: str
) -> None:
    with (
        Receiver(*answers) as there,
        closing(ReplicateClient(replicate_config(there.url))) as client,
    ):
        assert cancel_job(client, lambda: "abc") == doubt
        assert {seen.method for seen in there.requests} == {"GET"}
