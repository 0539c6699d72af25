"""What the library keeps of one picture beside how it was made, in lines and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imagen.cli.costs import money
from imagen.cli.library_common import as_data, local, stars
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.library import LedgerRow, Library, LibraryImage, Particulars
    from imagen.library.outbox import PendingDelivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """For a person, and for a program."""

    lines: tuple[str, ...]
    data: dict[str, Any]


def kept(library: Library, picture: LibraryImage) -> Kept:
    """All of it; raises LibraryError."""
    from imagen.library import particulars_of

    more = particulars_of(library, picture)
    lines = (*_of_picture(picture), *_of_generation(more))
    return Kept(lines=lines, data=as_data(picture) | _data(more))


def _of_picture(picture: LibraryImage) -> Iterator[str]:
    yield f"id: {picture.id}"
    yield f"path: {one_line(str(picture.path), limit=4000)}" + _whereabouts(picture)
    yield f"made: {local(picture.began):%Y-%m-%d %H:%M:%S}"
    if picture.rating:
        yield f"rating: {stars(picture.rating)}"
    if picture.tags:
        yield f"tags: {', '.join(picture.tags)}"
    if picture.cloud:
        yield one_line(f"cloud: {picture.cloud.get('bucket')}/{picture.cloud.get('path')}")


def _whereabouts(picture: LibraryImage) -> str:
    from platform import node

    there = "" if picture.host == node() else f"on the machine {one_line(picture.host)}"
    said = ["in the trash" if picture.is_trashed else "", "missing" if picture.is_missing else ""]
    words = ", ".join(part for part in (there, *said) if part)
    return f" ({words})" if words else ""


def _of_generation(more: Particulars) -> Iterator[str]:
    if more.source == "import":
        yield "source: taken in from elsewhere"
    if more.caller:
        yield f"caller: {one_line(more.caller)}"
    if more.use is not None and (cost := _cost(more.use)):
        yield f"cost: {cost}"
    yield from (f"warning: {one_line(warning)}" for warning in more.warnings)
    yield from map(_delivery, more.deliveries)


def _cost(use: LedgerRow) -> str:
    if use.is_unknown:
        return "unknown"
    expected = " (as expected beforehand)" if use.actual_cost is None else ""
    return "" if use.cost is None else money(use.cost, use.currency) + expected


def _delivery(waiting: PendingDelivery) -> str:
    """`told: webhook example.com: stuck: …`; a webhook's whole address may be a secret."""
    host = urlsplit(waiting.delivery.destination).hostname or ""
    why = one_line(waiting.last_error)
    return ": ".join(part for part in (_to(waiting, host), waiting.state, why) if part)


def _to(waiting: PendingDelivery, host: str) -> str:
    return f"told: {waiting.delivery.kind} {host}".rstrip()


def _data(more: Particulars) -> dict[str, Any]:
    use = more.use
    return {
        "source": more.source,
        "kind": more.kind,
        "caller": more.caller,
        "ended": local(more.ended).isoformat(timespec="seconds"),
        "warnings": list(more.warnings),
        "cost": use.cost if use else None,
        "estimated_cost": use.estimated_cost if use else None,
        "currency": use.currency if use and use.cost is not None else None,
        "deliveries": [_delivery_data(waiting) for waiting in more.deliveries],
    }


def _delivery_data(waiting: PendingDelivery) -> dict[str, Any]:
    return {
        "kind": waiting.delivery.kind,
        "host": urlsplit(waiting.delivery.destination).hostname,
        "state": waiting.state,
        "attempts": waiting.attempts,
        "due": local(waiting.due).isoformat(timespec="seconds"),
        "last_error": waiting.last_error,
    }
