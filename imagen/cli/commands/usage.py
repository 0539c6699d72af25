"""imagen usage: images, time and cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.options import config_option, json_option, settings_for
from imagen.cli.output import money
from imagen.cli.parsing import since_option, until_option
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import did_you_mean, format_duration, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from imagen.cli.parsing import TypedDate
    from imagen.library import LedgerRow, UsageTotal
    from imagen.library.ledger import UsageGrouping

GROUPINGS: tuple[UsageGrouping, ...] = ("day", "week", "month", "backend", "model", "caller")
_HOUR_SECONDS = 3600
_NAMELESS = "(none)"
_DIGITS = 10
"""Behind the point: what is beyond comes of adding up binary fractions."""


def _groupings(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    text: str,
) -> list[UsageGrouping]:
    """`week,backend` as the two; an empty text is none."""
    known: dict[str, UsageGrouping] = {name: name for name in GROUPINGS}
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            raise usage_error(f"--by {name!r} is none of {', '.join(known)}.{near}")
    return [known[name] for name in dict.fromkeys(names)]


@click.command(cls=Command)
@since_option
@until_option
@click.option(
    "--by",
    default="week,backend,model,caller",
    show_default=True,
    callback=_groupings,
    metavar="A,B,…",
    help="Groups: day, week, month, backend, model, caller.",
)
@click.option("--raw", is_flag=True, help="Each generation by itself, the oldest first.")
@json_option
@config_option
def usage(
    since: TypedDate | None,
    until: TypedDate | None,
    by: list[UsageGrouping],
    raw: bool,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Show usage: images, time and cost.

    The cost of paid engines is what they charged, else what was expected; of your own machines, the
    electricity where usage.watts and usage.price_per_kwh are set. Days and weeks begin in the time
    zone of usage.timezone.
    """
    from imagen.library import add_totals, sum_usage
    from imagen.library.ledger import list_rows
    from imagen.pipeline.record import open_library_synced

    settings = settings_for(config_path)
    zone = settings.usage.zone
    period = (
        since.moment(zone) if since else None,
        until.moment(zone) if until else None,
    )
    with open_library_synced(settings) as library:
        if raw:
            _tell_rows(list(list_rows(library, *period)), zone, as_json=as_json)
            return
        groups = sum_usage(library, by, *period, zone=zone)
    whole = add_totals(groups)
    shown = groups if by else []
    if as_json:
        click.echo(json.dumps(_data(by, shown, whole), indent=2))
    else:
        _tell(by, shown, whole)


def _data(
    by: Sequence[UsageGrouping], groups: Sequence[UsageTotal], whole: UsageTotal | None
) -> dict[str, Any]:
    return {
        "by": list(by),
        "groups": [dict(zip(by, group.key, strict=True)) | _sums(group) for group in groups],
        "total": _sums(whole) if whole else None,
    }


def _sums(total: UsageTotal) -> dict[str, Any]:
    return {
        "generations": total.generations,
        "images": total.images,
        "latency_seconds": round(total.latency_seconds, _DIGITS),
        "engine_seconds": round(total.engine_seconds, _DIGITS),
        "costs": _amounts(total.costs),
        "estimates": _amounts(total.estimates),
        "unknown": total.unknown,
    }


def _amounts(costs: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        {"currency": name, "amount": round(amount, _DIGITS)}
        for name, amount in sorted(costs.items())
    ]


def _tell(
    by: Sequence[UsageGrouping], groups: Sequence[UsageTotal], whole: UsageTotal | None
) -> None:
    if whole is None:
        echo("The ledger has nothing of that time.", err=True)
        return
    names = ["total", *([""] * (len(by) - 1))] if by else []
    shown = {key: one_line(key) or _NAMELESS for group in groups for key in group.key}
    list_rows = [
        *((*(shown[key] for key in group.key), *_cells(group)) for group in groups),
        (*names, *_cells(whole)),
    ]
    columns = (*(Column(name, may_join=True) for name in by), *_SUMS)
    print_table(columns, list_rows, has_heading=True)
    if whole.unknown:
        echo(_unknown(whole.unknown), err=True)


_SUMS = (
    Column("generations", is_right=True, drop=3),
    Column("images", is_right=True, drop=11),
    Column("engine time", is_right=True, drop=12),
    Column("cost", is_right=True),
    Column("expected", is_right=True, drop=2),
    Column("unknown", is_right=True, drop=1),
)


def _cells(total: UsageTotal) -> tuple[str, ...]:
    return (
        str(total.generations),
        str(total.images),
        _time(total.engine_seconds),
        _sum(total.costs),
        _sum(total.estimates),
        str(total.unknown or ""),
    )


def _sum(costs: Mapping[str, float]) -> str:
    return " + ".join(money(amount, currency) for currency, amount in sorted(costs.items()))


def _time(seconds: float) -> str:
    """As `took`, and in hours where there are many."""
    if seconds < _HOUR_SECONDS:
        return format_duration(seconds)
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _unknown(number: int) -> str:
    if number == 1:
        return "1 generation was paid for without anyone knowing how much; no sum has it."
    return f"{number} generations were paid for without anyone knowing how much; no sum has them."


def _tell_rows(found: Sequence[LedgerRow], zone: tzinfo | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"rows": [_row_data(use, zone) for use in found]}, indent=2))
        return
    print_table(_USES, [_row(use, zone) for use in found], has_heading=True)


_USES = (
    Column("created", is_whole=True),
    Column("id"),
    Column("backend"),
    Column("model", drop=3),
    Column("seed", is_right=True, drop=1),
    Column("images", is_right=True, drop=2),
    Column("engine time", is_right=True, drop=5),
    Column("cost", is_right=True),
    Column("caller", is_right=True, drop=4),
)


def _row(use: LedgerRow, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        f"{use.at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        use.generation[:8],
        one_line(use.backend),
        one_line(use.model),
        "" if use.seed is None else str(use.seed),
        str(use.images),
        "" if use.engine_seconds is None else _time(use.engine_seconds),
        "unknown" if use.is_unknown else "" if use.cost is None else money(use.cost, use.currency),
        one_line(use.caller),
    )


def _row_data(use: LedgerRow, zone: tzinfo | None) -> dict[str, Any]:
    from dataclasses import asdict

    at = use.at.astimezone(zone).isoformat(timespec="seconds")
    return asdict(use) | {"at": at, "cost": use.cost}
