"""imagen backends: which there are, and what they lack."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

import click

from imagen.cli.command_table import Command, Group, usage_error
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
from imagen.core.text import one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from imagen.backends.base import Gpu, Health, MissingCapability
    from imagen.config import Settings
    from imagen.core.capabilities import Capabilities, Parameter


_LONGEST = 400
_ALWAYS = "mock"
"""The backend that needs no configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One backend, and whether it could work."""

    name: str
    kind: str
    title: str = ""
    default: bool = False
    ok: bool | None = None
    """None where nothing is wrong so far and its engine was not asked."""
    summary: str = "configured"
    remedies: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    lacking: tuple[MissingCapability, ...] = ()
    """What it can't do for now, and why."""
    tasks: tuple[str, ...] = ()
    """Known where its engine was asked and could work."""


@click.group(cls=Group, invoke_without_command=True)
@click.option("--check", is_flag=True, help="Ask each engine whether it could work now.")
@config_option
@json_option
@click.pass_context
def backends(context: click.Context, check: bool, config_path: Path | None, as_json: bool) -> None:
    """List the backends, and what they lack.

    With --check the exit code is 4 where one could not work now.
    """
    if context.invoked_subcommand is not None:
        if check or config_path or as_json:
            raise usage_error(f"Write the flags after {context.invoked_subcommand}.")
        return
    settings = settings_for(config_path)
    found = list(rows(settings, check=check))
    kinds = registered()
    if as_json:
        body = {"backends": [asdict(row) for row in found], "kinds": kinds}
        click.echo(json.dumps(body, indent=2))
    else:
        _print_table(found)
        echo("\nKinds of backend, for `type:` in the configuration:")
        summaries = [(kind, one_line(summary)) for kind, summary in kinds.items()]
        print_table([Column("kind"), Column("summary")], summaries, indent=2)
    if check and not all(row.ok for row in found):
        context.exit(4)


def rows(
    settings: Settings, *, check: bool, environ: Mapping[str, str] = os.environ
) -> Iterator[Row]:
    """A row for each backend, one after another; an error of one is its row."""
    names = list(dict.fromkeys([*settings.backends, _ALWAYS]))
    for name in names:
        row = _configured(name, settings, environ)
        yield _asked(row, settings) if check and row.ok is None else row


def registered() -> dict[str, str]:
    """Every kind of backend that is installed, with a line about it."""
    from imagen.backends import kinds

    return {kind: _summary(kind) for kind in kinds()}


def _configured(name: str, settings: Settings, environ: Mapping[str, str]) -> Row:
    """What can be told of a backend without its engine."""
    from imagen.doctor import find_backend_problems, find_unset_variables

    block = settings.backends.get(name, {})
    row = Row(
        name=name,
        kind=str(block.get("type", name)),
        title=str(block.get("title") or ""),
        default=name == settings.default_backend,
    )
    found = [
        *find_backend_problems(name, settings),
        *find_unset_variables(name, settings, environ),
    ]
    if not found:
        return row
    remedies = tuple(dict.fromkeys(text for p in found for text in p.remedy.splitlines()))
    faults = (replace(p, path=p.path[2:]).sentence for p in found)
    return replace(row, ok=False, summary="; ".join(faults), remedies=remedies)


def _asked(row: Row, settings: Settings) -> Row:
    """The row with what the engine says."""
    from imagen.backends import open_backend
    from imagen.errors import ImagenError

    try:
        with closing(open_backend(row.name, settings.backends, settings.shared())) as engine:
            health = engine.check()
            tasks = engine.capabilities().tasks if health.ok else ()
    except ImagenError as error:
        return replace(row, ok=False, summary=error.message, remedies=(error.remedy,))
    return replace(
        row,
        ok=health.ok,
        summary=health.summary,
        remedies=health.remedies,
        facts=dict(health.facts),
        gpus=health.gpus,
        lacking=health.lacking,
        tasks=tasks,
    )


def _summary(kind: str) -> str:
    from imagen.backends import load_adapter
    from imagen.errors import ImagenError

    try:
        return load_adapter(kind).summary
    except ImagenError as error:
        return error.message


def _print_table(found: list[Row]) -> None:
    """Each backend in a row, with what more there is to know in rows of the last column."""
    rows: list[tuple[str, ...]] = []
    for row in found:
        name = f"{row.name} (default)" if row.default else row.name
        facts = (f"{name}: {value}" for name, value in row.facts.items())
        gpus = (f"GPU: {gpu.sentence}" for gpu in row.gpus)
        details = (row.title, *row.remedies, *facts, *gpus, _not_now(row))
        rows.append((name, row.kind, one_line(row.summary, limit=_LONGEST)))
        rows += [("", "", one_line(text, limit=_LONGEST)) for text in details if text]
    print_table([Column("name"), Column("kind"), Column("state", may_go_below=True)], rows)


def _not_now(row: Row) -> str:
    if not row.lacking:
        return ""
    things = ", ".join(lack.what for lack in row.lacking)
    return f"not now: {things} (why: imagen backends show {row.name} --check)"


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


backends.add_command(show)
