"""imagen arena: the ranking that follows from votes on pairs of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Group, usage_error
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.parsing import FILE
from imagen.cli.tables import Column, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from imagen.arena.ranking import Ranking
    from imagen.arena.sets import ArenaSet


class _ArenaGroup(Group):
    """`imagen arena` is `imagen arena ranking`, also with its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_ranking = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        return super().parse_args(ctx, ["ranking", *args] if is_ranking else args)


@click.group(cls=_ArenaGroup)
def arena() -> None:
    """Rank models by blind votes on pairs of images.

    Without a command, the ranking is shown. Votes are given on the page of the server: imagen serve
    --open.
    """


_FILTERS = (
    click.option(
        "--set",
        "set_id",
        default="all",
        show_default=True,
        metavar="ID",
        help="Only the votes on this comparison, or the ranking of a set of images.",
    ),
    click.option("--voter", metavar="NAME", help="Only the votes of this person."),
    click.option(
        "--tag", metavar="TAG", help="Only votes on pairs of which an image has this tag."
    ),
)


def _filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@arena.command()
@_filter_options
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
@config_option
def ranking(
    set_id: str,
    voter: str | None,
    tag: str | None,
    as_csv: bool,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Show the ranking, with 95 % intervals.

    Ratings are those of Bradley and Terry: 1000 is the mean, and 400 points are odds of 10 to 1. A
    tie is half a win for each side, and so are two bad images. Contenders share ranks where their
    intervals overlap.
    """
    from imagen.arena.export import ranking_csv
    from imagen.arena.ranking import read_ranking
    from imagen.arena.sets import find_votes
    from imagen.arena.votes import count_by
    from imagen.pipeline.record import open_library_synced
    from imagen.views.arena import ArenaRankingView

    if as_csv and as_json:
        raise usage_error("--csv and --json exclude each other.")
    settings = settings_from_options(config_path)
    with open_library_synced(settings) as library:
        folder = settings.output.directory
        chosen, entered = find_votes(set_id, library, folder, voter=voter, tag=tag)
        found = read_ranking(library, chosen, entered)
        prompts = count_by(library, "prompt", chosen.kind)
        voters = count_by(library, "voter", chosen.kind)
    if as_json:
        view = ArenaRankingView.of(found, chosen.kind, prompts, voters)
        click.echo(json.dumps(view.as_data(), indent=2))
    elif as_csv:
        click.echo(ranking_csv(found), nl=False)
    elif not found.votes:
        echo(
            "There are no votes yet. Vote on the page of the server: imagen serve --open", err=True
        )
    else:
        _print_ranking(found)


_RANKING_COLUMNS = (
    Column("rank", is_whole=True),
    Column("model"),
    Column("backend", drop=2),
    Column("rating", is_right=True),
    Column("±", is_right=True),
    Column("votes", is_right=True),
    Column("wins", is_right=True),
    Column("note", drop=1),
)


def _print_ranking(found: Ranking) -> None:
    rows = []
    for one in found.contenders:
        first, last = one.rating.first_rank, one.rating.last_rank
        rows.append(
            (
                str(first) if first == last else f"{first}–{last}",
                one_line(one.image or one.model or one.backend),
                one_line(one.backend),
                f"{one.rating.rating:.0f}",
                f"{one.rating.half_width:.0f}",
                str(one.votes),
                "" if one.win_share is None else f"{one.win_share:.0%}",
                "needs more votes" if one.needs_more else "",
            )
        )
    print_table(_RANKING_COLUMNS, rows, has_heading=True)
    for line in _notes(found):
        echo(line, err=True)


def _notes(found: Ranking) -> list[str]:
    lines = []
    if found.more_votes == 0:
        lines.append("The first place is clear.")
    elif found.more_votes:
        plural = "vote makes" if found.more_votes == 1 else "votes make"
        lines.append(f"About {found.more_votes} more {plural} the first place clear.")
    if found.left is not None:
        left = found.left
        sign = "voters seem to prefer a side" if found.is_biased else "no sign of side bias"
        lines.append(
            f"The left image won {left.share:.0%} ({left.low:.0%} to {left.high:.0%}): {sign}."
        )
    if found.both_bad:
        plural = (
            "vote both images were bad: it counts"
            if found.both_bad == 1
            else ("votes both images were bad: they count")
        )
        lines.append(f"In {found.both_bad} {plural} as a tie.")
    return lines


@arena.command("list")
@json_option
@config_option
def list_(as_json: bool, config_path: Path | None) -> None:
    """List what can be voted on: comparisons of two models or more, and sets of images."""
    from imagen.arena.sets import list_sets
    from imagen.arena.votes import count_by
    from imagen.pipeline.record import open_library_synced
    from imagen.views.arena import ArenaSetsView, ArenaSetView

    settings = settings_from_options(config_path)
    with open_library_synced(settings) as library:
        found = list_sets(library, settings.output.directory)
        votes = count_by(library, "set_id", "models") | count_by(library, "set_id", "images")
    if as_json:
        views = tuple(ArenaSetView.of(one, votes.get(one.id, 0)) for one in found)
        click.echo(json.dumps(ArenaSetsView(sets=views).as_data(), indent=2))
    elif not found:
        echo("There is nothing to vote on. Run a comparison first: imagen compare PROMPT", err=True)
    else:
        print_table(_SET_COLUMNS, [_set_row(one, votes) for one in found], has_heading=True)


_SET_COLUMNS = (
    Column("id", is_whole=True),
    Column("contenders", is_right=True),
    Column("votes", is_right=True),
    Column("name", may_go_below=True, most_lines=1),
)


def _set_row(one: ArenaSet, votes: dict[str, int]) -> tuple[str, ...]:
    contenders = f"{one.contenders} {one.kind}"
    return one.id, contenders, str(votes.get(one.id, 0)), one_line(one.name)


@arena.command()
@_filter_options
@click.option(
    "--format", "format_", type=click.Choice(["csv", "json"]), default="csv", show_default=True
)
@click.option("--output", "-o", type=FILE, metavar="FILE", help="Write to this file.")
@config_option
def export(
    set_id: str,
    voter: str | None,
    tag: str | None,
    format_: str,
    output: str | None,
    config_path: Path | None,
) -> None:
    """Write the votes, oldest first, without those that were undone."""
    from imagen.arena.export import votes_csv
    from imagen.arena.sets import find_votes
    from imagen.arena.votes import list_votes
    from imagen.errors import OutputError
    from imagen.pipeline.record import open_library_synced
    from imagen.views.arena import ArenaVotesView, ArenaVoteView

    settings = settings_from_options(config_path)
    with open_library_synced(settings) as library:
        folder = settings.output.directory
        chosen, _ = find_votes(set_id, library, folder, voter=voter, tag=tag)
        votes = list_votes(library, chosen)
    if format_ == "csv":
        text = votes_csv(votes)
    else:
        view = ArenaVotesView(votes=tuple(map(ArenaVoteView.of, votes)))
        text = json.dumps(view.as_data(), indent=2) + "\n"
    if output is None or output == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror or error}.") from error
