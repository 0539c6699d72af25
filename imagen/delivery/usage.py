"""The ledger's rows into the cloud, where several machines' come together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.delivery import project
from imagen.delivery.places import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Settings
    from imagen.library.records import Delivery, GenerationRecord

_KEPT = (
    *("backend", "model", "prompt_sha256", "images", "latency_seconds", "estimated_cost"),
    *("actual_cost", "currency", "caller"),
)
_OPTIONAL = ("images", "actual_cost", "currency")
"""Columns that a table may lack."""


def is_on(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether the ledger is copied; raises ConfigError where it is on and something is missing."""
    return project.is_on(settings.usage.mirror, "usage.mirror", settings, environ, owned=False)


def deliveries(
    entry: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> list[Delivery]:
    """One for each generation that is in the ledger."""
    if entry.state != "done" or entry.source != "imagen" or not is_on(settings, environ):
        return []
    from imagen.library.records import Delivery

    return [Delivery(kind="mirror", generation=entry.id, payload={"row": _row(entry, settings)})]


def _row(entry: GenerationRecord, settings: Settings) -> dict[str, Any]:
    """The row of the ledger; its columns in the cloud are chosen when it is sent."""
    from imagen.library.ledger import ledger_row

    ours = ledger_row(entry, settings.usage)
    row = {
        "id": entry.id,
        "seed": None if ours["seed"] is None else int(ours["seed"]),
        "created_at": entry.ended_at.isoformat(),
        **{name: ours[name] for name in _KEPT},
    }
    return dict(storable(row))


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    seconds = row["latency_seconds"]
    names = ("id", "created_at", "backend", "model", "seed", "caller", *_OPTIONAL)
    return {name: row[name] for name in names} | {
        "prompt_hash": row["prompt_sha256"],
        "latency_ms": None if seconds is None else round(seconds * 1000),
        "cost_usd_estimate": row["estimated_cost"],
    }


def send(
    delivery: Delivery, settings: Settings, environ: Mapping[str, str], notes: dict[str, str]
) -> dict[str, Any]:
    """Insert the row, unless it is there already.

    A table that lacks optional columns gets the others. `notes` remembers such a table for the
    later rows of the run, with the sentence to show.
    """
    project.refuse_off(settings.usage.mirror, "usage.mirror")
    schema, table = settings.usage.mirror_schema, settings.usage.mirror_table
    name = f"{schema}.{table}"
    row = _columns(delivery.payload["row"])
    if name in notes:
        row = {column: value for column, value in row.items() if column not in _OPTIONAL}
    with project.opened(settings, environ) as there:
        lacking = there.insert(schema, table, row, optional=_OPTIONAL)
    if lacking:
        notes[name] = (
            f"The table {name} in the cloud lacks the column {lacking}: rows go there without "
            f"{', '.join(_OPTIONAL)}. To add these columns, run docs/supabase.sql in the SQL "
            "editor of the project."
        )
    return {"table": name, "id": row["id"]}
