"""imagen sync: send what waits for the cloud and for webhooks."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.options import config_option, json_option, quiet_option
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line
from imagen.delivery.worker import format_error, other_machine_reason
from imagen.errors import Cancelled, LibraryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from threading import Event

    from imagen.config import Settings
    from imagen.delivery.worker import SyncResult
    from imagen.library import Delivery, Library
    from imagen.library.outbox import PendingDelivery


_STUCK = 4
_LOOK_SECONDS = 5.0
"""How soon --watch finds what was made meanwhile."""
_SHORTEST_SECONDS = 1.0


@click.command(cls=Command)
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--watch", is_flag=True, help="Go on, and send what is made from now on, too.")
@click.option("--retry", is_flag=True, help="First make due what is stuck or waits for its turn.")
@click.option("--forget", is_flag=True, help="Be rid of these IDs: they are never sent.")
@click.option("--list", "only_list", is_flag=True, help="List what is left, and send nothing.")
@click.option("--unless-running", is_flag=True, help="End at once where another sync is at work.")
@json_option
@quiet_option
@config_option
def sync(
    ids: tuple[int, ...],
    watch: bool,
    retry: bool,
    forget: bool,
    only_list: bool,
    unless_running: bool,
    as_json: bool,
    quiet: bool,
    config_path: Path | None,
) -> int:
    """Send what waits for the cloud and for webhooks.

    What may pass is tried again, after 30 seconds and then ever later, up to an hour; all else is
    stuck until it is mended. The list tells the ID of each. The exit code is 4 where something is
    stuck.
    """
    _refuse_nonsense(ids, watch=watch, retry=retry, forget=forget, list=only_list, json=as_json)
    from imagen.config import load_settings

    settings = load_settings(
        config_path
    )  # without the line about failures: this command reports them all
    if retry or forget:
        _change(settings, ids, is_forgotten=forget)
    if watch:
        return _watch(settings, quiet=quiet, unless_running=unless_running)
    send = _nothing if only_list or forget else _once
    return send(settings, as_json=as_json, quiet=quiet, unless_running=unless_running)


def _refuse_nonsense(ids: Sequence[int], **flags: bool) -> None:
    if ids and not (flags["retry"] or flags["forget"]):
        raise usage_error("An ID needs --retry or --forget beside it.")
    if flags["forget"] and not ids:
        raise usage_error("--forget needs the IDs to forget. List them with --list.")
    for one, other in (("retry", "forget"), ("retry", "list"), ("watch", "list")):
        if flags[one] and flags[other]:
            raise usage_error(f"--{one} and --{other} don't go together.")
    if flags["watch"] and (flags["json"] or flags["forget"]):
        raise usage_error("--watch goes on for ever, so it goes with neither --json nor --forget.")


def _change(settings: Settings, ids: Sequence[int], *, is_forgotten: bool) -> None:
    """Make it due, or be rid of it; raises RequestError for an ID of nothing."""
    from imagen.library import outbox
    from imagen.pipeline.record import open_library_synced

    with open_library_synced(settings) as library:
        known = {waiting.id for waiting in outbox.list_unsent(library)}
        if unknown := [id for id in ids if id not in known]:
            raise RequestError(
                f"Nothing with the ID {unknown[0]} waits to be sent.",
                remedy="List what does with: imagen sync --list",
            )
        if is_forgotten:
            outbox.delete_unsent(library, ids)
        else:
            outbox.retry(library, ids or None)


def _nothing(settings: Settings, *, as_json: bool, quiet: bool, unless_running: bool) -> int:
    from imagen.delivery.worker import record_failures
    from imagen.pipeline.record import open_library_synced

    del quiet, unless_running
    with open_library_synced(settings) as library:
        record_failures(library, settings)
        return _tell(library, None, {}, as_json=as_json)


def _once(settings: Settings, *, as_json: bool, quiet: bool, unless_running: bool) -> int:
    from imagen.cli.progress import interruptible
    from imagen.pipeline.record import open_library_synced

    notes: dict[str, str] = {}
    with open_library_synced(settings) as library, interruptible() as stop:
        synced = _synced(library, settings, stop, notes, quiet=quiet, unless_running=unless_running)
        code = _tell(library, synced, notes, as_json=as_json)
    if stop.is_set():
        raise Cancelled
    return code


def _synced(
    library: Library,
    settings: Settings,
    stop: Event,
    notes: dict[str, str],
    *,
    quiet: bool,
    unless_running: bool,
) -> SyncResult:
    from imagen.cli.progress import count_progress
    from imagen.delivery.worker import sync_alone

    with count_progress("sending", quiet=quiet) as on_progress:
        return sync_alone(
            library,
            settings,
            os.environ,
            unless_running=unless_running,
            on_progress=on_progress,
            is_stopped=stop.is_set,
            notes=notes,
        )


def _tell(
    library: Library, synced: SyncResult | None, notes: Mapping[str, str], *, as_json: bool
) -> int:
    """What was sent and what is left; the exit code."""
    from imagen.library import outbox

    left = outbox.list_unsent(library)
    if as_json:
        click.echo(json.dumps(as_data(synced, left, notes), indent=2))
    else:
        print_state(synced, left)
    for warning in (*notes.values(), *warnings(left)):
        echo(warning, err=True)
    is_stuck = any(one.state == "stuck" and one.delivery.kind != "mirror" for one in left)
    return _STUCK if is_stuck or (synced is not None and synced.is_unset) else 0


def _watch(settings: Settings, *, quiet: bool, unless_running: bool) -> int:
    """Never returns by itself; raises Cancelled once told to end."""
    from imagen.cli.progress import interruptible

    said: list[str] = []
    warned: set[str] = set()

    def say(lines: list[str]) -> None:
        """What is as it was a moment ago is not said again."""
        if lines and lines != said:
            echo("\n".join(lines))
        said[:] = lines

    with interruptible() as stop:
        while not stop.is_set():
            pause = _round(settings, stop, say, warned, quiet=quiet, unless_running=unless_running)
            stop.wait(pause)
    raise Cancelled("Ended. What waits is sent by the next imagen sync.")


def _round(
    settings: Settings,
    stop: Event,
    say: Callable[[list[str]], None],
    warned: set[str],
    *,
    quiet: bool,
    unless_running: bool,
) -> float:
    """Send what is due now; the seconds until it makes sense to look again. A library that can't
    be used for a while is waited for."""
    from imagen.pipeline.record import open_library_synced

    try:
        with open_library_synced(settings) as library:
            notes: dict[str, str] = {}  # of this round alone: a table may get its columns later
            synced = _synced(
                library, settings, stop, notes, quiet=quiet, unless_running=unless_running
            )
            say(news(synced))
            for warning in {*notes.values()} - warned:
                echo(warning, err=True)
            warned.update(notes.values())
            return _pause(library)
    except LibraryError as error:
        say([one_line(error.message, limit=400)])
        return _LOOK_SECONDS


def _pause(library: Library) -> float:
    from datetime import UTC, datetime

    from imagen.library import outbox

    due = outbox.next_due(library)
    seconds = _LOOK_SECONDS if due is None else (due - datetime.now(UTC)).total_seconds()
    return min(max(seconds, _SHORTEST_SECONDS), _LOOK_SECONDS)


_MOST_LISTED = 30
_LONGEST_REASON = 800
_NOUNS = {
    "cloud": ("picture to the cloud", "pictures to the cloud"),
    "mirror": ("entry of the ledger", "entries of the ledger"),
    "webhook": ("message to a webhook", "messages to webhooks"),
}
_RETRY = "Try it again at once with: imagen sync --retry"
_MENDED = "Once that is mended: imagen sync --retry"


def print_state(synced: SyncResult | None, left: Sequence[PendingDelivery]) -> None:
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
    return waiting.last_error or other_machine_reason(waiting.delivery)


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


def news(synced: SyncResult) -> list[str]:
    """What `--watch` has to say of one round: nothing where nothing was tried."""
    failed = {
        f"{_to(one.pending.delivery)}: {one_line(format_error(one.error), limit=_LONGEST_REASON)}"
        for one in synced.failed
    }
    return [*([_sent(synced.sent)] if synced.sent else []), *sorted(failed)]


def as_data(
    synced: SyncResult | None, left: Iterable[PendingDelivery], notes: Mapping[str, str]
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
