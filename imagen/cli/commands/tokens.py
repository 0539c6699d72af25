"""imagen tokens: create, list and revoke the tokens of the server."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Group
from imagen.cli.library_common import local_time, open_library
from imagen.cli.options import config_option, json_option
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import format_usd

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.views.tokens import TokenView

_BUDGET = re.compile(r"\$?(\d{1,9}(?:\.\d{1,6})?)/(day|month)")


class _Rate(click.ParamType[str]):
    """`10/1m`."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from imagen.backends.base import parse_rate

        try:
            parse_rate(str(value))
        except ValueError as error:
            self.fail(f"{value!r} {error}.", param, ctx)
        return str(value)


class _Budget(click.ParamType[tuple[float, str]]):
    """`5/month`."""

    name = "budget"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, str]:
        match = _BUDGET.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} must be an amount and a period: 5/month or 0.50/day.", param, ctx)
        return float(match[1]), match[2]


@click.group(cls=Group)
def tokens() -> None:
    """Create, list and revoke the tokens of the server.

    Clients of `imagen serve` on other machines need one.
    """


@tokens.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(["read", "generate", "admin"]),
    default="generate",
    help="What it allows: see jobs and images; also submit and change them, the default; also "
    "change the server.",
)
@click.option(
    "--rate", type=_Rate(), metavar="N/TIME", help="The most jobs in a time, such as 10/1m."
)
@click.option(
    "--budget",
    type=_Budget(),
    metavar="USD/PERIOD",
    help="What its jobs may cost in a day or month, such as 5/month.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, 3650, min_open=True),
    metavar="N",
    help="How long it is valid.",
)
@json_option
@config_option
def add(
    name: str,
    scope: str,
    rate: str | None,
    budget: tuple[float, str] | None,
    days: float | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Create a token and print it, this once.

    NAME is the caller of its jobs, as `imagen jobs` and `imagen usage --by caller` show it.
    """
    from imagen.library.tokens import add_token
    from imagen.runtime.caller import scopes_up_to
    from imagen.views.tokens import NewTokenView

    scopes = scopes_up_to(scope)
    amount, period = budget or (None, "month")
    with open_library(config_path) as library:
        secret = add_token(
            library,
            name,
            scopes,
            rate=rate or "",
            budget_usd=amount,
            budget_per=period,
            expires=None if days is None else datetime.now(UTC) + timedelta(days=days),
        )
    if as_json:
        view = NewTokenView(token=secret, name=name, scopes=scopes)
        click.echo(json.dumps(view.as_data(), indent=2))
        return
    click.echo(secret)
    echo("It is not shown again. Clients send it as `Authorization: Bearer TOKEN`.", err=True)


@tokens.command("list")
@json_option
@config_option
def list_(as_json: bool, config_path: Path | None) -> None:
    """List the tokens, without their secrets."""
    from imagen.library.tokens import list_tokens
    from imagen.views.tokens import TokensView, TokenView

    with open_library(config_path) as library:
        view = TokensView(tokens=tuple(map(TokenView.of, list_tokens(library))))
    if as_json:
        click.echo(json.dumps(view.as_data(), indent=2))
        return
    columns = (
        Column("token", colour="cyan"),
        Column("scope", is_whole=True),
        Column("limits", may_go_below=True),
        Column("expires", is_whole=True),
        Column("used", is_whole=True),
    )
    print_table(columns, [*map(_cells, view.tokens)])
    if not view.tokens:
        echo("No tokens exist. Create one with: imagen tokens add NAME", err=True)


def _cells(token: TokenView) -> tuple[str, ...]:
    limits = [token.rate] if token.rate else []
    if token.budget_usd is not None:
        limits.append(f"{format_usd(token.budget_usd)} a {token.budget_per}")
    moments = (token.expires, token.used)
    dates = ("" if one is None else f"{local_time(one):%Y-%m-%d}" for one in moments)
    return (token.name, token.scopes[-1], ", ".join(limits), *dates)


@tokens.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@config_option
def revoke(names: tuple[str, ...], config_path: Path | None) -> None:
    """Revoke tokens: servers refuse them within two seconds."""
    from imagen.library.tokens import revoke_tokens

    with open_library(config_path) as library:
        revoke_tokens(library, names)
