"""The initial schema of a Supabase project, in the PostgreSQL of the tests."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


OWNER = "project_owner"
"""Who runs what is pasted into the SQL editor: the owner of the tables, and no superuser."""
SQL = Path(__file__).parents[2] / "docs" / "supabase.sql"
_ROLES = {
    "anon": "nologin noinherit",
    "authenticated": "nologin noinherit",
    "service_role": "nologin noinherit bypassrls",
    OWNER: "nologin",
}
_PROJECT = """
do $$
declare wanted record;
begin
    for wanted in select * from json_each_text('{roles}') loop
        if not exists (select from pg_roles where rolname = wanted.key) then
            execute format('create role %I %s', wanted.key, wanted.value);
        end if;
    end loop;
    execute format('grant create on database %I to {owner}', current_database());
end $$;

create schema auth;
create function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
    )::uuid
$$;
grant usage on schema auth to anon, authenticated, service_role, {owner};

create schema storage authorization {owner};
set role {owner};
create table storage.buckets (
    id text primary key,
    name text not null unique,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    public boolean default false,
    avif_autodetection boolean default false,
    file_size_limit bigint,
    allowed_mime_types text[],
    owner_id text
);
create table storage.objects (
    id uuid primary key default gen_random_uuid(),
    bucket_id text references storage.buckets (id),
    name text,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    last_accessed_at timestamptz default now(),
    metadata jsonb,
    path_tokens text[] generated always as (string_to_array(name, '/')) stored,
    version text,
    owner_id text,
    user_metadata jsonb,
    unique (bucket_id, name)
);
create function storage.foldername(name text) returns text[] language sql immutable as $$
    select (string_to_array(name, '/'))[1:array_length(string_to_array(name, '/'), 1) - 1]
$$;
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
grant usage on schema storage to anon, authenticated, service_role;
grant all on all tables in schema storage to anon, authenticated, service_role;
reset role;
"""


def make_project(url: str) -> None:
    """An empty project."""
    project = _PROJECT.replace("{owner}", OWNER).replace("{roles}", json.dumps(_ROLES))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(project.encode())


def apply(url: str) -> None:
    """Run the SQL file of the documentation, as its reader does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"set role {OWNER}".encode())
        connection.execute(SQL.read_bytes())


@contextmanager
def session(url: str, role: str, user: str = "") -> Iterator[psycopg.Connection[Any]]:
    """A connection as PostgREST and Storage open one for a request: a role, and a user's claims."""
    with psycopg.connect(url) as connection:
        connection.execute(f"set local role {role}".encode())
        claims = json.dumps({"role": role, **({"sub": user} if user else {})})
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        yield connection


def insert(connection: psycopg.Connection[Any], table: str, row: Mapping[str, Any]) -> None:
    """Insert a row as PostgREST does: only the named columns, ignoring duplicates."""
    columns = ", ".join(f'"{name}"' for name in row)
    connection.execute(
        f"insert into {table} ({columns}) select {columns} "
        f"from json_populate_record(null::{table}, %s::json) on conflict (id) do nothing".encode(),
        [json.dumps(row)],
    )


def add_object(connection: psycopg.Connection[Any], bucket: str, path: str) -> None:
    """Insert the row that Storage writes for an upload."""
    connection.execute(
        "insert into storage.objects (bucket_id, name) values (%s, %s)", [bucket, path]
    )


def values(connection: psycopg.Connection[Any], query: str) -> list[Any]:
    """The first column of the result."""
    return [row[0] for row in connection.execute(query.encode())]
