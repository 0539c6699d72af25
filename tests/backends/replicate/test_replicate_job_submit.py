"""A prediction is created once, whatever happens to the request or the answer."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import COMMUNITY, DEPLOYMENT, TOKEN, Replicate
from simulators.replicate.models import version_of
from support.replicate_backend import (
    REQUEST,
    RecordedPauses,
    collect_progress,
    generate,
    open_replicate,
    replicate_config,
    submit_job,
    submitted_bodies,
)

from imagen.backends.replicate.client import ReplicateClient
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import (
    BackendError,
    Lost,
    RateLimited,
    Rejected,
    RequestError,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.result import Progress

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHNELL = "black-forest-labs/flux-schnell"


def _posted_paths(cloud: Replicate) -> list[str]:
    return [seen.path for seen in cloud.requests if seen.method == "POST"]


@pytest.mark.parametrize(
    ("model", "paths"),
    [
        pytest.param(_SCHNELL, [f"/v1/models/{_SCHNELL}/predictions"], id="official"),
        pytest.param(
            COMMUNITY, [f"/v1/models/{COMMUNITY}/predictions", "/v1/predictions"], id="community"
        ),
        pytest.param(f"{COMMUNITY}:{version_of(COMMUNITY)}", ["/v1/predictions"], id="a version"),
        pytest.param(
            f"deployments/{DEPLOYMENT}",
            [f"/v1/deployments/{DEPLOYMENT}/predictions"],
            id="a deployment",
        ),
    ],
)
def test_each_kind_of_model_has_its_endpoint(model: str, paths: list[str]) -> None:
    with Replicate() as cloud:
        assert len(generate(cloud, model=model).images) == 1
    assert _posted_paths(cloud) == paths


def test_a_community_model_is_run_by_its_latest_version() -> None:
    with Replicate() as cloud:
        generate(cloud)
    assert [body.get("version") for body in submitted_bodies(cloud)] == [
        None,
        version_of(COMMUNITY),
    ]


def test_a_submission_sends_wait_and_deadline() -> None:
    with Replicate() as cloud:
        generate(cloud, model=_SCHNELL, wait_seconds=7)
        generate(cloud, model=_SCHNELL, wait_seconds=0, total_seconds=33)
    sent = [seen.headers for seen in cloud.requests if seen.method == "POST"]
    assert [(h.get("prefer"), h.get("cancel-after")) for h in sent] == [
        ("wait=7", "60s"),
        (None, "33s"),
    ]


@pytest.mark.parametrize("how", ["drop", "500", "garbled"])
def test_a_prediction_whose_answer_was_lost_is_found_instead_of_resubmitted(how: str) -> None:
    with Replicate(lose_answer=how, seconds=0.3) as cloud:
        result = generate(cloud)
    assert len(result.images) == 1
    assert cloud.submissions == 1


@pytest.mark.parametrize("how", ["drop", "500"])
def test_a_prediction_with_another_input_is_not_mistaken_for_the_lost_one(how: str) -> None:
    with Replicate() as cloud:
        generate(cloud, REQUEST.with_values({"seed": 99}))
        cloud.switches = type(cloud.switches)(lose_answer="drop" if how == "drop" else "500")
        mine = generate(cloud)
    assert cloud.submissions == 2
    assert mine.facts.engine["prediction_id"] == cloud.jobs.newest_first()[0].id


def test_an_older_prediction_is_not_mistaken_for_the_lost_one() -> None:
    with Replicate() as cloud:
        generate(cloud)
        cloud.jobs.newest_first()[0].created -= 60
        cloud.switches = type(cloud.switches)(lose_answer="drop")
        result = generate(cloud)
    assert cloud.submissions == 2
    assert result.facts.engine["prediction_id"] == cloud.jobs.newest_first()[0].id


def test_a_submission_that_certainly_failed_is_repeated() -> None:
    pauses = RecordedPauses()
    with Replicate(broken=1) as cloud:
        _submit(cloud, pauses)
    looks = [s.path for s in cloud.requests if (s.method, s.path) == ("GET", "/v1/predictions")]
    assert (len(_posted_paths(cloud)), cloud.submissions, len(looks)) == (2, 1, 3)
    assert pauses.seconds[:3] == [0.2, 0.8, 2.0]


def test_a_submission_that_keeps_failing_is_given_up() -> None:
    with Replicate(broken=99) as cloud, pytest.raises(Unavailable, match="is unavailable: 500"):
        _submit(cloud, RecordedPauses())
    assert len(_posted_paths(cloud)) == 4


def test_nothing_is_resubmitted_where_the_list_cannot_be_read() -> None:
    with (
        Replicate(lose_answer="drop", unsteady=99) as cloud,
        pytest.raises(Lost, match="cannot be asked whether it took the job") as caught,
    ):
        _submit(cloud, RecordedPauses())
    assert (cloud.submissions, caught.value.is_certain) == (1, False)


def test_an_ambiguous_submission_leaves_its_ticket_submitted() -> None:
    heard: list[Progress] = []
    with (
        Replicate(lose_answer="drop", portal=True) as cloud,
        pytest.raises(Lost) as caught,
    ):
        generate(cloud, on_progress=heard.append)
    tickets = [progress.ticket for progress in heard if progress.ticket is not None]
    assert not caught.value.is_certain
    assert tickets[-1].submitted


def test_an_unknown_prediction_is_neither_resubmitted_nor_cancelled() -> None:
    with Replicate(seconds=60, forgotten=True) as cloud:
        with pytest.raises(Lost) as caught:
            generate(cloud)
        assert caught.value.is_certain
        asked = [seen.method for seen in cloud.requests if "/predictions/" in seen.path]
        assert asked == ["GET"]


def test_a_complete_result_has_no_warnings() -> None:
    with Replicate() as cloud:
        assert generate(cloud).warnings == ()


def test_an_invalid_list_does_not_count_as_empty() -> None:
    with (
        Replicate(lose_answer="drop", portal=True) as cloud,
        pytest.raises(Lost, match="cannot be asked whether it took the job"),
    ):
        _submit(cloud, RecordedPauses())
    assert cloud.submissions == 1


def _submit(cloud: Replicate, pauses: RecordedPauses) -> None:
    config = replicate_config(cloud.url, model=_SCHNELL)
    with closing(ReplicateClient(config)) as client:
        submit_job(client, pauses)


@pytest.mark.parametrize("form", ["header", "body", "words"])
def test_a_rate_limited_submission_is_repeated(form: str) -> None:
    with Replicate(throttled=3, throttle=form) as cloud:
        assert len(generate(cloud, model=_SCHNELL).images) == 1
    assert (len(_posted_paths(cloud)), cloud.submissions) == (4, 1)


def test_a_rate_limited_submission_is_retried_three_times() -> None:
    with Replicate(throttled=99) as cloud, pytest.raises(RateLimited) as caught:
        generate(cloud, model=_SCHNELL)
    assert len(_posted_paths(cloud)) == 4
    assert caught.value.retry_after_seconds == 0


def test_a_long_rate_limit_is_an_error() -> None:
    with (
        Replicate(throttled=99, throttle="words", throttle_seconds=300) as cloud,
        pytest.raises(RateLimited, match="resets in ~300s") as caught,
    ):
        generate(cloud, model=_SCHNELL)
    assert (len(_posted_paths(cloud)), caught.value.retry_after_seconds) == (1, 300)


@pytest.mark.parametrize(
    ("switches", "block", "error", "words"),
    [
        pytest.param({"token": "x"}, {}, Unauthorized, "refused access", id="401"),
        pytest.param({"no_credit": True}, {}, Rejected, "requires payment", id="402"),
        pytest.param(
            {"refused_input": "num_inference_steps"},
            {},
            Rejected,
            r"num_inference_steps \(steps in imagen\): is not what it was",
            id="422",
        ),
        pytest.param(
            {},
            {"model": f"{_SCHNELL}:{'0' * 64}", "input_schema": "schema.json"},
            Rejected,
            "The specified version does not exist",
            id="422 without fields",
        ),
        pytest.param(
            {},
            {"model": "acme/missing", "input_schema": "schema.json"},
            Rejected,
            "does not know acme/missing",
            id="404",
        ),
    ],
)
@pytest.mark.usefixtures("_schema_file")
def test_each_rejected_submission_has_its_error(
    switches: Mapping[str, Any], block: dict[str, Any], error: type[BackendError], words: str
) -> None:
    usual = {"model": _SCHNELL, "input_schema": "schema.json"}
    with Replicate(**switches) as cloud, pytest.raises(error, match=words) as caught:
        generate(cloud, **(usual | block))
    assert type(caught.value) is error
    assert caught.value.backend == "cloud"
    assert caught.value.remedy
    assert TOKEN not in str(caught.value)
    assert cloud.submissions == 0


@pytest.fixture
def _schema_file() -> None:
    """A file with the schema of a model."""
    import json
    from pathlib import Path

    from simulators.replicate import MODELS

    Path("schema.json").write_text(json.dumps(MODELS[_SCHNELL]), encoding="utf-8")


def test_tickets_are_reported_before_and_after_the_submission() -> None:
    with Replicate() as cloud:
        tickets = [p.ticket for p in collect_progress(cloud) if p.ticket is not None]
    assert [sorted(ticket.engine) for ticket in tickets] == [["began"], ["began", "prediction_id"]]
    assert all(ticket.submitted for ticket in tickets)


def test_a_clock_that_was_set_back_leaves_the_job_in_doubt() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    with Replicate() as cloud, closing(open_replicate(cloud.url)) as engine:
        ticket = engine.prepare(REQUEST).sent(began=later.isoformat())
        with pytest.raises(Lost, match="clock was set back") as caught:
            engine.collect(ticket, no_progress)
    assert (caught.value.is_certain, caught.value.never_ran) == (False, False)
    assert caught.value.remedy == "Look for it at https://replicate.com/predictions."


def test_tickets_and_caches_do_not_contain_the_token() -> None:
    from pathlib import Path

    with Replicate() as cloud:
        tickets = [p.ticket for p in collect_progress(cloud) if p.ticket is not None]
    kept = [path.read_text(encoding="utf-8") for path in Path("cache").rglob("*.json")]
    assert len(kept) == 1
    assert TOKEN not in "".join([*kept, *(ticket.model_dump_json() for ticket in tickets)])


def test_an_empty_prompt_is_sent_as_empty_text() -> None:
    with Replicate() as cloud:
        generate(cloud, Request(prompt="", seed=1))
    assert submitted_bodies(cloud)[-1]["input"]["prompt"] == ""


def test_a_value_that_json_cannot_hold_is_refused() -> None:
    with (
        Replicate() as cloud,
        closing(ReplicateClient(replicate_config(cloud.url))) as client,
        pytest.raises(RequestError, match="cannot be sent as JSON"),
    ):
        client.create({"prompt": float("nan")})
    assert cloud.requests == []
