"""The table of jobs of a Supabase project, into which users of a web application insert requests.

docs/supabase.sql creates it. Its functions are called by SQL if the library is in the same
database, and through PostgREST otherwise. A row that a library has claimed belongs to it for ever:
no other library can make the same images again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from sqlalchemy import text

from imagen.core.json_values import parse_json
from imagen.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.delivery.supabase import SupabaseClient
    from imagen.library import Library

RowState = Literal["waiting", "taken", "queued", "running", "done", "failed", "cancelled"]


_Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SupabaseJob(_Row):
    """A request that a user has inserted. Everything in it is a stranger's."""

    id: _Uuid
    owner_user_id: _Uuid
    request: dict[str, JsonValue]
    backend: str | None = None
    priority: int = 0

    @property
    def key(self) -> str:
        return row_key(self.id, self.owner_user_id)


class OpenSupabaseJob(_Row):
    """What the table says about a job of this library that has not ended."""

    id: _Uuid
    owner_user_id: _Uuid
    state: RowState
    cancel: bool

    @property
    def key(self) -> str:
        return row_key(self.id, self.owner_user_id)


class JobReport(_Row):
    """What became of a job, for its user."""

    id: str
    state: RowState
    progress: dict[str, JsonValue] | None = None
    error: dict[str, JsonValue] | None = None
    images: list[dict[str, JsonValue]] = []


_Rows = TypeVar("_Rows")
_JOBS = TypeAdapter(list[SupabaseJob])
_OPEN_JOBS = TypeAdapter(list[OpenSupabaseJob])


def row_key(id: str, owner: str) -> str:
    """The key of a row's job in the queue. It holds the owner, who may choose the id of a row."""
    return f"supabase:{owner}:{id}"


class SupabaseJobs(Protocol):
    """The jobs of a project, for one library. Methods raise ImagenError."""

    def claim(self, most: int) -> list[SupabaseJob]:
        """Up to so many waiting jobs, and those that were claimed before but not reported."""

    def report(self, reports: Sequence[JobReport]) -> list[OpenSupabaseJob]:
        """Write reports, and return all jobs of this library that have not ended."""


class RestSupabaseJobs:
    """Through PostgREST."""

    def __init__(self, client: SupabaseClient, schema: str, library: str) -> None:
        self._client, self._schema, self._library = client, schema, library

    def claim(self, most: int) -> list[SupabaseJob]:
        arguments = {"library": self._library, "most": most}
        return _parse(_JOBS, self._client.call(self._schema, "claim_jobs", arguments))

    def report(self, reports: Sequence[JobReport]) -> list[OpenSupabaseJob]:
        arguments = {"library": self._library, "reports": _dump(reports)}
        return _parse(_OPEN_JOBS, self._client.call(self._schema, "report_jobs", arguments))


class SqlSupabaseJobs:
    """By SQL, in the database of the library."""

    def __init__(self, database: Library, schema: str, library: str) -> None:
        self._database, self._schema, self._library = database, schema, library

    def claim(self, most: int) -> list[SupabaseJob]:
        call = f"claim_jobs(CAST(:library AS uuid), {most:d})"
        return _parse(_JOBS, self._call(call, {}))

    def report(self, reports: Sequence[JobReport]) -> list[OpenSupabaseJob]:
        call = "report_jobs(CAST(:library AS uuid), CAST(:reports AS jsonb))"
        return _parse(_OPEN_JOBS, self._call(call, {"reports": json.dumps(_dump(reports))}))

    def _call(self, call: str, arguments: dict[str, str]) -> object:
        """The rows as JSON text, which is parsed within limits."""
        query = text(f'SELECT CAST(to_jsonb(row) AS text) FROM "{self._schema}".{call} AS row')
        with self._database.writing() as connection:
            rows = connection.scalars(query, {"library": self._library, **arguments}).all()
        return [parse_json(row) for row in rows]


def is_in_library(database: Library, schema: str) -> bool:
    """Whether the table of jobs is in the database of the library, whose user may use it."""
    if database.is_sqlite:
        return False
    names = ("claim_jobs(uuid,integer)", "report_jobs(uuid,jsonb)")
    query = text("SELECT has_function_privilege(to_regprocedure(:name), 'EXECUTE')")
    with database.reading() as connection:
        return all(
            connection.execute(query, {"name": f'"{schema}".{name}'}).scalar() for name in names
        )


def _dump(reports: Sequence[JobReport]) -> list[dict[str, JsonValue]]:
    return [report.model_dump(mode="json") for report in reports]


def _parse(adapter: TypeAdapter[_Rows], value: object) -> _Rows:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise Rejected(
            f"The table of jobs is not the one of this version of imagen (at {place}).",
            remedy="Run docs/supabase.sql in the SQL editor of the project; it is safe to run "
            "again.",
        ) from error
