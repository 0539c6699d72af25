"""imagen usage: images, time and cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.options import (
    config_option,
    json_option,
    settings_from_options,
    since_option,
    until_option,
)
from imagen.cli.output import format_money
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


def _parse_groupings(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    text: str,
) -> list[UsageGrouping]:
    """`week,backend` as the two; empty for none."""
    known: dict[str, UsageGrouping] = {name: name for name in GROUPINGS}
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise usage_error(
                f"--by: unknown group {name!r}.{did_you_mean(name, known)} Known: "
                f"{', '.join(known)}."
            )
    return [known[name] for name in dict.fromkeys(names)]


@click.command(cls=Command)
@since_option
@until_option
@click.option(
    "--by",
    default="week,backend,model,caller",
    show_default=True,
    callback=_parse_groupings,
    metavar="A,B,…",
    help="Group by day, week, month, backend, model or caller.",
)
@click.option("--raw", is_flag=True, help="List each generation, oldest first.")
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

    For paid engines, the cost is what they charged, or the estimate if that is unknown; for your
    own machines it is the electricity, if usage.watts and usage.price_per_kwh are set. Days and
    weeks begin in the time zone of usage.timezone.
    """
    from imagen.library import add_totals, sum_usage
    from imagen.library.ledger import list_rows
    from imagen.pipeline.record import open_library_synced
    from imagen.views.usage import UsageView

    settings = settings_from_options(config_path)
    zone = settings.usage.zone
    period = (since.moment(zone) if since else None, until.moment(zone) if until else None)
    with open_library_synced(settings) as library:
        if raw:
            _print_rows(list(list_rows(library, *period)), zone, as_json=as_json)
            return
        groups = sum_usage(library, by, *period, zone=zone)
    total = add_totals(groups)
    shown = groups if by else []
    if as_json:
        click.echo(json.dumps(UsageView.of(by, groups, total).as_data(), indent=2))
        return
    if total is None:
        echo("There was no usage in this period.", err=True)
        return
    rows = [
        *((*(one_line(key) or "(none)" for key in each.key), *_total_row(each)) for each in shown),
        (*(["total", *([""] * (len(by) - 1))] if by else []), *_total_row(total)),
    ]
    columns = (*(Column(name, may_join=True) for name in by), *_TOTAL_COLUMNS)
    print_table(columns, rows, has_heading=True)
    if total.unknown == 1:
        echo("The cost of 1 paid generation is unknown and not included.", err=True)
    elif total.unknown:
        echo(f"The cost of {total.unknown} paid generations is unknown and not included.", err=True)


# --- totals ---

_TOTAL_COLUMNS = (
    Column("generations", is_right=True, drop=3),
    Column("images", is_right=True, drop=11),
    Column("engine time", is_right=True, drop=12),
    Column("cost", is_right=True),
    Column("expected", is_right=True, drop=2),
    Column("unknown", is_right=True, drop=1),
)


def _total_row(total: UsageTotal) -> tuple[str, ...]:
    return (
        str(total.generations),
        str(total.images),
        _format_time(total.engine_seconds),
        _format_costs(total.costs),
        _format_costs(total.estimates),
        str(total.unknown or ""),
    )


def _format_costs(costs: Mapping[str, float]) -> str:
    return " + ".join(format_money(amount, currency) for currency, amount in sorted(costs.items()))


def _format_time(seconds: float) -> str:
    if seconds < 3600:
        return format_duration(seconds)
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


# --- single generations ---

_ROW_COLUMNS = (
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


def _print_rows(rows: Sequence[LedgerRow], zone: tzinfo | None, *, as_json: bool) -> None:
    if as_json:
        from imagen.views.usage import UsageRowsView, UsageRowView

        body = UsageRowsView(rows=tuple(map(UsageRowView.of, rows)))
        click.echo(json.dumps(body.as_data(), indent=2))
        return
    cells = []
    for row in rows:
        cost = "" if row.cost is None else format_money(row.cost, row.currency)
        cells.append(
            (
                f"{row.at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
                row.generation[:8],
                one_line(row.backend),
                one_line(row.model),
                "" if row.seed is None else str(row.seed),
                str(row.images),
                "" if row.engine_seconds is None else _format_time(row.engine_seconds),
                "unknown" if row.is_unknown else cost,
                one_line(row.caller),
            )
        )
    print_table(_ROW_COLUMNS, cells, has_heading=True)
