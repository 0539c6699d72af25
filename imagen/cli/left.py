"""What `imagen sync` tells: what was sent, what is left, and why."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line
from imagen.delivery.worker import elsewhere, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imagen.delivery.worker import Synced
    from imagen.library import Delivery
    from imagen.library.outbox import PendingDelivery

_MOST_LISTED = 30
_LONGEST_REASON = 800
_NOUNS = {
    "cloud": ("picture to the cloud", "pictures to the cloud"),
    "mirror": ("entry of the ledger", "entries of the ledger"),
    "webhook": ("message to a webhook", "messages to webhooks"),
}
_RETRY = "Try it again at once with: imagen sync --retry"
_MENDED = "Once that is mended: imagen sync --retry"


def print_state(synced: Synced | None, left: Sequence[PendingDelivery]) -> None:
    """All of it for a person; without `synced`, nothing was tried."""
    if synced is not None:
        echo(_sent(synced.sent))
    _print_listed([waiting for waiting in left if waiting.delivery.kind != "mirror"])
    for line in _of_the_ledger([waiting for waiting in left if waiting.delivery.kind == "mirror"]):
        echo(line)
    if any(waiting.state == "stuck" for waiting in left):
        echo(_MENDED)
    elif any(waiting.last_error for waiting in left):
        echo(_RETRY)
    elif not left and synced is None:
        echo("Nothing waits.")


def _of_the_ledger(left: Sequence[PendingDelivery]) -> Iterator[str]:
    """How many entries wait, and how many are stuck; a warning says why."""
    for state, verbs in (("waiting", ("waits", "wait")), ("stuck", ("is stuck", "are stuck"))):
        if number := sum(waiting.state == state for waiting in left):
            yield f"{number} {_NOUNS['mirror'][number > 1]} {verbs[number > 1]}."


def _sent(deliveries: Iterable[Delivery]) -> str:
    """`Sent 2 pictures to the cloud, 1 message to a webhook.`"""
    of_each = Counter(delivery.kind for delivery in deliveries)
    told = ", ".join(f"{n} {_NOUNS[kind][n > 1]}" for kind, n in of_each.items())
    return f"Sent {told}." if told else "Nothing was sent."


def _print_listed(left: Sequence[PendingDelivery]) -> None:
    """A row for each, and under those that have one reason in common the reason."""
    shown = left[:_MOST_LISTED]
    whys = [_why(waiting) for waiting in shown]
    below = ["" if why == following else why for why, following in zip_longest(whys, whys[1:])]
    print_table(_COLUMNS, [_row(waiting) for waiting in shown], below=below)
    if len(left) > len(shown):
        echo(f"… and {len(left) - len(shown)} more; --json lists them all.")


_COLUMNS = (
    Column("id"),
    Column("to"),
    Column("image"),
    Column("state", is_whole=True),
    Column("tries", is_whole=True, drop=1),
)


def _row(waiting: PendingDelivery) -> tuple[str, ...]:
    delivery = waiting.delivery
    tries = f"tried {waiting.attempts} ×" if waiting.attempts else ""
    return str(waiting.id), _to(delivery), picture(delivery), _state(waiting), tries


def _state(waiting: PendingDelivery) -> str:
    """`stuck`, `waiting`, or `waiting till 12:31:05`."""
    due = waiting.due.astimezone()
    now = datetime.now().astimezone()
    if waiting.state == "stuck" or due <= now:
        return waiting.state
    day = "" if due.date() == now.date() else f"{due:%Y-%m-%d} "
    return f"waiting till {day}{due:%H:%M:%S}"


def _why(waiting: PendingDelivery) -> str:
    return waiting.last_error or elsewhere(waiting.delivery)


def _to(delivery: Delivery) -> str:
    """A webhook's whole address may be a secret."""
    return host(delivery) or delivery.kind


def host(delivery: Delivery) -> str | None:
    """Of a webhook."""
    return urlsplit(delivery.destination).hostname


def picture(delivery: Delivery) -> str:
    """The ID of the picture, or of the generation's first where all of it is meant."""
    number = f".{delivery.part + 1}" if delivery.kind == "cloud" and delivery.part else ""
    return delivery.generation[:8] + number


def warnings(left: Iterable[PendingDelivery]) -> Iterator[str]:
    """One, where the ledger's copy is behind: it is nothing that anybody waits for."""
    late = [one for one in left if one.delivery.kind == "mirror" and one.last_error]
    if late:
        lacks = f"{len(late)} {'entries' if len(late) > 1 else 'entry'}"
        why = one_line(late[-1].last_error, limit=_LONGEST_REASON)
        yield f"The ledger's copy in the cloud lacks {lacks}: {why}"


def news(synced: Synced) -> list[str]:
    """What `--watch` has to say of one round: nothing where nothing was tried."""
    failed = {
        f"{_to(one.waiting.delivery)}: {one_line(reason(one.error), limit=_LONGEST_REASON)}"
        for one in synced.failed
    }
    return [*([_sent(synced.sent)] if synced.sent else []), *sorted(failed)]


def as_data(
    synced: Synced | None, left: Iterable[PendingDelivery], notes: Mapping[str, str]
) -> dict[str, Any]:
    """The documented JSON."""
    sent = synced.sent if synced is not None else ()
    return {
        "sent": [_delivery(one) for one in sent],
        "left": [_waiting(one) for one in left],
        "warnings": list(notes.values()),
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "kind": delivery.kind,
        "host": host(delivery),
        "picture": picture(delivery),
        "generation": delivery.generation,
    }


def _waiting(waiting: PendingDelivery) -> dict[str, Any]:
    why, _, remedy = _why(waiting).partition("\n")
    return {
        "id": waiting.id,
        **_delivery(waiting.delivery),
        "state": waiting.state,
        "attempts": waiting.attempts,
        "due": waiting.due.astimezone().isoformat(timespec="seconds"),
        "reason": why,
        "remedy": remedy,
    }
