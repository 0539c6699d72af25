"""A job whose caller leaves is cancelled, and the cancellation is confirmed."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from simulators.replicate import Replicate, ReplicateSwitches
from support.replicate_backend import REQUEST, cancel_job, generate, replicate_config

from imagen.backends.replicate import Replicate as Backend
from imagen.backends.replicate.client import ReplicateClient
from imagen.core.result import no_progress
from imagen.errors import Cancelled, TimedOut

if TYPE_CHECKING:
    from imagen.core.result import Progress
    from imagen.core.ticket import Ticket

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHNELL = "black-forest-labs/flux-schnell"


class _CancelAt:
    """Cancels at the n-th progress of a stage."""

    def __init__(self, stage: str, times: int = 1) -> None:
        self._stage = stage
        self._left = times
        self.heard: list[str] = []

    def __call__(self, progress: Progress) -> None:
        self.heard.append(progress.stage)
        self._left -= progress.stage == self._stage
        if not self._left:
            raise Cancelled


def _statuses(cloud: Replicate) -> list[str]:
    return [job.status() for job in cloud.jobs.newest_first()]


def test_a_running_prediction_is_cancelled() -> None:
    with Replicate(seconds=60) as cloud:
        with pytest.raises(Cancelled):
            generate(cloud, REQUEST, _CancelAt("running"), model=_SCHNELL)
        assert _statuses(cloud) == ["canceled"]


def test_a_queued_prediction_is_cancelled() -> None:
    with Replicate(queue_seconds=60) as cloud:
        with pytest.raises(Cancelled):
            generate(cloud, REQUEST, _CancelAt("queued"), model=_SCHNELL)
        assert _statuses(cloud) == ["aborted"]


def test_a_prediction_whose_submission_is_unanswered_is_found_and_cancelled() -> None:
    with Replicate(seconds=60) as cloud:
        with pytest.raises(Cancelled) as caught:
            generate(cloud, REQUEST, _CancelAt("submitted", 3), model=_SCHNELL, wait_seconds=60)
        assert _statuses(cloud) == ["canceled"]
    assert caught.value.remedy == ""


def test_progress_is_reported_while_a_submission_is_unanswered() -> None:
    impatient = _CancelAt("running")
    with Replicate(seconds=60) as cloud, pytest.raises(Cancelled):
        generate(cloud, REQUEST, impatient, model=_SCHNELL, wait_seconds=2)
    assert impatient.heard.count("submitted") >= 4


def test_a_submission_waiting_for_its_retry_is_given_up() -> None:
    before = set(threading.enumerate())
    with Replicate(throttled=9, throttle_seconds=30) as cloud:
        with pytest.raises(Cancelled):
            generate(cloud, REQUEST, _CancelAt("submitted", 3), model=_SCHNELL)
        assert cloud.submissions == 0
    new = set(threading.enumerate()) - before
    assert [thread.name for thread in new if "(_run)" in thread.name] == []


def test_ctrl_c_cancels_the_prediction() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.stage == "running":
            raise KeyboardInterrupt

    with Replicate(seconds=60) as cloud:
        with pytest.raises(KeyboardInterrupt):
            generate(cloud, REQUEST, interrupt, model=_SCHNELL)
        assert _statuses(cloud) == ["canceled"]


def test_a_prediction_over_its_deadline_is_cancelled() -> None:
    with Replicate(seconds=60) as cloud:
        config = replicate_config(cloud.url, model=_SCHNELL, wait_seconds=0)
        hasty = Backend(config.model_copy(update={"total_seconds": 0.2}))
        with closing(hasty), pytest.raises(TimedOut, match=r"took more than 0\.2 s in all"):
            hasty.collect(hasty.prepare(REQUEST), no_progress)
        assert _statuses(cloud) == ["canceled"]


def test_an_unconfirmed_cancellation_is_reported() -> None:
    with Replicate(seconds=60, late=True) as cloud, closing(_client(cloud)) as client:
        id = client.create({"prompt": "x"}).id
        doubt = cancel_job(client, lambda: id, cancel_seconds=0.1)
    assert doubt == (
        "Replicate was asked to cancel the job and did not confirm it. "
        "It ends by itself after 60 s."
    )


def test_cancel_requests_pause_between_each_other() -> None:
    with Replicate(seconds=60, late=True) as cloud, closing(_client(cloud)) as client:
        id = client.create({"prompt": "x"}).id
        cancel_job(client, lambda: id, cancel_seconds=0.5)
    rounds = [seen for seen in cloud.requests if seen.path.endswith("/cancel")]
    assert 1 <= len(rounds) <= 6  # after 0, 0.05, 0.15, 0.35, 0.75 s


def test_a_finished_prediction_is_not_cancelled_but_reported() -> None:
    with Replicate() as cloud, closing(_client(cloud)) as client:
        id = client.create({"prompt": "x"}).id
        doubt = cancel_job(client, lambda: id)
        assert doubt == "The job was finished before it could be cancelled."
    assert [seen.path for seen in cloud.requests if seen.path.endswith("/cancel")] == []


def test_a_prediction_that_is_not_listed_yet_is_searched_again() -> None:
    with Replicate(seconds=60) as cloud, closing(_client(cloud)) as client:
        found = iter(["", client.create({"prompt": "x"}).id])
        doubt = cancel_job(client, lambda: next(found), is_settled=lambda: False)
        assert (doubt, _statuses(cloud)) == ("", ["canceled"])


def test_an_unreachable_api_leaves_the_cancellation_in_doubt() -> None:
    with Replicate(seconds=60) as cloud, closing(_client(cloud)) as client:
        id = client.create({"prompt": "x"}).id
        cloud.stop()
        doubt = cancel_job(client, lambda: id)
    assert doubt.startswith("Replicate could not be asked to cancel the job: http://127")


def test_a_job_that_is_being_searched_for_is_cancelled() -> None:
    heard: list[Ticket] = []

    def hear(progress: Progress) -> None:
        heard.extend([progress.ticket] if progress.ticket else [])

    def cancel(_: Progress) -> None:
        raise Cancelled

    with Replicate() as cloud:
        generate(cloud, REQUEST, hear, model=_SCHNELL)
        cloud.jobs.newest_first()[0].switches = ReplicateSwitches(seconds=60)
        again = Backend(replicate_config(cloud.url, model=_SCHNELL))
        with closing(again), pytest.raises(Cancelled):
            again.collect(heard[0], cancel)
        assert _statuses(cloud) == ["canceled"]


def _client(cloud: Replicate) -> ReplicateClient:
    return ReplicateClient(replicate_config(cloud.url, model=_SCHNELL, wait_seconds=0))
