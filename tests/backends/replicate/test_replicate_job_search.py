"""A prediction whose submission was not answered is found by input and creation time."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.replicate_backend import replicate_config

from imagen.backends.replicate.client import Prediction, RecentPredictions, ReplicateClient
from imagen.backends.replicate.job import ReplicateJob, find_prediction
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.core.ticket import Ticket
from imagen.errors import Cancelled, Failed, Lost

if TYPE_CHECKING:
    from imagen.backends.replicate.config import ReplicateConfig
    from imagen.core.result import Progress

pytestmark = pytest.mark.usefixtures("replicate_token")

_BEGAN = datetime(2026, 11, 21, 6, 0, 0, tzinfo=UTC)
_VALUES = {"prompt": "a fox", "seed": 7, "image": "data:image/png;base64,AAAA"}
_OURS = Prediction(
    id="ours",
    status="starting",
    model="acme/painter",
    version="0" * 64,
    input=_VALUES | {"image": "https://replicate.example/file"},
    created_at=_BEGAN,
)


class _Listing(ReplicateClient):
    """Has made these, by a clock that may be wrong."""

    def __init__(self, config: ReplicateConfig, ahead: float, *made: Prediction) -> None:
        super().__init__(config)
        self._made, self._ahead = list(made), timedelta(seconds=ahead)
        self.since: datetime | None = None

    def recent(self, since: datetime) -> RecentPredictions:
        self.since = since
        return RecentPredictions(self._made, self._ahead, is_complete=True)


def _found(
    *made: Prediction,
    model: str = "acme/painter",
    ahead: float = 0.0,
    values: dict[str, Any] = _VALUES,
) -> str | None:
    config = replicate_config("https://api.replicate.com/v1", model=model)
    with closing(_Listing(config, ahead, *made)) as client:
        found = find_prediction(client, config.reference, values, _BEGAN)
        assert client.since == _BEGAN - timedelta(seconds=2)
    return found.id if found else None


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["a", "b"], "ours"),
        (["a", "c"], None),
        (["a"], None),
        (["a", "b", "c"], None),
        ("ab", None),
        (None, None),
    ],
)
def test_list_inputs_are_compared_item_by_item(there: Any, found: str | None) -> None:
    made = replace(_OURS, input=_VALUES | {"words": there})
    assert _found(made, values=_VALUES | {"words": ["a", "b"]}) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param({}, "ours", id="the same"),
        pytest.param({"status": "succeeded"}, "ours", id="one that has ended"),
        pytest.param({"status": "canceled"}, None, id="one that was cancelled"),
        pytest.param({"status": "aborted"}, None, id="one that was cancelled while it waited"),
        pytest.param({"model": "acme/other"}, None, id="another model's"),
        pytest.param({"version": "1" * 64}, "ours", id="a later version"),
        pytest.param({"input": {**_VALUES, "seed": 8}}, None, id="another seed"),
        pytest.param({"input": {"prompt": "a fox"}}, None, id="too little"),
        pytest.param({"input": {**_VALUES, "prompt": "a red fox"}}, None, id="a longer prompt"),
        pytest.param({"input": {**_VALUES, "prompt": "a cat"}}, None, id="another prompt"),
        pytest.param({"input": {**_VALUES, "image": None}}, "ours", id="a file that is not kept"),
        pytest.param({"created_at": None}, None, id="nobody knows when"),
        pytest.param({"created_at": _BEGAN - timedelta(seconds=9)}, None, id="made before"),
        pytest.param({"created_at": _BEGAN - timedelta(seconds=2.5)}, None, id="just before"),
        pytest.param({"created_at": _BEGAN - timedelta(seconds=1.5)}, "ours", id="rounded down"),
    ],
)
def test_only_a_prediction_with_the_same_input_and_time_matches(
    changes: dict[str, Any], found: str | None
) -> None:
    assert _found(replace(_OURS, **changes)) == found


def test_a_pinned_version_matches_no_other_version() -> None:
    model = f"acme/painter:{'0' * 64}"
    assert _found(_OURS, model=model) == "ours"
    assert _found(replace(_OURS, version="1" * 64), model=model) is None


def test_a_deployment_matches_any_model_that_it_runs() -> None:
    assert _found(replace(_OURS, model="acme/inner"), model="deployments/acme/studio") == "ours"


def test_the_oldest_of_equal_predictions_matches() -> None:
    assert _found(replace(_OURS, id="later"), _OURS) == "ours"


class _Late(_Listing):
    """Lists what was made only when it is asked again."""

    def recent(self, since: datetime) -> RecentPredictions:
        listed = super().recent(since)
        self._made = [replace(_OURS, status="failed", created_at=datetime.now(UTC))]
        return listed


def test_resuming_waits_for_a_prediction_that_is_listed_late() -> None:
    config = replicate_config("https://api.replicate.com/v1", model="acme/painter")
    sent = _ticket(began=datetime.now(UTC).isoformat())
    with closing(_Late(config, 0.0)) as client, pytest.raises(Failed):
        ReplicateJob(sent, client, config, no_progress).run()


class _Vanishing(_Listing):
    """Lists nothing, and is too long to be searched the second time."""

    def recent(self, since: datetime) -> RecentPredictions:
        is_complete, self.since = self.since is None, since
        return RecentPredictions([], timedelta(), is_complete=is_complete)


def _ticket(**sent: Any) -> Ticket:
    ticket = Ticket(
        id="5b6c8e5e-0000-4000-8000-000000000001",
        backend="cloud",
        request=Request(prompt="a fox"),
        receipt={},
        payload={"input": _VALUES},
    )
    return ticket.sent(**sent)


def test_cancelling_a_job_that_cannot_be_found_says_that_it_may_still_run() -> None:
    def cancel(_: Progress) -> None:
        raise Cancelled

    config = replicate_config("https://api.replicate.com/v1", model="acme/painter", poll_seconds=3)
    sent = _ticket(began=datetime.now(UTC).isoformat())
    with closing(_Vanishing(config, 0.0)) as client, pytest.raises(Cancelled) as caught:
        ReplicateJob(sent, client, config, cancel).run()
    assert not caught.value.is_stopped
    assert caught.value.remedy.startswith("Replicate may have the job: The job is not among")


def test_a_ticket_without_its_submission_time_is_lost() -> None:
    config = replicate_config("https://api.replicate.com/v1", model="acme/painter")
    with (
        closing(_Listing(config, 0.0)) as client,
        pytest.raises(Lost, match="does not say when it was submitted") as caught,
    ):
        ReplicateJob(_ticket(client="x"), client, config, no_progress).run()
    assert caught.value.is_certain


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_clock_that_is_wrong_by_an_hour_does_not_matter(ahead: float) -> None:
    made = replace(_OURS, created_at=_BEGAN + timedelta(seconds=ahead))
    before = replace(made, id="before", created_at=_BEGAN + timedelta(seconds=ahead - 9))
    assert _found(made, before, ahead=ahead) == "ours"
