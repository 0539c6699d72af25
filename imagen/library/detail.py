"""What the library tells of how a picture was made, as its sidecar would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from imagen.core.json_values import as_mapping
from imagen.errors import LibraryError
from imagen.library.ledger import find_row
from imagen.library.outbox import deliveries_for
from imagen.library.schema import generations, images
from imagen.library.stored_values import datetime_of, path_of
from imagen.outputs import ImageRecord, strip_folders
from imagen.outputs.provenance import request_from_values
from imagen.outputs.sidecar import SIDECAR_FORMAT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Row

    from imagen.library.database import Library
    from imagen.library.ledger import LedgerRow
    from imagen.library.outbox import PendingDelivery
    from imagen.library.search import LibraryImage


def load_record(library: Library, picture: LibraryImage) -> ImageRecord:
    """The record of a picture that the library knows; raises LibraryError.

    Of one that was taken in from elsewhere, the values are those that could be read.
    """
    statement = select(generations).where(generations.c.id == picture.generation)
    with library.reading() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise LibraryError(f"The library has nothing on the generation {picture.generation}.")
    return _record(row, picture)


def build_sidecar(library: Library, picture: LibraryImage) -> bytes:
    """The JSON that belongs beside a picture, of what the library has; raises LibraryError."""
    record = load_record(library, picture)
    whole = {
        "imagen": SIDECAR_FORMAT,
        **record.file,
        "backend": record.backend,
        "workflow": record.workflow,
        "request": record.request,
        "inputs": list(record.inputs),
        "resolved": record.resolved,
        "receipt": record.receipt,
        "graph": record.graph,
        "facts": record.facts,
        "warnings": [],
    }
    for values in (record.request, record.resolved):
        whole = strip_folders(whole, request_from_values(values)[0])
    return json.dumps(whole, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"


def find_paths(library: Library, digests: Collection[str]) -> list[Path]:
    """Where pictures of these hashes lie, as far as the library knows."""
    chosen = select(images.c.path).where(images.c.sha256.in_(digests))
    with library.reading() as connection:
        return [path_of(path) for path in connection.execute(chosen).scalars()]


def _record(row: Row[Any], picture: LibraryImage) -> ImageRecord:
    ticket = as_mapping(row.ticket)
    told = as_mapping(as_mapping(row.facts).get("told"))
    if told.get("source") in ("parameters", "invokeai", "settings", "prompt"):
        return _stranger(told, ticket)
    inputs = ticket.get("inputs")
    return ImageRecord(
        source="sidecar",
        backend=row.backend,
        workflow=str(ticket.get("workflow", "")),
        request=dict(as_mapping(row.asked)),
        resolved=_said(as_mapping(ticket.get("request"))),
        receipt=dict(as_mapping(ticket.get("receipt"))),
        facts=dict(as_mapping(row.facts)),
        graph=dict(as_mapping(ticket.get("payload"))),
        inputs=tuple(inputs) if isinstance(inputs, list) else (),
        file={
            "file": picture.path.name,
            "sha256": picture.sha256,
            "media_type": picture.media_type,
            "created": picture.began.isoformat(timespec="seconds"),
            "seed": picture.seed,
            "index": picture.number,
            "ticket": picture.generation,
        },
    )


def _stranger(told: Mapping[str, Any], ticket: Mapping[str, Any]) -> ImageRecord:
    """As its own file told it, when it was taken in."""
    return ImageRecord(
        source=told["source"],
        tool=_tool(told),
        resolved=dict(as_mapping(told.get("resolved"))),
        facts=dict(as_mapping(told.get("facts"))),
        graph=dict(as_mapping(ticket.get("payload"))),
    )


def _tool(told: Mapping[str, Any]) -> str:
    """Of a graph, the service that sent it; all others say it in their facts."""
    tool = str(told.get("tool", ""))
    is_service = told["source"] == "prompt" and tool != "comfyui"
    return tool if told["source"] == "settings" or is_service else ""


def _said(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if value not in (None, [], {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetail:
    """What belongs to one picture, or to its generation as a whole."""

    source: str
    """`imagen`, or `import` for what was taken in from elsewhere."""
    kind: str
    """The kind of its backend's adapter."""
    caller: str
    ended: datetime
    warnings: tuple[str, ...]
    use: LedgerRow | None
    """Its row of the ledger."""
    deliveries: tuple[PendingDelivery, ...]
    """Who is told of it, and who has been."""


def load_detail(library: Library, picture: LibraryImage) -> ImageDetail:
    """All of it; raises LibraryError."""
    statement = select(generations).where(generations.c.id == picture.generation)
    with library.reading() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise LibraryError(f"The library has nothing on the generation {picture.generation}.")
    return ImageDetail(
        source=row.source,
        kind=row.kind,
        caller=row.caller,
        ended=datetime_of(row.ended_ms),
        warnings=tuple(row.warnings),
        use=find_row(library, picture.generation),
        deliveries=tuple(deliveries_for(library, picture.generation, picture.number)),
    )
