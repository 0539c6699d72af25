"""A prediction whose submission was not answered is found by input and creation time."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.replicate_backend import replicate_config
from support.webhook_receiver import Receiver

from imagen.backends.replicate.client import Prediction, RecentPredictions, ReplicateClient
from imagen.backends.replicate.config import parse_model_reference
from imagen.backends.replicate.job import ReplicateJob, find_prediction
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.core.ticket import Ticket
from imagen.errors import Cancelled, Failed, Lost
from imagen.testing.http_server import HttpAnswer, json_answer

if TYPE_CHECKING:
    from imagen.core.result import OnProgress, Progress

pytestmark = pytest.mark.usefixtures("replicate_token")

_BEGAN = datetime(2026, 11, 21, 6, 0, 0, tzinfo=UTC)
_VALUES = {"prompt": "a fox", "seed": 7, "image": "data:image/png;base64,AAAA"}
_PREDICTION = Prediction(
    id="id1",
    status="starting",
    model="acme/painter",
    version="0" * 64,
    input=_VALUES | {"image": "https://replicate.example/file"},
    created_at=_BEGAN,
)


def _match(
    *listed: Prediction,
    model: str = "acme/painter",
    clock_offset: float = 0.0,
    values: dict[str, Any] = _VALUES,
) -> str | None:
    """The id of the prediction that matches; the API's clock may differ by some seconds."""
    offset = timedelta(seconds=clock_offset)
    recent = RecentPredictions(list(listed), offset, is_complete=True)
    match = find_prediction(recent, parse_model_reference(model), values, _BEGAN)
    return match.id if match else None


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["a", "b"], "id1"),
        (["a", "c"], None),
        (["a"], None),
        (["a", "b", "c"], None),
        ("ab", None),
        (None, None),
    ],
)
def test_list_inputs_are_compared_item_by_item(there: Any, found: str | None) -> None:
    made = replace(_PREDICTION, input=_VALUES | {"words": there})
    assert _match(made, values=_VALUES | {"words": ["a", "b"]}) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param({}, "id1", id="the same"),
        pytest.param({"status": "succeeded"}, "id1", id="ended"),
        pytest.param({"status": "canceled"}, None, id="cancelled"),
        pytest.param({"status": "aborted"}, None, id="cancelled in the queue"),
        pytest.param({"model": "acme/other"}, None, id="another model's"),
        pytest.param({"version": "1" * 64}, "id1", id="a later version"),
        pytest.param({"input": {**_VALUES, "seed": 8}}, None, id="another seed"),
        pytest.param({"input": {"prompt": "a fox"}}, None, id="too little"),
        pytest.param({"input": {**_VALUES, "prompt": "a red fox"}}, None, id="a longer prompt"),
        pytest.param({"input": {**_VALUES, "prompt": "a cat"}}, None, id="another prompt"),
        pytest.param({"input": {**_VALUES, "image": None}}, "id1", id="a file that is not kept"),
        pytest.param({"created_at": None}, None, id="an unknown time"),
        pytest.param({"created_at": _BEGAN - timedelta(seconds=9)}, None, id="created before"),
        pytest.param({"created_at": _BEGAN - timedelta(seconds=2.5)}, None, id="just before"),
        pytest.param({"created_at": _BEGAN - timedelta(seconds=1.5)}, "id1", id="rounded down"),
    ],
)
def test_only_a_prediction_with_the_same_input_and_time_matches(
    changes: dict[str, Any], found: str | None
) -> None:
    assert _match(replace(_PREDICTION, **changes)) == found


def test_a_pinned_version_matches_no_other_version() -> None:
    model = f"acme/painter:{'0' * 64}"
    assert _match(_PREDICTION, model=model) == "id1"
    assert _match(replace(_PREDICTION, version="1" * 64), model=model) is None


def test_a_deployment_matches_any_model_that_it_runs() -> None:
    assert (
        _match(replace(_PREDICTION, model="acme/inner"), model="deployments/acme/studio") == "id1"
    )


def test_the_oldest_of_equal_predictions_matches() -> None:
    assert _match(replace(_PREDICTION, id="later"), _PREDICTION) == "id1"


def _ticket(**engine: Any) -> Ticket:
    """A ticket that was submitted by a process that died."""
    ticket = Ticket(
        id="5b6c8e5e-0000-4000-8000-000000000001",
        backend="cloud",
        request=Request(prompt="a fox"),
        receipt={},
        payload={"input": _VALUES},
    )
    return ticket.sent(**engine)


def _list_answer(*statuses: str, has_more: bool = False) -> HttpAnswer:
    """A page of predictions with this input that were created just now."""
    now = datetime.now(UTC).isoformat()
    one = {"id": "id1", "model": "acme/painter", "input": _VALUES, "created_at": now}
    next_url = "https://api.replicate.com/v1/predictions?cursor=2" if has_more else None
    return json_answer({"results": [one | {"status": s} for s in statuses], "next": next_url})


def _resume(
    ticket: Ticket, *answers: HttpAnswer, on_progress: OnProgress = no_progress, **block: Any
) -> list[str]:
    """Resume a ticket; the paths that were requested."""
    with Receiver(*answers) as server:
        config = replicate_config(server.url, model="acme/painter", **block)
        with closing(ReplicateClient(config)) as client:
            ReplicateJob(ticket, client, config, on_progress).run()
    return [request.path for request in server.requests]


def test_resuming_waits_for_a_prediction_that_is_listed_late() -> None:
    ticket = _ticket(began=datetime.now(UTC).isoformat())
    with pytest.raises(Failed, match="The prediction id1 failed"):
        _resume(ticket, _list_answer(), _list_answer("failed"))


def test_cancelling_a_job_that_cannot_be_found_says_that_it_may_still_run() -> None:
    """The first list is complete, without the job; the second is too long to be searched."""

    def cancel(_: Progress) -> None:
        raise Cancelled

    ticket = _ticket(began=datetime.now(UTC).isoformat())
    long_list = [_list_answer("canceled", has_more=True)] * 10
    with pytest.raises(Cancelled) as caught:
        _resume(ticket, _list_answer(), *long_list, on_progress=cancel, poll_seconds=3)
    assert not caught.value.is_stopped
    assert caught.value.remedy.startswith("Replicate may have the job: The job is not among")


def test_a_ticket_without_its_submission_time_is_lost() -> None:
    with pytest.raises(Lost, match="does not say when it was submitted") as caught:
        _resume(_ticket(client="x"))
    assert caught.value.is_certain


@pytest.mark.parametrize("offset", [-3600.0, 3600.0])
def test_a_clock_that_is_wrong_by_an_hour_does_not_matter(offset: float) -> None:
    made = replace(_PREDICTION, created_at=_BEGAN + timedelta(seconds=offset))
    before = replace(made, id="before", created_at=_BEGAN + timedelta(seconds=offset - 9))
    assert _match(made, before, clock_offset=offset) == "id1"
