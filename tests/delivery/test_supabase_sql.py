"""docs/supabase.sql: what it creates, and who may read it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from simulators.supabase import IMAGES, USAGE, Supabase
from support.generation_records import MOST, OWNER, environ, make_image, make_record, settings
from support.supabase_database import add_object, apply, insert, make_project, session, values

from imagen import delivery as sinks

ANN = "aaaaaaaa-0000-4000-8000-000000000001"
BOB = "bbbbbbbb-0000-4000-8000-000000000002"
BUCKET = "imagen-generated"
PROMPTS = (
    "A red fox, in snow",
    "Füchsin' \"; drop table imagen.images; --",
    "월하의 여우 · 月下の狐 · лиса · ثعلب",
    "🦊 family 👨‍👩‍👧 \\u0000 \\",
    "tab\tline\nlast",
    "nul \0 inside",
    "",
)


@pytest.fixture
def project(postgres_url: str) -> str:
    """A project to which the file was applied."""
    make_project(postgres_url)
    apply(postgres_url)
    return postgres_url


def _row(owner: str, path: str = "2026-11-24/fox-7.png", **more: Any) -> dict[str, Any]:
    place = {"bucket": BUCKET, "path": path, "owner_user_id": owner}
    return {"id": str(uuid4()), "backend": "studio", **place, **more}


@pytest.fixture
def images(project: str) -> str:
    """Ann has an image, Bob another, and a third object has no owner."""
    with session(project, "service_role") as service:
        for owner, path in ((ANN, "d/ann.png"), (BOB, "d/bob.png")):
            insert(service, "imagen.images", _row(owner, path, prompt=path))
            add_object(service, BUCKET, path)
        add_object(service, BUCKET, "d/unowned.png")
    return project


def _sent(cloud: Supabase, *, prompt: str = PROMPTS[0], **more: Any) -> None:
    """The rows that the targets send for a generation."""
    made = make_record(make_image(Path()), prompt=prompt, **more)
    chosen = settings(usage={"mirror": "on"})
    for delivery in sinks.deliveries_of(made, chosen, environ(cloud)):
        sinks.send(delivery, chosen, environ(cloud), {})


def test_the_sql_can_be_applied_again(images: str) -> None:
    apply(images)
    with session(images, "service_role") as service:
        assert values(service, "select path from imagen.images order by 1") == [
            "d/ann.png",
            "d/bob.png",
        ]


def test_the_sql_keeps_an_existing_bucket(postgres_url: str) -> None:
    make_project(postgres_url)
    with session(postgres_url, "project_owner") as owner:
        owner.execute(
            "insert into storage.buckets (id, name, public, file_size_limit) "
            "values ('imagen-generated', 'imagen-generated', false, 1000)"
        )
    apply(postgres_url)
    with session(postgres_url, "project_owner") as owner:
        query = "select file_size_limit from storage.buckets where id = 'imagen-generated'"
        assert values(owner, query) == [1000]


def test_the_bucket_is_private(project: str) -> None:
    with session(project, "project_owner") as owner:
        assert values(
            owner, "select public from storage.buckets where id = 'imagen-generated'"
        ) == [False]


@pytest.mark.parametrize("table", ["imagen.images", "imagen.jobs", "mai.imagen_usage"])
def test_every_table_has_row_level_security(project: str, table: str) -> None:
    with session(project, "project_owner") as owner:
        query = f"select relrowsecurity from pg_class where oid = '{table}'::regclass"
        assert values(owner, query) == [True]


@pytest.mark.parametrize(("user", "own"), [(ANN, ["d/ann.png"]), (BOB, ["d/bob.png"])])
def test_users_see_only_their_own_rows(images: str, user: str, own: list[str]) -> None:
    with session(images, "authenticated", user) as connection:
        assert values(connection, "select path from imagen.images") == own


@pytest.mark.parametrize(("user", "own"), [(ANN, ["d/ann.png"]), (BOB, ["d/bob.png"])])
def test_users_read_only_their_own_objects(images: str, user: str, own: list[str]) -> None:
    with session(images, "authenticated", user) as connection:
        assert values(connection, "select name from storage.objects") == own


def test_a_user_without_an_id_sees_nothing(images: str) -> None:
    with session(images, "authenticated") as connection:
        assert values(connection, "select path from imagen.images") == []
        assert values(connection, "select name from storage.objects") == []


def test_the_same_path_in_another_bucket_is_hidden(images: str) -> None:
    with session(images, "project_owner") as owner:
        owner.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    with session(images, "service_role") as service:
        add_object(service, "other", "d/ann.png")
    with session(images, "authenticated", ANN) as connection:
        assert values(connection, "select bucket_id from storage.objects") == [BUCKET]


@pytest.mark.parametrize(
    "query",
    [
        "select * from imagen.images",
        "select * from mai.imagen_usage",
        "insert into imagen.images (id) values (gen_random_uuid())",
    ],
)
def test_an_anonymous_user_is_refused(images: str, query: str) -> None:
    with (
        session(images, "anon") as anyone,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        anyone.execute(query.encode())


def test_an_anonymous_user_sees_no_object(images: str) -> None:
    with session(images, "anon") as anyone:
        assert values(anyone, "select name from storage.objects") == []


@pytest.mark.parametrize(
    "query",
    [
        "update imagen.images set prompt = 'mine'",
        "delete from imagen.images",
        "select * from mai.imagen_usage",
        "insert into storage.objects (bucket_id, name) values ('imagen-generated', 'd/x.png')",
        f"insert into imagen.images (id, owner_user_id, bucket, path, backend) "
        f"values (gen_random_uuid(), '{ANN}', 'imagen-generated', 'd/bob.png', 'x')",
    ],
)
def test_a_user_cannot_change_or_claim_rows(images: str, query: str) -> None:
    with (
        session(images, "authenticated", ANN) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(query.encode())


@pytest.mark.parametrize(
    "query", ["update storage.objects set name = 'x'", "delete from storage.objects"]
)
def test_a_user_cannot_move_objects(images: str, query: str) -> None:
    with session(images, "authenticated", ANN) as connection:
        assert connection.execute(query.encode()).rowcount == 0


def test_public_has_no_privileges(project: str) -> None:
    query = (
        "select table_schema || '.' || table_name || ' ' || privilege_type || ' ' || grantee "
        "from information_schema.role_table_grants "
        "where table_schema in ('imagen', 'mai') and grantee <> 'project_owner' "
        "and grantee <> 'service_role' order by 1"
    )
    with session(project, "project_owner") as owner:
        assert values(owner, query) == [
            "imagen.images SELECT authenticated",
            "imagen.jobs SELECT authenticated",
        ]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_row_of_an_image_fits_the_table(project: str, prompt: str) -> None:
    with Supabase() as cloud:
        _sent(cloud, prompt=prompt)
        (row,) = cloud.rows("imagen", "images")
    with session(project, "service_role") as service:
        insert(service, "imagen.images", row)
        insert(service, "imagen.images", row)
        assert values(service, "select prompt from imagen.images") == [prompt.replace("\0", "")]
        assert values(service, "select seed from imagen.images") == [MOST]
        assert values(service, "select (sidecar ->> 'seed')::numeric from imagen.images") == [MOST]
        assert values(service, "select steps from imagen.images") == [4]
        assert values(service, "select owner_user_id::text from imagen.images") == [OWNER]
        assert values(service, "select tags from imagen.images") == [[]]
        assert values(service, "select extract(epoch from created_at) from imagen.images") == [
            1795523400
        ]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_row_of_the_ledger_fits_the_table(project: str, prompt: str) -> None:
    with Supabase() as cloud:
        _sent(cloud, prompt=prompt)
        (row,) = cloud.rows("mai", "imagen_usage")
    with session(project, "service_role") as service:
        insert(service, "mai.imagen_usage", row)
        insert(service, "mai.imagen_usage", row)
        assert values(service, "select seed from mai.imagen_usage") == [MOST]
        assert values(service, "select caller from mai.imagen_usage") == ["nora"]
        assert values(service, "select cost_usd_estimate from mai.imagen_usage") == [
            Decimal("0.006")
        ]
        assert values(service, "select length(prompt_hash) from mai.imagen_usage") == [64]


_FIRST_USAGE = """
    create schema mai;
    create table mai.imagen_usage (
        id uuid primary key, backend text not null, model text, seed numeric(20, 0),
        prompt_sha256 text, images integer, latency_seconds double precision,
        estimated_cost numeric, actual_cost numeric, currency text not null, caller text,
        created_at timestamptz not null default now()
    )
"""
"""As this file made it at first."""
_BASE_USAGE = """
    create schema mai;
    create table mai.imagen_usage (
        id uuid primary key, created_at timestamptz not null, backend text, model text,
        seed numeric, prompt_hash text, latency_ms integer, cost_usd_estimate numeric, caller text
    )
"""


@pytest.mark.parametrize("table", [_FIRST_USAGE, _BASE_USAGE], ids=["first", "base"])
def test_the_sql_adds_missing_columns_to_an_older_ledger(postgres_url: str, table: str) -> None:
    make_project(postgres_url)
    with session(postgres_url, "project_owner") as owner:
        owner.execute(table.encode())
    apply(postgres_url)
    with Supabase() as cloud:
        _sent(cloud)
        (row,) = cloud.rows("mai", "imagen_usage")
    with session(postgres_url, "service_role") as service:
        insert(service, "mai.imagen_usage", row)
        assert values(service, "select latency_ms from mai.imagen_usage") == [2500]
        assert values(service, "select images from mai.imagen_usage") == [1]


def test_the_ledger_table_is_indexed_by_time_and_caller(project: str) -> None:
    query = "select indexdef from pg_indexes where schemaname = 'mai' order by indexname"
    with session(project, "project_owner") as owner:
        indexes = [one.partition(" btree ")[2] for one in values(owner, query)]
    assert indexes == ["(caller)", "(created_at DESC)", "(id)"]


def test_the_row_of_an_image_with_few_facts_fits_the_table(project: str) -> None:
    with Supabase() as cloud:
        _sent(cloud, facts={})
        (row,) = cloud.rows("imagen", "images")
        (use,) = cloud.rows("mai", "imagen_usage")
    with session(project, "service_role") as service:
        insert(service, "imagen.images", row)
        insert(service, "mai.imagen_usage", use)
        assert values(service, "select latency_seconds from imagen.images") == [None]
        assert values(service, "select actual_cost from mai.imagen_usage") == [None]


def test_the_ledger_table_has_no_prompt(project: str) -> None:
    assert "prompt" not in _columns(project, "mai", "imagen_usage")


@pytest.mark.parametrize("table", [IMAGES, USAGE], ids=["images", "usage"])
def test_the_simulator_has_the_same_columns(project: str, table: Any) -> None:
    assert _columns(project, table.schema, table.name) == dict(table.columns)


@pytest.mark.parametrize("table", [IMAGES, USAGE], ids=["images", "usage"])
def test_the_simulator_requires_the_same_columns(project: str, table: Any) -> None:
    query = (
        "select column_name from information_schema.columns "
        f"where table_schema = '{table.schema}' and table_name = '{table.name}' "
        "and is_nullable = 'NO' and column_default is null"
    )
    with session(project, "project_owner") as owner:
        assert set(values(owner, query)) == table.required


def _columns(url: str, schema: str, table: str) -> dict[str, str]:
    names = {"timestamp with time zone": "timestamptz", "numeric(20,0)": "numeric"}
    query = (
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        f"where attrelid = '{schema}.{table}'::regclass and attnum > 0 and not attisdropped"
    )
    with session(url, "project_owner") as owner:
        return {name: names.get(kind, kind) for name, kind in owner.execute(query.encode())}
