"""A prediction is followed to its end, and found again after a crash."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import Replicate, ReplicateSwitches
from support.replicate_backend import REQUEST, collect_progress, generate, open_replicate

from imagen.core.result import no_progress
from imagen.errors import BackendError, Failed, Lost, Rejected, TimedOut, Unavailable

if TYPE_CHECKING:
    from imagen.core.result import Progress, Result
    from imagen.core.ticket import Ticket

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHNELL = "black-forest-labs/flux-schnell"


def _ticket_after_kill(cloud: Replicate, which: int, **block: Any) -> Ticket:
    """The ticket that is on disk if the process is killed after its n-th report."""
    tickets = [p.ticket for p in collect_progress(cloud, **block) if p.ticket is not None]
    return tickets[which]


def _resume(cloud: Replicate, ticket: Ticket, **block: Any) -> Result:
    with closing(open_replicate(cloud.url, **block)) as engine:
        return engine.collect(ticket, no_progress)


@pytest.mark.parametrize(
    ("switches", "error", "words"),
    [
        pytest.param({"end": "failed"}, Failed, "out of paint", id="failed"),
        pytest.param(
            {"end": "failed", "error": "NSFW content detected. Try running it again."},
            Rejected,
            "safety filter rejected the image: NSFW content detected",
            id="the content filter",
        ),
        pytest.param(
            {"end": "failed", "error": "CUDA out of memory (E1001)"}, Failed, "E1001", id="memory"
        ),
        pytest.param({"end": "canceled"}, Failed, "by someone else", id="cancelled by others"),
        pytest.param({"end": "aborted"}, TimedOut, "Replicate stopped", id="aborted"),
        pytest.param({"removed": True}, Lost, "has deleted the images", id="removed"),
        pytest.param({"forgotten": True, "seconds": 9}, Lost, "does not know", id="forgotten"),
        pytest.param({"shape": "nothing"}, Failed, "without an image", id="no output"),
        pytest.param({"shape": "words"}, Failed, "image: I paint no such thing", id="text instead"),
        pytest.param({"gone": True}, Lost, "no longer has a file", id="deleted files"),
    ],
)
def test_each_failure_has_its_error(
    switches: dict[str, Any], error: type[BackendError], words: str
) -> None:
    with Replicate(**switches) as cloud, pytest.raises(error, match=words) as caught:
        generate(cloud, model=_SCHNELL)
    assert type(caught.value) is error


def test_a_resumed_prediction_that_was_cancelled_names_nobody() -> None:
    with Replicate() as cloud:
        ticket = _ticket_after_kill(cloud, -1, model=_SCHNELL)
        cloud.jobs.newest_first()[0].switches = ReplicateSwitches(end="canceled")
        with pytest.raises(Failed, match=r"The prediction \w+ was cancelled\.$"):
            _resume(cloud, ticket, model=_SCHNELL)


def test_a_prediction_stopped_at_its_deadline_is_a_timeout() -> None:
    with Replicate() as cloud:
        ticket = _ticket_after_kill(cloud, -1, model=_SCHNELL)
        job = cloud.jobs.newest_first()[0]
        job.created -= 100
        job.deadline = job.created + 60
        job.switches = ReplicateSwitches(seconds=1000)
        with pytest.raises(TimedOut, match="took more than 60 s"):
            _resume(cloud, ticket, model=_SCHNELL)


def test_progress_is_read_from_the_predictions_log() -> None:
    with Replicate(seconds=1.5) as cloud:
        running = [p for p in collect_progress(cloud, wait_seconds=0) if p.stage == "running"]
    assert {p.steps for p in running} == {3}
    assert {p.step for p in running} <= {0, 1, 2, 3}
    assert max(p.fraction for p in running) >= 0.6


def test_temporary_errors_of_the_api_do_not_resubmit() -> None:
    with Replicate(unsteady=2, seconds=0.5) as cloud:
        assert len(generate(cloud, model=_SCHNELL, wait_seconds=0).images) == 1
    assert cloud.submissions == 1


def test_an_api_that_becomes_unreachable_leaves_the_job_to_be_resumed() -> None:
    def unplug(progress: Progress) -> None:
        if progress.stage == "running":
            cloud.stop()

    with (
        Replicate(seconds=60) as cloud,
        pytest.raises(Lost, match=r"for 1 seconds|went away") as caught,
    ):
        generate(cloud, REQUEST, unplug, model=_SCHNELL, lost_seconds=1)
    assert not caught.value.is_certain


def test_a_job_is_resumed_by_its_prediction_id() -> None:
    with Replicate() as cloud:
        ticket = _ticket_after_kill(cloud, -1)
        assert len(_resume(cloud, ticket).images) == 1
    assert cloud.submissions == 1


def test_a_job_killed_during_submission_is_found_by_its_input() -> None:
    with Replicate() as cloud:
        ticket = _ticket_after_kill(cloud, 0)
        assert "prediction_id" not in ticket.engine
        assert len(_resume(cloud, ticket).images) == 1
    assert cloud.submissions == 1


def test_a_job_that_never_arrived_is_certainly_lost() -> None:
    with Replicate() as cloud, Replicate() as other:
        ticket = _ticket_after_kill(cloud, 0)
        with pytest.raises(Lost, match="it never arrived there") as caught:
            _resume(other, ticket)
    assert (caught.value.is_certain, other.submissions) == (True, 0)


def test_a_job_is_found_behind_150_newer_predictions() -> None:
    with Replicate() as cloud:
        ticket = _ticket_after_kill(cloud, 0)
        first = cloud.jobs.newest_first()[0]
        _add_predictions(cloud, first, 150)
        again = _resume(cloud, ticket)
    assert again.facts.engine["prediction_id"] == first.id


def test_a_job_behind_1000_newer_predictions_is_not_certainly_lost() -> None:
    with Replicate() as cloud:
        ticket = _ticket_after_kill(cloud, 0)
        _add_predictions(cloud, cloud.jobs.newest_first()[0], 1000)
        with pytest.raises(Lost, match="not among the last 1000 predictions") as caught:
            _resume(cloud, ticket)
    assert not caught.value.is_certain


def _add_predictions(cloud: Replicate, like: Any, count: int) -> None:
    """Add newer predictions."""
    from dataclasses import replace

    for number in range(count):
        cloud.jobs.add(replace(like, id=f"other{number}", input={"prompt": "another"}))


def test_the_facts_hold_times_size_and_cost() -> None:
    with Replicate(seconds=0.25) as cloud:
        began = time.monotonic()
        result = generate(cloud, REQUEST.with_values({"count": 2}), model=_SCHNELL)
        elapsed = time.monotonic() - began
    facts = result.facts
    assert facts.latency_seconds is not None
    assert 0.25 <= facts.latency_seconds <= elapsed
    assert (facts.model, facts.seed, facts.steps) == (_SCHNELL, 7, 3)
    assert (facts.width, facts.height) == (96, 72)
    assert facts.executing_seconds == 0.25
    assert facts.cost_usd == 0.006
    assert facts.cost_basis == (
        "2 × $0.003 per image (estimate, Replicate's prices of 2026-09-16)."
    )
    assert [(one.index, one.media_type) for one in result.images] == [
        (0, "image/png"),
        (1, "image/png"),
    ]


def test_an_unknown_cost_is_none() -> None:
    with Replicate() as cloud:
        facts = generate(cloud).facts
    assert facts.cost_usd is None
    assert facts.cost_basis == "The price is not in imagen's table: see the model's page."


def test_a_random_seed_is_read_from_the_predictions_log() -> None:
    with Replicate() as cloud:
        result = generate(cloud, REQUEST.model_copy(update={"seed": None}))
    assert (result.facts.seed, result.images[0].seed) == (4242, 4242)


def test_fewer_images_than_requested_give_a_warning() -> None:
    with Replicate(shape="one") as cloud:
        result = generate(cloud, REQUEST.with_values({"count": 3}))
    assert result.warnings == ("3 images were requested; the model made 1.",)


def test_resuming_without_the_api_leaves_the_job_running() -> None:
    with Replicate() as cloud:
        ticket = _ticket_after_kill(cloud, -1, model=_SCHNELL)
        job = cloud.jobs.newest_first()[0]
        job.switches = ReplicateSwitches(seconds=60)
        cloud.switches = ReplicateSwitches(unsteady=4)
        with pytest.raises(Unavailable, match="is unavailable: 503"):
            _resume(cloud, ticket, model=_SCHNELL)
        assert job.status() == "processing"


def test_polls_pause_between_each_other() -> None:
    with Replicate(seconds=1.2) as cloud:
        generate(cloud, model=_SCHNELL, poll_seconds=0.5)
    asked = [s for s in cloud.requests if s.method == "GET" and "/predictions/" in s.path]
    assert 1 <= len(asked) <= 5
