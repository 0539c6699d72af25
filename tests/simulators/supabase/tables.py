"""The tables of a simulated Supabase: as docs/supabase.sql makes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of a schema; its primary key is unique."""

    schema: str
    name: str
    columns: Mapping[str, str]
    """To each its type."""
    required: frozenset[str] = frozenset()
    """Those that must not be null, and have no default."""
    key: str = "id"
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def unknown(self, row: Row) -> str:
        """The first column that a row names and this table lacks; nothing where there is none."""
        return next((name for name in row if name not in self.columns), "")

    def missing(self, row: Row) -> str:
        """The first column that a row leaves empty and must not."""
        return next((name for name in sorted(self.required) if row.get(name) is None), "")

    def malformed(self, row: Row) -> str:
        """The first value of a row that is no UUID and should be one."""
        values = (
            row[name] for name, kind in self.columns.items() if kind == "uuid" and name in row
        )
        return next((str(value) for value in values if not _is_uuid(value)), "")

    def without(self, *names: str) -> Table:
        """The same table without these columns, as a project of its own may have it."""
        columns = {name: kind for name, kind in self.columns.items() if name not in names}
        return replace(self, columns=columns, required=self.required - set(names))

    def whole(self, row: Row) -> Row:
        """The row with every column."""
        return {name: row.get(name, self.defaults.get(name)) for name in self.columns}


def _is_uuid(value: Any) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return value is None
    return True


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
