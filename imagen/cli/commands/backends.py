"""imagen backends: list the backends, and show what one can do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import click

from imagen.cli.command_table import Group, usage_error
from imagen.cli.completers import complete_backends
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.tables import (
    PARAMETER_COLUMNS,
    Column,
    format_paragraph,
    parameter_row,
    print_section,
    print_table,
)
from imagen.cli.terminal import apply_style, echo
from imagen.core.request import Task
from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagen.views.backends import BackendCapabilitiesView

TASKS: tuple[Task, ...] = get_args(Task)
_LONGEST = 400


@click.group(cls=Group, invoke_without_command=True)
@click.option("--check", is_flag=True, help="Ask each engine whether it is ready.")
@config_option
@json_option
@click.pass_context
def backends(context: click.Context, check: bool, config_path: Path | None, as_json: bool) -> None:
    """List the backends and what they are missing.

    With --check, the exit code is 4 if one of them is not ready.
    """
    if context.invoked_subcommand is not None:
        if check or config_path or as_json:
            raise usage_error(f"Put the options after {context.invoked_subcommand}.")
        return
    from imagen.engines.state import list_backends, list_kinds, list_pools, read_backend
    from imagen.views.backends import BackendsView

    settings = settings_from_options(config_path)
    states = [read_backend(name, settings, is_asked=check) for name in list_backends(settings)]
    pools, kinds = list_pools(settings), list_kinds()
    if as_json:
        body = BackendsView(backends=tuple(states), pools=pools, kinds=kinds)
        click.echo(json.dumps(body.as_data(), indent=2))
    else:
        rows: list[tuple[str, ...]] = []
        for state in states:  # a row, followed by rows with details in the last column
            name = f"{state.name} (default)" if state.default else state.name
            facts = (f"{key}: {value}" for key, value in state.facts.items())
            gpus = (f"GPU: {gpu.sentence}" for gpu in state.gpus)
            missing = ", ".join(capability.what for capability in state.lacking)
            note = f"not available: {missing} (why: imagen backends show {state.name} --check)"
            details = (state.title, *state.remedies, *facts, *gpus, note if missing else "")
            rows.append((name, state.kind, one_line(state.summary, limit=_LONGEST)))
            rows += [("", "", one_line(text, limit=_LONGEST)) for text in details if text]
        print_table([Column("name"), Column("type"), Column("state", may_go_below=True)], rows)
        pool_rows = [
            (f"{pool.name} (default)" if pool.default else pool.name, ", ".join(pool.backends))
            for pool in pools
        ]
        print_section("Pools", [Column("pool"), Column("backends")], pool_rows)
        echo("\nAvailable types, for `type:` in the configuration:")
        types = [(kind, one_line(summary)) for kind, summary in kinds.items()]
        print_table([Column("type"), Column("summary")], types, indent=2)
    if check and not all(state.ok for state in states):
        context.exit(4)


# --- backends show ---


@backends.command()
@click.argument("name", shell_complete=complete_backends)
@click.option(
    "--task",
    type=click.Choice(TASKS),
    metavar="TASK",
    help="Show the parameters of this task only.",
)
@click.option("--check", is_flag=True, help="Ask the engine what it is missing for each task.")
@config_option
@json_option
def show(
    name: str, task: Task | None, check: bool, config_path: Path | None, as_json: bool
) -> None:
    """Show what a backend can do: its tasks and their parameters.

    Local engines are asked only with --check; a cloud service is asked once for the parameters of a
    model. With --check, the exit code is 4 if the backend is not ready.
    """
    from imagen.engines.state import read_capabilities, read_health
    from imagen.pipeline.pools import members_of

    settings = settings_from_options(config_path)
    name = next(iter(members_of(name, settings)), name)  # of a pool, its first
    shown = read_capabilities(name, settings, task=task)
    health = read_health(name, settings) if check else None
    if as_json:
        body = shown.model_copy(update={"health": health})
        click.echo(json.dumps(body.as_data(), indent=2))
    else:
        _print_capabilities(shown)
        if health is not None:
            one = [Column("")]
            print_section("State", one, [(health.summary,)], below=[" ".join(health.remedies)])
            print_section(
                "Not available",
                one,
                [(missing.what,) for missing in health.lacking],
                below=[f"{missing.why} {missing.remedy}" for missing in health.lacking],
            )
    if health is not None and not health.ok:
        click.get_current_context().exit(4)


def _print_capabilities(shown: BackendCapabilitiesView) -> None:
    echo(f"{shown.name}: {shown.title}" if shown.title else shown.name)
    click.echo()
    tasks = {one.task: one for one in shown.tasks}
    heads = (
        ("Type", shown.kind),
        ("Tasks", ", ".join(describe_tasks(tuple(tasks)))),
        ("Control images", ", ".join(shown.controls)),
        ("Preprocessors", ", ".join(shown.preprocessors)),
        ("Prompt syntax", ", ".join(shown.prompt_syntax or ())),
    )
    print_table([Column(""), Column("")], [head for head in heads if head[1]])
    first_task, first = next(iter(tasks.items()))
    for task, capabilities in tasks.items():
        # All parameters of a task, or only the differences from the first task if they are few.
        parameters = capabilities.parameters
        own = {name: p for name, p in parameters.items() if first.parameters.get(name) != p}
        missing = [name for name in first.parameters if name not in parameters]
        title = f"{task}, as for {first_task}" + (", and" if own else "")
        if task == first_task or len(own) + len(missing) > len(parameters):
            title, own, missing = task, parameters, []
        click.echo(f"\n{apply_style(title, bold=True)}")
        rows = [parameter_row(name, parameter) for name, parameter in own.items()]
        below = [parameter.description for parameter in own.values()]
        print_table(PARAMETER_COLUMNS, rows, below=below, indent=2)
        for line in format_paragraph(f"without {', '.join(missing)}" if missing else "", indent=2):
            click.echo(line)
    taken = {name for each in tasks.values() for name in each.parameters}
    unsupported = {
        name: why
        for each in tasks.values()
        for name, why in each.without.items()
        if name not in taken
    }
    print_section("Not supported", [Column("name"), Column("why")], [*unsupported.items()])


def describe_tasks(tasks: Sequence[str]) -> Iterator[str]:
    """The tasks; a backend that can inpaint can also outpaint, as inpainting on a larger canvas."""
    for task in tasks:
        yield task
        if task == "inpaint" and "outpaint" not in tasks:
            yield "outpaint (by inpainting)"
