"""The PostgREST of a simulated Supabase answers by the rules of the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulators.supabase import ANON_KEY, IMAGES, SERVICE_KEY, Supabase, key
from support.supabase_client import ROW, insert, service, stranger

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


@pytest.fixture
def cloud() -> Iterator[Supabase]:
    with Supabase() as cloud:
        yield cloud


@pytest.fixture
def http(cloud: Supabase) -> Iterator[httpx.Client]:
    with service(cloud) as client:
        yield client


def test_a_row_is_inserted_without_a_word(http: httpx.Client, cloud: Supabase) -> None:
    answer = insert(http, ROW)
    assert (answer.status_code, answer.content) == (201, b"")
    assert [(row["id"], row["tags"]) for row in cloud.rows("imagen", "images")] == [(ROW["id"], [])]


def test_a_row_is_returned_where_that_is_preferred(http: httpx.Client) -> None:
    answer = insert(http, [ROW], headers={"Prefer": "return=representation"})
    assert [row["path"] for row in answer.json()] == ["a.png"]
    assert answer.headers["preference-applied"] == "return=representation"


def test_a_row_with_a_key_that_is_there_is_a_conflict(http: httpx.Client) -> None:
    insert(http, ROW)
    answer = insert(http, ROW)
    assert (answer.status_code, answer.headers["proxy-status"]) == (409, "PostgREST; error=23505")
    assert answer.json() == {
        "code": "23505",
        "message": 'duplicate key value violates unique constraint "images_pkey"',
        "details": f"Key (id)=({ROW['id']}) already exists.",
        "hint": None,
    }


@pytest.mark.parametrize(("way", "path"), [("ignore", "a.png"), ("merge", "b.png")])
def test_a_conflict_may_be_resolved(
    http: httpx.Client, cloud: Supabase, way: str, path: str
) -> None:
    insert(http, ROW)
    answer = insert(
        http,
        ROW | {"path": "b.png"},
        params={"on_conflict": "id"},
        headers={"Prefer": f"resolution={way}-duplicates"},
    )
    assert answer.status_code == 201
    assert [row["path"] for row in cloud.rows("imagen", "images")] == [path]


@pytest.mark.parametrize(
    ("row", "more", "status", "code"),
    [
        pytest.param(ROW, {"headers": {"Content-Profile": "x"}}, 406, "PGRST106", id="schema"),
        pytest.param(ROW, {"headers": {"Content-Profile": "mai"}}, 404, "PGRST205", id="table"),
        pytest.param(ROW | {"mood": "x"}, {}, 400, "PGRST204", id="column"),
        pytest.param([ROW, {"id": "x"}], {}, 400, "PGRST102", id="keys"),
        pytest.param(ROW | {"id": "x"}, {}, 400, "22P02", id="uuid"),
        pytest.param(ROW | {"path": None}, {}, 400, "23502", id="null"),
        pytest.param(ROW | {"path": "a\0"}, {}, 400, "22P05", id="NUL"),
        pytest.param(ROW, {"params": {"on_conflict": "path"}}, 400, "42P10", id="conflict"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    http: httpx.Client, row: Any, more: dict[str, Any], status: int, code: str
) -> None:
    answer = insert(http, row, **more)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_no_json_is_refused(http: httpx.Client) -> None:
    answer = http.post("/rest/v1/images", content=b"{", headers={"Content-Profile": "imagen"})
    assert answer.json()["message"] == "Empty or invalid json"


def test_the_schemas_that_are_exposed_are_told(http: httpx.Client) -> None:
    answer = insert(http, ROW, headers={"Content-Profile": "secret"})
    assert answer.json()["message"] == "Invalid schema: secret"
    assert answer.json()["hint"] == ("Only the following schemas are exposed: public, imagen, mai")


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        pytest.param(ANON_KEY, 401, "42501", id="anon"),
        pytest.param(key("authenticated"), 403, "42501", id="user"),
        pytest.param("x", 401, "PGRST301", id="garbage"),
        pytest.param(key("service_role", expires=1.0), 401, "PGRST303", id="expired"),
    ],
)
def test_whoever_is_not_the_service_may_not_insert(
    cloud: Supabase, token: str, status: int, code: str
) -> None:
    with stranger(cloud, token) as http:
        answer = insert(http, ROW)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_the_gateway_asks_for_a_key(cloud: Supabase) -> None:
    with stranger(cloud) as http:
        answer = insert(http, ROW)
    assert (answer.status_code, answer.json()["message"]) == (401, "No API key found in request")


def test_a_key_without_a_token_is_anybodys(cloud: Supabase) -> None:
    with stranger(cloud) as http:
        answer = insert(http, ROW, headers={"apikey": SERVICE_KEY})
    assert (answer.status_code, answer.json()["code"]) == (401, "42501")


def test_rows_can_be_asked_for(http: httpx.Client) -> None:
    insert(http, ROW)
    insert(http, ROW | {"id": "22222222-2222-4333-8444-555555555555", "path": "b.png"})
    profile = {"Accept-Profile": "imagen"}
    chosen = {"path": "eq.b.png", "select": "path,backend", "limit": "5"}
    answer = http.get("/rest/v1/images", params=chosen, headers=profile)
    assert answer.json() == [{"path": "b.png", "backend": "studio"}]


def test_no_row_can_be_deleted(http: httpx.Client) -> None:
    answer = http.delete("/rest/v1/images", headers={"Content-Profile": "imagen"})
    assert answer.status_code == 405


def test_a_table_may_lack_columns() -> None:
    with Supabase(tables=[IMAGES.without("steps")]) as cloud, service(cloud) as http:
        refused = insert(http, ROW | {"steps": 4})
        insert(http, ROW)
        (row,) = cloud.rows("imagen", "images")
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST204")
    assert refused.json()["message"] == (
        "Could not find the 'steps' column of 'images' in the schema cache"
    )
    assert "steps" not in row
