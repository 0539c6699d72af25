"""The table of jobs, read and written by SQL and through PostgREST."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from simulators.supabase import SERVICE_KEY, Supabase, SupabaseSwitches
from support.supabase_database import apply, make_project, session, values

from imagen.config import Settings
from imagen.delivery.supabase import SupabaseClient
from imagen.delivery.supabase_jobs import (
    JobReport,
    RestSupabaseJobs,
    SqlSupabaseJobs,
    is_in_library,
)
from imagen.errors import ImagenError, Rejected, Unavailable
from imagen.library import open_library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.delivery.supabase_jobs import SupabaseJobs
    from imagen.library import Library

ANN = "aaaaaaaa-0000-4000-8000-000000000001"
LIBRARY = "11111111-0000-4000-8000-000000000001"


@pytest.fixture
def project(postgres_url: str) -> str:
    make_project(postgres_url)
    apply(postgres_url)
    return postgres_url


@pytest.fixture
def cloud(project: str) -> Iterator[Supabase]:
    with Supabase(database=project) as running:
        yield running


@pytest.fixture
def library(project: str, tmp_path: Path) -> Iterator[Library]:
    settings = Settings.model_validate({"library": {"url": project}, "state_dir": tmp_path})
    with open_library(settings) as opened:
        yield opened


@pytest.fixture(params=["sql", "rest"])
def jobs(request: pytest.FixtureRequest) -> Iterator[SupabaseJobs]:
    if request.param == "sql":
        yield SqlSupabaseJobs(request.getfixturevalue("library"), "imagen", LIBRARY)
        return
    url = request.getfixturevalue("cloud").url
    with closing(SupabaseClient(url, SERVICE_KEY)) as client:
        yield RestSupabaseJobs(client, "imagen", LIBRARY)


def _add(project: str, **request: object) -> str:
    id = str(uuid4())
    with session(project, "authenticated", ANN) as connection:
        connection.execute(
            "insert into imagen.jobs (id, request, priority) values (%s, %s, -3)",
            [id, json.dumps(request)],
        )
    return id


def test_a_job_is_claimed_reported_and_closed(jobs: SupabaseJobs, project: str) -> None:
    id = _add(project, prompt="a fox", seed=2**64 - 1)
    (job,) = jobs.claim(5)
    assert (job.id, job.owner_user_id, job.priority, job.backend) == (id, ANN, -3, None)
    assert job.request == {"prompt": "a fox", "seed": 2**64 - 1}
    assert jobs.claim(5) == [job]
    half = {"stage": "running", "fraction": 0.5}
    (row,) = jobs.report([JobReport(id=id, state="running", progress=half)])
    assert (row.id, row.state, row.cancel) == (id, "running", False)
    assert row.key == job.key
    assert jobs.claim(5) == []
    image = {"id": "x", "path": 'd/f"ox.png', "width": 8}
    assert jobs.report([JobReport(id=id, state="done", images=[image])]) == []
    with session(project, "authenticated", ANN) as connection:
        assert values(connection, "select state from imagen.jobs") == ["done"]
        assert values(connection, "select images from imagen.jobs") == [[image]]


def test_a_cancelled_job_is_listed_as_such(jobs: SupabaseJobs, project: str) -> None:
    _add(project)
    jobs.claim(1)
    with session(project, "authenticated", ANN) as connection:
        connection.execute("update imagen.jobs set cancel = true")
    assert [row.cancel for row in jobs.report([])] == [True]


def test_hostile_text_stays_text(jobs: SupabaseJobs, project: str) -> None:
    prompt = "Füchsin' \"; drop table imagen.jobs; -- \\ 🦊 :library %s"
    id = _add(project, prompt=prompt)
    assert [job.request for job in jobs.claim(1)] == [{"prompt": prompt}]
    error = {"code": "request", "message": prompt}
    jobs.report([JobReport(id=id, state="failed", error=error)])
    with session(project, "service_role") as service:
        assert values(service, "select error from imagen.jobs") == [error]


def test_a_lost_answer_leaves_the_claim_with_its_library(project: str) -> None:
    id = _add(project)
    switches = SupabaseSwitches(lost_call="claim_jobs", lost_calls=9)
    with (
        Supabase(database=project, switches=switches) as cloud,
        closing(SupabaseClient(cloud.url, SERVICE_KEY, sleep=lambda _: None)) as client,
    ):
        mine = RestSupabaseJobs(client, "imagen", LIBRARY)
        with pytest.raises(Unavailable):
            mine.claim(1)
        cloud.switches = SupabaseSwitches()
        assert RestSupabaseJobs(client, "imagen", str(uuid4())).claim(1) == []
        assert [job.id for job in mine.claim(1)] == [id]


def test_without_the_table_the_error_says_what_to_run() -> None:
    with Supabase() as cloud, closing(SupabaseClient(cloud.url, SERVICE_KEY)) as client:
        with pytest.raises(ImagenError) as caught:
            RestSupabaseJobs(client, "imagen", LIBRARY).claim(1)
        assert "claim_jobs" in caught.value.message
        assert "docs/supabase.sql" in caught.value.remedy


def test_a_table_of_another_version_is_refused(cloud: Supabase, project: str) -> None:
    with session(project, "project_owner") as owner:
        owner.execute("drop function imagen.claim_jobs")
        owner.execute(
            "create function imagen.claim_jobs(library uuid, most integer) "
            "returns table (id integer, more text) language sql as $$ select 7, '' $$"
        )
    with (
        closing(SupabaseClient(cloud.url, SERVICE_KEY)) as client,
        pytest.raises(Rejected, match=r"not the one of this version .*0\.id"),
    ):
        RestSupabaseJobs(client, "imagen", LIBRARY).claim(1)


def test_sql_is_used_only_where_the_functions_are(library: Library, tmp_path: Path) -> None:
    assert is_in_library(library, "imagen")
    assert not is_in_library(library, "other")
    with open_library(
        Settings.model_validate({"state_dir": tmp_path, "library": {"url": str(tmp_path / "l.db")}})
    ) as local:
        assert not is_in_library(local, "imagen")
