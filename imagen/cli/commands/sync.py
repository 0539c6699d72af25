"""imagen sync: send the deliveries that wait for Supabase and webhooks."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.library_common import count_noun
from imagen.cli.options import config_option, json_option, quiet_option
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line
from imagen.errors import Cancelled, LibraryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from threading import Event

    from imagen.config import Settings
    from imagen.delivery.worker import SyncResult
    from imagen.library import Delivery, Library
    from imagen.library.outbox import PendingDelivery

_STUCK = 4
"""The exit code."""
_POLL_SECONDS = 5.0
"""How often --watch looks for new deliveries."""
_MIN_PAUSE_SECONDS = 1.0
_MAX_LISTED = 30
_MAX_ERROR_LENGTH = 800
_NOUNS = {
    "cloud": ("image to the cloud", "images to the cloud"),
    "mirror": ("ledger row", "ledger rows"),
    "webhook": ("message to a webhook", "messages to webhooks"),
}
_RETRY = "Retry now with: imagen sync --retry"
_RETRY_STUCK = "After fixing the cause, retry with: imagen sync --retry"
_COLUMNS = (
    Column("id"),
    Column("to"),
    Column("image"),
    Column("state", is_whole=True),
    Column("tries", is_whole=True, drop=1),
)


@click.command(cls=Command)
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--watch", is_flag=True, help="Keep running, and send new deliveries too.")
@click.option("--retry", is_flag=True, help="Retry stuck and delayed deliveries now.")
@click.option("--forget", is_flag=True, help="Delete the deliveries with these IDs unsent.")
@click.option("--list", "only_list", is_flag=True, help="List unsent deliveries, and send nothing.")
@click.option("--unless-running", is_flag=True, help="Exit at once if another sync is running.")
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
    """Send waiting deliveries to Supabase and webhooks.

    Temporary errors are retried after 30 seconds, then after longer and longer pauses, up to an
    hour. After any other error a delivery is stuck until --retry. --list shows the ID of each. The
    exit code is 4 if a delivery is stuck.
    """
    if ids and not (retry or forget):
        raise usage_error("An ID needs --retry or --forget.")
    if forget and not ids:
        raise usage_error("--forget needs IDs. List them with --list.")
    if retry and (forget or only_list):
        other = "forget" if forget else "list"
        raise usage_error(f"--retry and --{other} cannot be combined.")
    if watch and only_list:
        raise usage_error("--watch and --list cannot be combined.")
    if watch and (as_json or forget):
        raise usage_error("--watch cannot be combined with --json or --forget.")
    from imagen.cli.progress import interruptible
    from imagen.config import load_settings
    from imagen.delivery.worker import record_failures
    from imagen.pipeline.record import open_library_synced

    # Not settings_for, which shows the last failure: this command lists them all.
    settings = load_settings(config_path)
    if retry or forget:
        _retry_or_forget(settings, ids, is_forgotten=forget)
    if watch:
        return _watch(settings, quiet=quiet, unless_running=unless_running)
    if only_list or forget:
        with open_library_synced(settings) as library:
            record_failures(library, settings)
            return _print_result(library, None, {}, as_json=as_json)
    notes: dict[str, str] = {}
    with open_library_synced(settings) as library, interruptible() as stop:
        result = _sync(library, settings, stop, notes, quiet=quiet, unless_running=unless_running)
        code = _print_result(library, result, notes, as_json=as_json)
    if stop.is_set():
        raise Cancelled
    return code


def _retry_or_forget(settings: Settings, ids: Sequence[int], *, is_forgotten: bool) -> None:
    """Raises RequestError for an unknown ID."""
    from imagen.library import outbox
    from imagen.pipeline.record import open_library_synced

    with open_library_synced(settings) as library:
        known = {pending.id for pending in outbox.list_unsent(library)}
        if unknown := [id for id in ids if id not in known]:
            raise RequestError(
                f"Delivery {unknown[0]} was not found.",
                remedy="List unsent deliveries with: imagen sync --list",
            )
        if is_forgotten:
            outbox.delete_unsent(library, ids)
        else:
            outbox.retry(library, ids or None)


def _sync(
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
    from imagen.jobs.image_files import find_delivery_file

    with count_progress("sending", quiet=quiet) as on_progress:
        return sync_alone(
            library,
            settings,
            os.environ,
            unless_running=unless_running,
            on_progress=on_progress,
            is_stopped=stop.is_set,
            notes=notes,
            find_file=lambda delivery: find_delivery_file(delivery, library, settings),
        )


def _watch(settings: Settings, *, quiet: bool, unless_running: bool) -> int:
    """Never returns; raises Cancelled when it is stopped."""
    from imagen.cli.progress import interruptible
    from imagen.delivery.worker import format_error
    from imagen.library import outbox
    from imagen.pipeline.record import open_library_synced

    last_lines: list[str] = []
    warned: set[str] = set()
    with interruptible() as stop:
        while not stop.is_set():
            pause = _POLL_SECONDS
            try:
                with open_library_synced(settings) as library:
                    notes: dict[str, str] = {}  # for one round: columns may be added meanwhile
                    result = _sync(
                        library, settings, stop, notes, quiet=quiet, unless_running=unless_running
                    )
                    failed = {
                        f"{_target(one.pending.delivery)}: "
                        f"{one_line(format_error(one.error), limit=_MAX_ERROR_LENGTH)}"
                        for one in result.failed
                    }
                    sent = [_describe_sent(result.sent)] if result.sent else []
                    lines = [*sent, *sorted(failed)]
                    if due := outbox.next_due(library):
                        pause = (due - datetime.now(UTC)).total_seconds()
                for warning in {*notes.values()} - warned:
                    echo(warning, err=True)
                warned.update(notes.values())
            except LibraryError as error:  # it may work again soon
                lines = [one_line(error.message, limit=400)]
            if lines and lines != last_lines:
                echo("\n".join(lines))
            last_lines = lines
            stop.wait(min(max(pause, _MIN_PAUSE_SECONDS), _POLL_SECONDS))
    raise Cancelled("Stopped. The next imagen sync sends what is waiting.")


def _print_result(
    library: Library, result: SyncResult | None, notes: Mapping[str, str], *, as_json: bool
) -> int:
    """What was sent (None: nothing was tried) and what is left; returns the exit code."""
    from imagen.library import outbox

    left = outbox.list_unsent(library)
    if as_json:
        sent = result.sent if result is not None else ()
        data = {
            "sent": list(map(_delivery_as_json, sent)),
            "left": [
                {
                    "id": one.id,
                    **_delivery_as_json(one.delivery),
                    "state": one.state,
                    "attempts": one.attempts,
                    "due": one.due.astimezone().isoformat(timespec="seconds"),
                    "reason": _reason(one).partition("\n")[0],
                    "remedy": _reason(one).partition("\n")[2],
                }
                for one in left
            ],
            "warnings": list(notes.values()),
        }
        click.echo(json.dumps(data, indent=2))
    else:
        if result is not None:
            echo(_describe_sent(result.sent))
        _print_pending([one for one in left if one.delivery.kind != "mirror"])
        for state in ("waiting", "stuck"):  # rows of the ledger are only counted
            number = sum(one.state == state for one in left if one.delivery.kind == "mirror")
            if number:
                are = "is" if number == 1 else "are"
                echo(f"{count_noun(number, 'ledger row')} {are} {state}.")
        if any(one.state == "stuck" for one in left):
            echo(_RETRY_STUCK)
        elif any(one.last_error for one in left):
            echo(_RETRY)
        elif not left and result is None:
            echo("Nothing is waiting.")
    for note in notes.values():
        echo(note, err=True)
    if late := [one for one in left if one.delivery.kind == "mirror" and one.last_error]:
        rows = count_noun(len(late), "row")
        error = one_line(late[-1].last_error, limit=_MAX_ERROR_LENGTH)
        echo(f"The copy of the ledger in the cloud lacks {rows}: {error}", err=True)
    is_stuck = any(one.state == "stuck" and one.delivery.kind != "mirror" for one in left)
    return _STUCK if is_stuck or (result is not None and result.is_unset) else 0


def _describe_sent(deliveries: Iterable[Delivery]) -> str:
    """`Sent 2 images to the cloud, 1 message to a webhook.`"""
    of_each = Counter(delivery.kind for delivery in deliveries)
    parts = ", ".join(f"{n} {_NOUNS[kind][n > 1]}" for kind, n in of_each.items())
    return f"Sent {parts}." if parts else "Nothing was sent."


def _print_pending(left: Sequence[PendingDelivery]) -> None:
    """A row for each; consecutive rows with the same error have it once, below the last."""
    shown = left[:_MAX_LISTED]
    errors = list(map(_reason, shown))
    below = [
        "" if error == following else error for error, following in zip_longest(errors, errors[1:])
    ]
    rows = [
        (
            str(one.id),
            _target(one.delivery),
            _image_id(one.delivery),
            _describe_state(one),
            f"tried {one.attempts} ×" if one.attempts else "",
        )
        for one in shown
    ]
    print_table(_COLUMNS, rows, below=below)
    if len(left) > len(shown):
        echo(f"… and {len(left) - len(shown)} more; --json lists them all.")


def _describe_state(pending: PendingDelivery) -> str:
    """`stuck`, `waiting`, or `waiting until 12:31:05`."""
    due = pending.due.astimezone()
    now = datetime.now().astimezone()
    if pending.state == "stuck" or due <= now:
        return pending.state
    day = "" if due.date() == now.date() else f"{due:%Y-%m-%d} "
    return f"waiting until {day}{due:%H:%M:%S}"


def _reason(pending: PendingDelivery) -> str:
    from imagen.delivery.worker import other_machine_reason

    return pending.last_error or other_machine_reason(pending.delivery)


def _host(delivery: Delivery) -> str | None:
    """Of a webhook, whose whole URL may be a secret."""
    return urlsplit(delivery.destination).hostname


def _target(delivery: Delivery) -> str:
    return _host(delivery) or delivery.kind


def _image_id(delivery: Delivery) -> str:
    """The ID of the image, or of the first one if a delivery is about the whole generation."""
    number = f".{delivery.part + 1}" if delivery.kind == "cloud" and delivery.part else ""
    return delivery.generation[:8] + number


def _delivery_as_json(delivery: Delivery) -> dict[str, Any]:
    return {
        "kind": delivery.kind,
        "host": _host(delivery),
        "image": _image_id(delivery),
        "generation": delivery.generation,
    }
