"""Everything the library has about one image: how it was made, its cost and its deliveries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from imagen.core.json_values import as_list, as_mapping
from imagen.errors import LibraryError
from imagen.library.ledger import find_row
from imagen.library.outbox import deliveries_for
from imagen.library.schema import datetime_of, generations, images, path_of, thumbnails
from imagen.outputs import ImageRecord, strip_folders
from imagen.outputs.provenance import request_from_values
from imagen.outputs.sidecar import SIDECAR_FORMAT

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Row

    from imagen.library.database import Library
    from imagen.library.ledger import LedgerRow
    from imagen.library.outbox import PendingDelivery
    from imagen.library.search import LibraryImage

_AT_ONCE = 500
"""Generations in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetail:
    """What belongs to an image, or to its generation, beyond how it was made."""

    source: str
    """`imagen`, or `import` if it was added from files."""
    kind: str
    """The kind of its backend's adapter."""
    caller: str
    ended: datetime
    warnings: tuple[str, ...]
    ledger_row: LedgerRow | None
    deliveries: tuple[PendingDelivery, ...]
    """Sent ones too."""


def load_detail(library: Library, image: LibraryImage) -> ImageDetail:
    """Raises LibraryError."""
    row = _load_generation(library, image)
    return ImageDetail(
        source=row.source,
        kind=row.kind,
        caller=row.caller,
        ended=datetime_of(row.ended_ms),
        warnings=tuple(row.warnings),
        ledger_row=find_row(library, image.generation),
        deliveries=tuple(deliveries_for(library, image.generation, image.number)),
    )


class RecordedGeneration(NamedTuple):
    """What is known of a generation, beside its images."""

    id: str
    backend: str
    ticket: dict[str, Any]
    facts: dict[str, Any]
    warnings: tuple[str, ...]


def load_generations(library: Library, ids: Sequence[str]) -> list[RecordedGeneration]:
    """The recorded ones of these generations, in this order. Raises LibraryError."""
    columns = (generations.c[name] for name in RecordedGeneration._fields)
    chosen = select(*columns)
    found: dict[str, RecordedGeneration] = {}
    with library.reading() as connection:
        for first in range(0, len(ids), _AT_ONCE):
            some = generations.c.id.in_(ids[first : first + _AT_ONCE])
            for id, backend, ticket, facts, warnings in connection.execute(chosen.where(some)):
                own = as_mapping(ticket), as_mapping(facts), tuple(map(str, as_list(warnings)))
                found[id] = RecordedGeneration(id, backend, *own)
    return [found[id] for id in ids if id in found]


def load_record(library: Library, image: LibraryImage) -> ImageRecord:
    """How an image was made, as its sidecar says it. Raises LibraryError.

    An image that was added from files has the values that could be read.
    """
    row = _load_generation(library, image)
    ticket = as_mapping(row.ticket)
    imported: dict[str, Any] = as_mapping(as_mapping(row.facts).get("told"))
    if imported.get("source") in ("parameters", "invokeai", "settings", "prompt"):
        source, tool = imported["source"], str(imported.get("tool", ""))
        # Of a graph, this is the service that sent it; other records name the tool in their facts.
        is_service = source == "prompt" and tool != "comfyui"
        return ImageRecord(
            source=source,
            tool=tool if source == "settings" or is_service else "",
            resolved=as_mapping(imported.get("resolved")),
            facts=as_mapping(imported.get("facts")),
            graph=as_mapping(ticket.get("payload")),
        )
    request = as_mapping(ticket.get("request"))
    return ImageRecord(
        source="sidecar",
        backend=row.backend,
        workflow=str(ticket.get("workflow", "")),
        request=as_mapping(row.request),
        resolved={k: v for k, v in request.items() if v not in (None, [], {})},
        receipt=as_mapping(ticket.get("receipt")),
        facts=as_mapping(row.facts),
        graph=as_mapping(ticket.get("payload")),
        inputs=tuple(map(as_mapping, as_list(ticket.get("inputs")))),
        file={
            "file": image.path.name,
            "sha256": image.sha256,
            "media_type": image.media_type,
            "created": image.created.isoformat(timespec="seconds"),
            "seed": image.seed,
            "index": image.number,
            "ticket": image.generation,
        },
    )


def _load_generation(library: Library, image: LibraryImage) -> Row[Any]:
    statement = select(generations).where(generations.c.id == image.generation)
    with library.reading() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise LibraryError(f"Generation {image.generation} is no longer in the library.")
    return row


def build_sidecar(library: Library, image: LibraryImage) -> bytes:
    """The JSON for beside an image, from what the library has. Raises LibraryError."""
    record = load_record(library, image)
    sidecar = {
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
        sidecar = strip_folders(sidecar, request_from_values(values)[0])
    return json.dumps(sidecar, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"


def read_thumbnail(library: Library, image: LibraryImage) -> bytes | None:
    """The WebP thumbnail that was made as the image was saved; None if there is none."""
    with library.reading() as connection:
        chosen = select(thumbnails.c.webp).where(thumbnails.c.image == image.key)
        return connection.scalar(chosen)


def find_paths(library: Library, digests: Collection[str]) -> list[Path]:
    """Where images with these hashes are, as far as the library knows."""
    chosen = select(images.c.path).where(images.c.sha256.in_(digests))
    with library.reading() as connection:
        return [path_of(path) for path in connection.execute(chosen).scalars()]
