"""The rate and the budget of a token hold for all jobs of its caller, whoever submits them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from simulators.replicate import Replicate
from support.live_server import live_server, server_settings
from support.queued_jobs import new_batch, new_job, submitted, take_next

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.errors import OverBudget, RateLimited, RequestError
from imagen.jobs.embedded import EmbeddedQueue
from imagen.jobs.sql_store import SqlJobStore
from imagen.library import open_library
from imagen.library.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def settings(library_url: str, tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=tmp_path / "outputs"),
        library=LibrarySettings(url=library_url),
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlJobStore]:
    with open_library(settings) as library:
        queue = EmbeddedQueue(library, "w1", stall_seconds=20)
        yield SqlJobStore(library, queue)
        queue.close()


def test_jobs_that_start_together_cannot_exceed_the_budget_of_a_token(
    store: SqlJobStore, settings: Settings
) -> None:
    add_token(store.library, "kid", ["generate"], budget_usd=1.0, budget_per="day")
    store.submit([new_job(caller="kid") for _ in range(6)] + [new_job(caller="dad")])
    taken = [take_next(store) for _ in range(7)]
    refused: list[str] = []

    def write(number: int) -> None:
        try:
            store.write(taken[number].fence, submitted(taken[number], 0.3), settings)
        except OverBudget as error:
            refused.append(error.message)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reserved = [store.read(job.id).reserved_usd for job in taken]
    assert sum(one is not None for one in reserved[:6]) == 3
    assert reserved[6] == 0.3  # of another caller
    assert len(refused) == 3
    assert "the budget of $1.00 for a day of kid" in refused[0]


def test_the_budget_of_a_token_holds_for_jobs_over_the_configured_ones(
    store: SqlJobStore, settings: Settings
) -> None:
    add_token(store.library, "kid", ["generate"], budget_usd=0.1)
    job = new_job(caller="kid")
    assert job.spec is not None
    over = job.spec.model_copy(update={"is_over_budget": True})
    store.submit([job.model_copy(update={"spec": over})])
    taken = take_next(store)
    with pytest.raises(OverBudget):
        store.write(taken.fence, submitted(taken, 0.3), settings)


def test_the_rate_of_a_token_limits_its_submissions(store: SqlJobStore) -> None:
    add_token(store.library, "kid", ["generate"], rate="3/1h")
    repeated = new_job(caller="kid", key="a")
    store.submit([new_batch(caller="kid"), repeated, new_job(caller="kid")])
    store.submit([new_job(caller="kid", key="a")])  # known, so that nothing is submitted
    store.submit([new_job(caller="kid")])
    with pytest.raises(RateLimited, match="kid may submit 3/1h jobs") as limited:
        store.submit([new_job(caller="kid")])
    assert 3000 < (limited.value.retry_after_seconds or 0) <= 3600
    with pytest.raises(RequestError, match="4 jobs at once are more than kid may submit"):
        store.submit([new_job(caller="kid") for _ in range(4)])
    store.submit([new_job(caller="dad") for _ in range(4)])
    callers = [job.caller for job in store.list_jobs(limit=20)]
    assert callers.count("dad") == 4


@pytest.mark.usefixtures("replicate_token")
def test_a_client_over_its_limits_gets_the_status_for_it(tmp_path: Path) -> None:
    with Replicate() as cloud:
        model = "black-forest-labs/flux-schnell"
        block = {"type": "replicate", "model": model, "base_url": cloud.url}
        settings = server_settings({"cloud": block, "mock": {"type": "mock"}}, folder=tmp_path)
        with live_server(settings, has_worker=False) as live:
            poor = add_token(live.runtime.library, "poor", ["generate"], budget_usd=0.001)
            slow = add_token(live.runtime.library, "slow", ["generate"], rate="1/1h")

            def submit(secret: str, backend: str) -> tuple[int, str]:
                answer = live.client.post(
                    "/api/v1/generations",
                    json={"request": {"prompt": "a fox"}, "backend": backend},
                    headers={"Authorization": f"Bearer {secret}", "X-Forwarded-For": "1.2.3.4"},
                )
                return answer.status_code, answer.headers.get("retry-after", "")

            assert submit(poor, "cloud") == (402, "")
            assert submit(poor, "mock") == (202, "")
            assert submit(slow, "mock") == (202, "")
            status, after = submit(slow, "mock")
            assert status == 429
            assert 3000 < int(after) <= 3600
            assert cloud.submissions == 0
            assert {job.caller for job in live.runtime.store.list_jobs(limit=9)} == {"poor", "slow"}
