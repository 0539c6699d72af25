"""The ledger's rows into the cloud, where several machines' come together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.sinks import cloud, project
from imagen.sinks.places import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import Settings
    from imagen.library.entries import Delivery, Entry

_SCHEMA = "mai"
_TABLE = "imagen_usage"
_KEPT = (
    *("backend", "model", "prompt_sha256", "images", "latency_seconds", "estimated_cost"),
    *("actual_cost", "currency", "caller"),
)


def is_on(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether they go there; raises ConfigError where they must and something is missing."""
    switch = settings.usage.mirror
    if switch == "auto":
        return cloud.is_on(settings, environ)
    return project.is_on(switch, "usage.mirror", settings, environ, owned=False)


def deliveries(entry: Entry, settings: Settings, environ: Mapping[str, str]) -> list[Delivery]:
    """One for each generation that is in the ledger."""
    if entry.state != "done" or entry.source != "imagen" or not is_on(settings, environ):
        return []
    from imagen.library.entries import Delivery

    return [Delivery(kind="mirror", generation=entry.id, payload={"row": _row(entry, settings)})]


def _row(entry: Entry, settings: Settings) -> dict[str, Any]:
    from imagen.library.ledger import ledger_row

    ours = ledger_row(entry, settings.usage)
    row = {
        "id": entry.id,
        "seed": None if ours["seed"] is None else int(ours["seed"]),
        "created_at": entry.ended_at.isoformat(),
        **{name: ours[name] for name in _KEPT},
    }
    return dict(storable(row))


def send(delivery: Delivery, settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Insert the row, unless it is there already."""
    if settings.usage.mirror == "auto":
        project.refuse_off(settings.output.cloud_sync, "output.cloud_sync")
    project.refuse_off(settings.usage.mirror, "usage.mirror")
    row: dict[str, Any] = delivery.payload["row"]
    with project.opened(settings, environ) as there:
        there.insert(_SCHEMA, _TABLE, row)
    return {"table": f"{_SCHEMA}.{_TABLE}", "id": row["id"]}
