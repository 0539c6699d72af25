"""imagen backends show: what one backend can do, task by task."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_backends
from imagen.cli.options import config_option, json_option, settings_for
from imagen.cli.tables import (
    PARAMETERS,
    Column,
    paragraph,
    parameter_row,
    print_section,
    print_table,
)
from imagen.cli.terminal import echo, styled
from imagen.core.request import Task
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagen.backends.base import Health
    from imagen.config import Settings
    from imagen.core.capabilities import Capabilities, Parameter

TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What one backend can do."""

    name: str
    kind: str
    title: str
    tasks: dict[Task, Capabilities]
    """In its own order, or only the one that was asked about."""

    @property
    def any(self) -> Capabilities:
        """What is the same for all of its tasks."""
        return next(iter(self.tasks.values()))


@click.command(cls=Command)
@click.argument("name", shell_complete=complete_backends)
@click.option(
    "--task", type=click.Choice(TASKS), metavar="TASK", help="Only what it takes for this task."
)
@click.option("--check", is_flag=True, help="Ask its engine what it lacks for all of this.")
@config_option
@json_option
def show(
    name: str, task: Task | None, check: bool, config_path: Path | None, as_json: bool
) -> None:
    """Show what a backend can do: its tasks, and what it takes for each.

    Without --check no engine is asked; but a service is, once, for what a model of its takes.
    With it the exit code is 4 where the backend could not work now.
    """
    settings = settings_for(config_path)
    found = abilities(name, settings, task)
    health = _health(name, settings) if check else None
    if as_json:
        more = {"health": asdict(health)} if health else {}
        click.echo(json.dumps(_facts(found) | more, indent=2))
    else:
        _print_page(found)
        if health is not None:
            _print_state(health)
    if health is not None and not health.ok:
        click.get_current_context().exit(4)


def _health(name: str, settings: Settings) -> Health:
    from imagen.pipeline.generate import open_named

    with closing(open_named(name, settings)) as engine:
        return engine.check()


def _print_state(health: Health) -> None:
    """Whether it could work now, and what it can't do for want of something."""
    one = [Column("")]
    print_section("Now", one, [(health.summary,)], below=[" ".join(health.remedies)])
    lacks = health.lacking
    why = [f"{lack.why} {lack.remedy}" for lack in lacks]
    print_section("Not now", one, [(lack.what,) for lack in lacks], below=why)


def abilities(name: str, settings: Settings, task: Task | None = None) -> Abilities:
    """What the backend of this name can do; raises RequestError for a task that it can't."""
    from imagen.pipeline.generate import open_named

    with closing(open_named(name, settings)) as engine:
        tasks = engine.capabilities(task or TASKS[0]).tasks
        if task is not None and task not in tasks:
            raise RequestError(f"{name} can't do {task}.", remedy=f"It does: {', '.join(tasks)}.")
        wanted = [task] if task else [known for known in TASKS if known in tasks] or [TASKS[0]]
        found = {known: engine.capabilities(known) for known in wanted}
    block = settings.backends.get(name, {})
    title = str(block.get("title") or "")
    return Abilities(name=name, kind=str(block.get("type", name)), title=title, tasks=found)


def _facts(found: Abilities) -> dict[str, Any]:
    return {
        "name": found.name,
        "kind": found.kind,
        "title": found.title,
        "tasks": [
            {
                "task": task,
                "parameters": {
                    name: parameter.model_dump(mode="json", exclude_none=True)
                    for name, parameter in known.parameters.items()
                },
                "without": known.without,
            }
            for task, known in found.tasks.items()
        ],
        "controls": list(found.any.controls),
        "preprocessors": list(found.any.preprocessors),
        "prompt_syntax": found.any.prompt_syntax,
    }


def _print_page(found: Abilities) -> None:
    echo(f"{found.name}: {found.title}" if found.title else found.name)
    click.echo()
    print_table([Column(""), Column("")], _heads(found))
    shown: dict[str, Parameter] = {}
    before = ""
    for task, known in found.tasks.items():
        _print_task(task, known, shown, before)
        shown, before = shown or known.parameters, before or task
    print_section("Not taken", [Column("name"), Column("why")], [*_lacking(found).items()])


def _lacking(found: Abilities) -> dict[str, str]:
    """What is taken for none of the tasks, and why."""
    taken = {name for known in found.tasks.values() for name in known.parameters}
    return {
        name: why
        for known in found.tasks.values()
        for name, why in known.without.items()
        if name not in taken
    }


def _heads(found: Abilities) -> list[tuple[str, ...]]:
    heads = (
        ("Kind", found.kind),
        ("Tasks", ", ".join(tasks_shown(sorted(found.any.tasks, key=_place)))),
        ("Control pictures", ", ".join(found.any.controls)),
        ("Made from pictures", ", ".join(found.any.preprocessors)),
        ("Prompt syntax", ", ".join(found.any.prompt_syntax or ())),
    )
    return [head for head in heads if head[1]]


def _place(task: str) -> int:
    return next((n for n, known in enumerate(TASKS) if known == task), len(TASKS))


def tasks_shown(known: Sequence[str]) -> Iterator[str]:
    """To a backend that knows inpainting only, outpainting is that on a larger canvas."""
    for task in known:
        yield task
        if task == "inpaint" and "outpaint" not in known:
            yield "outpaint (by inpainting)"


def _print_task(task: str, known: Capabilities, first: dict[str, Parameter], before: str) -> None:
    """All that is taken for this task; or only what differs, where most is as for the first."""
    own = {n: p for n, p in known.parameters.items() if first.get(n) != p}
    less = [name for name in first if name not in known.parameters]
    if not first or len(own) + len(less) > len(known.parameters):
        own, less = known.parameters, []
        click.echo(f"\n{styled(task, bold=True)}")
    else:
        title = f"{task}, as for {before}" + (", and" if own else "")
        click.echo(f"\n{styled(title, bold=True)}")
    rows = [parameter_row(name, parameter) for name, parameter in own.items()]
    below = [parameter.description for parameter in own.values()]
    print_table(PARAMETERS, rows, below=below, indent=2)
    for line in paragraph(f"without {', '.join(less)}" if less else "", indent=2):
        click.echo(line)
