"""The PostgREST of the simulated Supabase, with the tables that docs/supabase.sql creates."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs
from uuid import UUID

import psycopg
from support.supabase_database import session

from imagen.testing.http_server import HttpAnswer, json_answer
from simulators.supabase import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulators.supabase.request import SupabaseRequest

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of a schema; its primary key is unique."""

    schema: str
    name: str
    columns: Mapping[str, str]
    """The type of each column."""
    required: frozenset[str] = frozenset()
    """Columns that must not be null and have no default."""
    key: str = "id"
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def without(self, *names: str) -> Table:
        """The same table without these columns, as another project may have it."""
        columns = {name: kind for name, kind in self.columns.items() if name not in names}
        return replace(self, columns=columns, required=self.required - set(names))

    def complete(self, row: Row) -> Row:
        """The row with every column."""
        return {name: row.get(name, self.defaults.get(name)) for name in self.columns}

    def refuse_invalid(self, row: Row) -> None:
        """Raises PostgRestRefusal for a row that does not fit."""
        for name in row:
            if name not in self.columns:
                message = f"Could not find the '{name}' column of '{self.name}' in the schema cache"
                raise PostgRestRefusal(400, "PGRST204", message)
        for name, kind in self.columns.items():
            if kind == "uuid" and row.get(name) is not None:
                try:
                    UUID(str(row[name]))
                except ValueError:
                    message = f'invalid input syntax for type uuid: "{row[name]}"'
                    raise PostgRestRefusal(400, "22P02", message) from None
        for name in sorted(self.required):
            if row.get(name) is None:
                message = (
                    f'null value in column "{name}" of relation "{self.name}" violates not-null '
                    "constraint"
                )
                raise PostgRestRefusal(400, "23502", message)
        if any("\0" in value for value in row.values() if isinstance(value, str)):
            message = "unsupported Unicode escape sequence"
            details = "\\u0000 cannot be converted to text."
            raise PostgRestRefusal(400, "22P05", message, details=details)


class PostgRestRefusal(Exception):
    """A refusal; `answer` is what is sent."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        content = {"code": code, "message": message, "details": details, "hint": hint}
        more = {"WWW_Authenticate": 'Bearer error="invalid_token"'} if status == 401 else {}
        self.answer = json_answer(content, status, Proxy_Status=f"PostgREST; error={code}", **more)


class _Insert(NamedTuple):
    """What one insert asks for."""

    rows: list[Row]
    conflict_column: str
    preferences: frozenset[str]


class PostgRest:
    """Answers requests below /rest/v1."""

    def __init__(self, exposed: Sequence[str], tables: Sequence[Table], database: str = "") -> None:
        self._exposed = exposed
        self._database = database
        self._tables = {(table.schema, table.name): table for table in tables}
        self.rows: dict[tuple[str, str], list[Row]] = {place: [] for place in self._tables}

    def answer(self, request: SupabaseRequest) -> HttpAnswer:
        if not request.headers.get("apikey"):  # the gateway refuses it, not PostgREST
            hint = "No `apikey` request header or url param was found."
            content = {"message": "No API key found in request", "hint": hint}
            return json_answer(content, 401)
        try:
            return self._answer(request)
        except PostgRestRefusal as refusal:
            return refusal.answer

    def _answer(self, request: SupabaseRequest) -> HttpAnswer:
        role = _read_role(request)
        if request.below.startswith("/rpc/"):
            return self._call(str(role), request)
        table = self._find_table(request)
        if role != "service_role":
            status = 401 if role == "anon" else 403
            message = f"permission denied for schema {table.schema}"
            raise PostgRestRefusal(status, "42501", message)
        if request.method == "GET":
            return json_answer(_select(self.rows[table.schema, table.name], request.query))
        if request.method == "POST":
            return self._insert(table, _read_insert(request))
        message = f"Unsupported HTTP method: {request.method}"
        raise PostgRestRefusal(405, "PGRST117", message)

    def _call(self, role: str, request: SupabaseRequest) -> HttpAnswer:
        """Run a function of the database, as the role of the request."""
        schema = request.headers.get("content-profile", self._exposed[0])
        name = request.below.removeprefix("/rpc/")
        self._refuse_hidden(schema)
        arguments = json.loads(request.body)
        named = ", ".join(arguments)
        missing = f"Could not find the function {schema}.{name}({named}) in the schema cache"
        if not self._database:
            raise PostgRestRefusal(404, "PGRST202", missing)
        typed = ", ".join(
            f"{argument} => %s::jsonb" if isinstance(value, list) else f"{argument} => %s"
            for argument, value in arguments.items()
        )
        values = [json.dumps(v) if isinstance(v, list) else v for v in arguments.values()]
        query = f"select to_jsonb(row) from {schema}.{name}({typed}) as row"
        try:
            with session(self._database, role) as connection:
                rows = connection.execute(query.encode(), values).fetchall()
        except psycopg.errors.UndefinedFunction as error:
            raise PostgRestRefusal(404, "PGRST202", missing) from error
        except psycopg.Error as error:
            status = 403 if error.sqlstate == "42501" else 400
            message = error.diag.message_primary or ""
            raise PostgRestRefusal(status, str(error.sqlstate), message) from error
        return json_answer([row[0] for row in rows])

    def _refuse_hidden(self, schema: str) -> None:
        if schema not in self._exposed:
            hint = f"Only the following schemas are exposed: {', '.join(self._exposed)}"
            raise PostgRestRefusal(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)

    def _find_table(self, request: SupabaseRequest) -> Table:
        header = "accept-profile" if request.method in ("GET", "HEAD") else "content-profile"
        schema = request.headers.get(header, self._exposed[0])
        name = request.below.strip("/")
        self._refuse_hidden(schema)
        if (schema, name) not in self._tables:
            message = f"Could not find the table '{schema}.{name}' in the schema cache"
            raise PostgRestRefusal(404, "PGRST205", message)
        return self._tables[schema, name]

    def _insert(self, table: Table, insert: _Insert) -> HttpAnswer:
        for row in insert.rows:
            table.refuse_invalid(row)
        if insert.conflict_column and insert.conflict_column != table.key:
            message = (
                "there is no unique or exclusion constraint matching the ON CONFLICT specification"
            )
            raise PostgRestRefusal(400, "42P10", message)
        stored = [row for row in insert.rows if self._store(table, row, insert.preferences)]
        applied = ", ".join(sorted(insert.preferences))
        if "return=representation" in insert.preferences:
            rows = [table.complete(row) for row in stored]
            return json_answer(rows, 201, Preference_Applied=applied)
        return HttpAnswer(status=201, headers={"Preference-Applied": applied} if applied else {})

    def _store(self, table: Table, row: Row, preferences: frozenset[str]) -> bool:
        """Whether the row was stored; by the preferences an existing one is kept or replaced."""
        rows = self.rows[table.schema, table.name]
        same = [existing for existing in rows if existing[table.key] == row[table.key]]
        if not same:
            rows.append(table.complete(row))
            return True
        if "resolution=merge-duplicates" in preferences:
            same[0].update(row)
            return True
        if "resolution=ignore-duplicates" in preferences:
            return False
        message = f'duplicate key value violates unique constraint "{table.name}_pkey"'
        details = f"Key ({table.key})=({row[table.key]}) already exists."
        raise PostgRestRefusal(409, "23505", message, details=details)


def _read_role(request: SupabaseRequest) -> object:
    if not request.token:
        return "anon"
    try:
        return tokens.claims(request.token).get("role")
    except tokens.TokenError as error:
        if "exp" in str(error):
            raise PostgRestRefusal(401, "PGRST303", "JWT expired") from error
        raise PostgRestRefusal(401, "PGRST301", str(error)) from error


def _read_insert(request: SupabaseRequest) -> _Insert:
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise PostgRestRefusal(400, "PGRST102", "Empty or invalid json") from error
    rows = body if isinstance(body, list) else [body]
    if len({frozenset(row) for row in rows}) > 1:
        raise PostgRestRefusal(400, "PGRST102", "All object keys must match")
    conflict_column = parse_qs(request.query).get("on_conflict", [""])[0]
    preferences = (part.strip() for part in request.headers.get("prefer", "").split(","))
    return _Insert(rows, conflict_column, frozenset(filter(None, preferences)))


def _select(rows: list[Row], query: str) -> list[Row]:
    """The rows for `?column=eq.VALUE`, with the columns of `select`, up to `limit`."""
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    select = parameters.pop("select", "*")
    limit = int(parameters.pop("limit", len(rows)))
    equal = {name: value.removeprefix("eq.") for name, value in parameters.items()}
    matching = [row for row in rows if all(str(row.get(n)) == v for n, v in equal.items())]
    names = None if select == "*" else select.split(",")
    return [
        {name: value for name, value in row.items() if names is None or name in names}
        for row in matching[:limit]
    ]


IMAGES = Table(
    schema="imagen",
    name="images",
    columns={
        "id": "uuid",
        "owner_user_id": "uuid",
        "bucket": "text",
        "path": "text",
        "prompt": "text",
        "prompt_sha256": "text",
        "backend": "text",
        "model": "text",
        "seed": "numeric",
        "steps": "integer",
        "width": "integer",
        "height": "integer",
        "latency_seconds": "double precision",
        "cost_usd": "numeric",
        "sidecar": "jsonb",
        "tags": "text[]",
        "created_at": "timestamptz",
    },
    required=frozenset({"id", "owner_user_id", "bucket", "path", "backend"}),
    defaults={"tags": []},
)
USAGE = Table(
    schema="mai",
    name="imagen_usage",
    columns={
        "id": "uuid",
        "created_at": "timestamptz",
        "backend": "text",
        "model": "text",
        "seed": "numeric",
        "prompt_hash": "text",
        "latency_ms": "bigint",
        "cost_usd_estimate": "numeric",
        "caller": "text",
        "images": "integer",
        "actual_cost": "numeric",
        "currency": "text",
    },
    required=frozenset({"id", "backend"}),
)
