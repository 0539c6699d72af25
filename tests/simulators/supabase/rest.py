"""The PostgREST of a simulated Supabase: rows in, rows out, refusals by its rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from imagen.testing.answer import Answer, as_json
from simulators.supabase import refusals, tokens
from simulators.supabase.tokens import TokenError

if TYPE_CHECKING:
    from simulators.supabase.seen import Seen
    from simulators.supabase.tables import Row, Table


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class _Insert(NamedTuple):
    """What one insert asks for."""

    rows: list[Row]
    conflict: str
    prefer: frozenset[str]


class Rest:
    """Answers what comes below /rest/v1."""

    def __init__(self, exposed: tuple[str, ...], tables: tuple[Table, ...]) -> None:
        self.exposed = exposed
        self.tables = {(table.schema, table.name): table for table in tables}
        self.rows: dict[tuple[str, str], list[Row]] = {place: [] for place in self.tables}

    def answer(self, seen: Seen) -> Answer:
        """What this request is answered."""
        try:
            return self._answer(seen)
        except _Refused as refused:
            return refused.answer

    def _answer(self, seen: Seen) -> Answer:
        role = _role(seen)
        table = self._table(seen)
        if role != "service_role":
            status = 401 if role == "anon" else 403
            denied = f"permission denied for schema {table.schema}"
            raise _Refused(refusals.rest(status, "42501", denied))
        if seen.method == "GET":
            return as_json(_chosen(self.rows[table.schema, table.name], seen.query))
        if seen.method == "POST":
            return self._insert(table, _insert(seen))
        raise _Refused(refusals.rest(405, "PGRST117", f"Unsupported HTTP method: {seen.method}"))

    def _table(self, seen: Seen) -> Table:
        header = "accept-profile" if seen.method in ("GET", "HEAD") else "content-profile"
        schema = seen.headers.get(header, self.exposed[0])
        name = seen.below.strip("/")
        if schema not in self.exposed:
            hint = f"Only the following schemas are exposed: {', '.join(self.exposed)}"
            raise _Refused(refusals.rest(406, "PGRST106", f"Invalid schema: {schema}", hint=hint))
        if (schema, name) not in self.tables:
            wrong = f"Could not find the table '{schema}.{name}' in the schema cache"
            raise _Refused(refusals.rest(404, "PGRST205", wrong))
        return self.tables[schema, name]

    def _insert(self, table: Table, asked: _Insert) -> Answer:
        for row in asked.rows:
            _check(table, row)
        if asked.conflict and asked.conflict != table.key:
            wrong = (
                "there is no unique or exclusion constraint matching the ON CONFLICT specification"
            )
            raise _Refused(refusals.rest(400, "42P10", wrong))
        kept = [row for row in asked.rows if self._keep(table, row, asked)]
        wanted = "return=representation" in asked.prefer
        applied = ", ".join(sorted(asked.prefer))
        headers = {"Preference-Applied": applied} if applied else {}
        if wanted:
            whole = [table.whole(row) for row in kept]
            return as_json(whole, 201, Preference_Applied=applied)
        return Answer(status=201, headers=headers)

    def _keep(self, table: Table, row: Row, asked: _Insert) -> bool:
        """Whether the row was kept: one that is there already may be left, or replaced."""
        rows = self.rows[table.schema, table.name]
        same = [there for there in rows if there[table.key] == row[table.key]]
        if not same:
            rows.append(table.whole(row))
            return True
        if "resolution=merge-duplicates" in asked.prefer:
            same[0].update(row)
            return True
        if "resolution=ignore-duplicates" in asked.prefer:
            return False
        wrong = f'duplicate key value violates unique constraint "{table.name}_pkey"'
        details = f"Key ({table.key})=({row[table.key]}) already exists."
        raise _Refused(refusals.rest(409, "23505", wrong, details=details))


def _role(seen: Seen) -> Any:
    if not seen.headers.get("apikey"):
        raise _Refused(refusals.no_api_key())
    if not seen.token:
        return "anon"
    try:
        return tokens.claims(seen.token).get("role")
    except TokenError as error:
        expired = "exp" in str(error)
        code, words = ("PGRST303", "JWT expired") if expired else ("PGRST301", str(error))
        raise _Refused(refusals.rest(401, code, words)) from error


def _insert(seen: Seen) -> _Insert:
    prefer = seen.headers.get("prefer", "").split(",")
    conflict = parse_qs(seen.query).get("on_conflict", [""])[0]
    preferences = frozenset(part.strip() for part in prefer if part.strip())
    return _Insert(_rows(seen.body), conflict, preferences)


def _rows(body: bytes) -> list[Row]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise _Refused(refusals.rest(400, "PGRST102", "Empty or invalid json")) from error
    rows = found if isinstance(found, list) else [found]
    if len({frozenset(row) for row in rows}) > 1:
        raise _Refused(refusals.rest(400, "PGRST102", "All object keys must match"))
    return rows


def _check(table: Table, row: Row) -> None:
    if unknown := table.unknown(row):
        wrong = f"Could not find the '{unknown}' column of '{table.name}' in the schema cache"
        raise _Refused(refusals.rest(400, "PGRST204", wrong))
    if malformed := table.malformed(row):
        wrong = f'invalid input syntax for type uuid: "{malformed}"'
        raise _Refused(refusals.rest(400, "22P02", wrong))
    if missing := table.missing(row):
        wrong = (
            f'null value in column "{missing}" of relation "{table.name}" violates not-null '
            "constraint"
        )
        raise _Refused(refusals.rest(400, "23502", wrong))
    if any("\0" in value for value in row.values() if isinstance(value, str)):
        wrong = "unsupported Unicode escape sequence"
        details = "\\u0000 cannot be converted to text."
        raise _Refused(refusals.rest(400, "22P05", wrong, details=details))


def _chosen(rows: list[Row], query: str) -> list[Row]:
    """The rows that `?column=eq.VALUE` leaves, with the columns of `select`, up to `limit`."""
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    wanted = asked.pop("select", "*")
    limit = int(asked.pop("limit", len(rows)))
    equal = {name: value.removeprefix("eq.") for name, value in asked.items()}
    found = [row for row in rows if all(str(row.get(n)) == v for n, v in equal.items())]
    names = None if wanted == "*" else wanted.split(",")
    return [
        {name: value for name, value in row.items() if names is None or name in names}
        for row in found[:limit]
    ]
