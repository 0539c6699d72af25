"""Copy the rows of the ledger to Supabase, where those of several machines come together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen import delivery as targets
from imagen.core.json_values import json_safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Settings
    from imagen.library.records import Delivery, GenerationRecord

_LEDGER_COLUMNS = (
    *("backend", "model", "prompt_sha256", "images", "latency_seconds", "estimated_cost"),
    *("actual_cost", "currency", "caller"),
)
_OPTIONAL = ("images", "actual_cost", "currency")
"""Columns that the table in the cloud may lack."""


def is_enabled(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether the ledger is copied. Raises ConfigError if it must be and a setting is missing."""
    return targets.is_switch_on(
        settings.usage.mirror, "usage.mirror", settings, environ, owned=False
    )


def deliveries(
    record: GenerationRecord, settings: Settings, environ: Mapping[str, str]
) -> list[Delivery]:
    """One for each generation in the ledger."""
    if record.state != "done" or record.source != "imagen" or not is_enabled(settings, environ):
        return []
    from imagen.library.ledger import build_row
    from imagen.library.records import Delivery

    ledger_row = build_row(record, settings.usage)
    row = {
        "id": record.id,
        "seed": None if ledger_row["seed"] is None else int(ledger_row["seed"]),
        "created_at": record.ended_at.isoformat(),
        **{name: ledger_row[name] for name in _LEDGER_COLUMNS},
    }
    payload = {"row": json_safe(row, keep_nul=False)}
    return [Delivery(kind="mirror", generation=record.id, payload=payload)]


def send(
    delivery: Delivery, settings: Settings, environ: Mapping[str, str], notes: dict[str, str]
) -> dict[str, object]:
    """Insert the row, unless it is there already.

    If the table lacks an optional column, all of them are left out, and `notes` gets a warning by
    the name of the table; later rows are then sent without them at once.
    """
    from imagen.delivery.supabase import connect

    targets.require_switch(settings.usage.mirror, "usage.mirror")
    schema, table = settings.usage.mirror_schema, settings.usage.mirror_table
    name = f"{schema}.{table}"
    ledger_row = delivery.payload["row"]
    seconds = ledger_row["latency_seconds"]
    names = ("id", "created_at", "backend", "model", "seed", "caller", *_OPTIONAL)
    row = {name: ledger_row[name] for name in names} | {
        "prompt_hash": ledger_row["prompt_sha256"],
        "latency_ms": None if seconds is None else round(seconds * 1000),
        "cost_usd_estimate": ledger_row["estimated_cost"],
    }
    if name in notes:
        row = {column: value for column, value in row.items() if column not in _OPTIONAL}
    with connect(settings, environ) as client:
        missing = client.insert(schema, table, row, optional=_OPTIONAL)
    if missing:
        notes[name] = (
            f"The table {name} in the cloud has no column {missing}: rows are sent without "
            f"{', '.join(_OPTIONAL)}. To add these columns, run docs/supabase.sql in the SQL "
            "editor of the project."
        )
    return {"table": name, "id": row["id"]}
