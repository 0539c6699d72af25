"""docs/supabase.sql: who may do what with the table of jobs, and what workers call."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from support.supabase_database import add_object, apply, make_project, session, values

ANN = "aaaaaaaa-0000-4000-8000-000000000001"
BOB = "bbbbbbbb-0000-4000-8000-000000000002"
LIBRARY = "11111111-0000-4000-8000-000000000001"
OTHER = "22222222-0000-4000-8000-000000000002"
STATES = ("waiting", "taken", "queued", "running", "done", "failed", "cancelled")


@pytest.fixture
def project(postgres_url: str) -> str:
    make_project(postgres_url)
    apply(postgres_url)
    return postgres_url


def _add(project: str, user: str = ANN, request: object = None, **more: Any) -> str:
    """Insert a job as its user."""
    id = str(uuid4())
    columns = {"id": id, "request": json.dumps(request or {"prompt": "fox"}), **more}
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    with session(project, "authenticated", user) as connection:
        connection.execute(
            f"insert into imagen.jobs ({names}) values ({marks})".encode(), [*columns.values()]
        )
    return id


def _claim(project: str, library: str = LIBRARY, most: int = 10) -> list[str]:
    with session(project, "service_role") as service:
        return values(service, f"select id::text from imagen.claim_jobs('{library}', {most})")


def _report(project: str, library: str = LIBRARY, **report: Any) -> list[tuple[str, str, bool]]:
    """What is open after the report, if there is one."""
    reports = json.dumps([report] if report else [])
    with session(project, "service_role") as service:
        return service.execute(
            "select id::text, state, cancel from imagen.report_jobs(%s, %s::jsonb)",
            [library, reports],
        ).fetchall()


def _read(project: str, id: str, column: str) -> Any:
    with session(project, "service_role") as service:
        return values(service, f"select {column} from imagen.jobs where id = '{id}'")[0]


def _set_state(project: str, id: str, state: str) -> None:
    with session(project, "service_role") as service:
        service.execute("update imagen.jobs set state = %s where id = %s", [state, id])


def test_the_sql_can_be_applied_again_with_jobs_in_it(project: str) -> None:
    id = _add(project)
    apply(project)
    assert _read(project, id, "state") == "waiting"
    assert _claim(project) == [id]


def test_a_user_inserts_and_sees_only_own_jobs(project: str) -> None:
    ann, bob = _add(project, ANN), _add(project, BOB)
    for user, own in ((ANN, ann), (BOB, bob)):
        with session(project, "authenticated", user) as connection:
            assert values(connection, "select id::text from imagen.jobs") == [own]
    assert str(_read(project, ann, "owner_user_id")) == ANN


@pytest.mark.parametrize(
    "more",
    [
        {"owner_user_id": BOB},
        {"priority": 1},
        {"state": "done"},
        {"images": "[]"},
        {"taken_by": LIBRARY},
        {"error": "{}"},
        {"progress": "{}"},
        {"created_at": "2020-01-01"},
        {"cancel": True},
    ],
    ids=str,
)
def test_a_user_cannot_set_what_belongs_to_others(project: str, more: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _add(project, ANN, **more)


@pytest.mark.parametrize(
    "request_",
    [
        ["a"],
        {"prompt": "x" * 33_000},
        {"extra": [[[[[[[[[1]]]]]]]]]},
        {"seed": 2**64 + 1},
        {"seed": -(10**400)},
    ],
    ids=["array", "large", "deep", "huge number", "huge negative number"],
)
def test_a_request_beyond_the_bounds_is_refused(project: str, request_: object) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        _add(project, request=request_)


def test_a_large_seed_and_controls_fit(project: str) -> None:
    control = {"kind": "canny", "image": "edges.png", "strength": 0.5}
    assert _add(project, request={"seed": 2**64 - 1, "controls": [control]})


def test_a_user_has_at_most_a_hundred_open_jobs(project: str) -> None:
    first = _add(project)
    with session(project, "authenticated", ANN) as connection:
        for _ in range(99):
            connection.execute("insert into imagen.jobs (request) values ('{}')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _add(project)
    assert _add(project, BOB)
    _set_state(project, first, "done")
    assert _add(project)


@pytest.mark.parametrize("state", STATES)
def test_a_user_cancels_what_has_not_ended(project: str, state: str) -> None:
    id = _add(project)
    _set_state(project, id, state)
    with session(project, "authenticated", ANN) as connection:
        changed = connection.execute("update imagen.jobs set cancel = true").rowcount
    assert changed == (0 if state in ("done", "failed", "cancelled") else 1)


def test_a_user_cannot_cancel_for_others_or_take_it_back(project: str) -> None:
    _add(project, ANN)
    with session(project, "authenticated", BOB) as connection:
        assert connection.execute("update imagen.jobs set cancel = true").rowcount == 0
    with session(project, "authenticated", ANN) as connection:
        connection.execute("update imagen.jobs set cancel = true")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("update imagen.jobs set cancel = false")


@pytest.mark.parametrize(
    "statement",
    [
        "update imagen.jobs set state = 'done'",
        "update imagen.jobs set priority = 0",
        "update imagen.jobs set request = '{}'",
        f"update imagen.jobs set owner_user_id = '{BOB}'",
        "delete from imagen.jobs",
        f"select * from imagen.claim_jobs('{LIBRARY}', 1)",
        f"select * from imagen.report_jobs('{LIBRARY}', '[]')",
    ],
)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_user_can_do_nothing_else(project: str, role: str, statement: str) -> None:
    _add(project)
    with (
        session(project, role, ANN) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    "statement", ["select 1 from imagen.jobs", "insert into imagen.jobs (request) values ('{}')"]
)
def test_nobody_without_an_account_comes_near(project: str, statement: str) -> None:
    with session(project, "anon") as anyone, pytest.raises(psycopg.errors.InsufficientPrivilege):
        anyone.execute(statement.encode())


def test_a_claim_takes_the_best_of_what_waits(project: str) -> None:
    late = _add(project, priority=-5)
    first, second = _add(project), _add(project, BOB)
    assert _claim(project, most=2) == [first, second]
    assert _claim(project, OTHER) == [late]


def test_what_was_not_confirmed_is_claimed_again_by_the_same_library_only(project: str) -> None:
    id = _add(project)
    assert _claim(project) == [id]
    assert _claim(project, OTHER) == []
    assert _claim(project, most=0) == [id]
    _report(project, id=id, state="queued")
    assert _claim(project) == []


def test_two_libraries_share_what_waits_without_waiting_for_each_other(project: str) -> None:
    ids = {_add(project) for _ in range(4)}
    with session(project, "service_role") as one, session(project, "service_role") as other:
        one.execute("set local lock_timeout = '2s'")
        other.execute("set local lock_timeout = '2s'")
        mine = values(one, f"select id::text from imagen.claim_jobs('{LIBRARY}', 2)")
        theirs = values(other, f"select id::text from imagen.claim_jobs('{OTHER}', 10)")
    assert {*mine} | {*theirs} == ids
    assert len(mine) == len(theirs) == 2


def test_a_cancelled_job_that_waits_is_never_claimed(project: str) -> None:
    id = _add(project)
    with session(project, "authenticated", ANN) as connection:
        connection.execute("update imagen.jobs set cancel = true")
    assert _claim(project) == []
    assert _read(project, id, "state") == "cancelled"
    assert _read(project, id, "ended_at") is not None


def test_a_report_is_written_and_answered_with_what_is_open(project: str) -> None:
    id = _add(project)
    _claim(project)
    half = {"stage": "running", "fraction": 0.5}
    assert _report(project, id=id, state="running", progress=half) == [(id, "running", False)]
    assert _read(project, id, "progress") == half
    assert _read(project, id, "started_at") is not None
    image = {"id": str(uuid4()), "bucket": "imagen-generated", "path": "d/fox.png", "seed": "7"}
    assert _report(project, id=id, state="done", images=[image]) == []
    assert _read(project, id, "images") == [image]
    assert _read(project, id, "ended_at") is not None
    assert _read(project, id, "progress") is None


def test_a_report_says_which_jobs_to_cancel(project: str) -> None:
    id = _add(project)
    _claim(project)
    with session(project, "authenticated", ANN) as connection:
        connection.execute("update imagen.jobs set cancel = true")
    assert _report(project) == [(id, "taken", True)]


def test_a_report_of_another_library_or_about_an_ended_job_has_no_effect(project: str) -> None:
    id = _add(project)
    _claim(project)
    _report(project, OTHER, id=id, state="failed")
    assert _read(project, id, "state") == "taken"
    _report(project, id=id, state="done")
    _report(project, id=id, state="failed")
    assert _read(project, id, "state") == "done"


def test_a_user_keeps_inputs_only_in_the_own_folder(project: str) -> None:
    with session(project, "authenticated", ANN) as connection:
        add_object(connection, "imagen-inputs", f"{ANN}/fox.png")
        assert values(connection, "select name from storage.objects") == [f"{ANN}/fox.png"]
    with session(project, "authenticated", BOB) as connection:
        assert values(connection, "select name from storage.objects") == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            add_object(connection, "imagen-inputs", f"{ANN}/mine.png")
