"""imagen backends show: what one backend can do, task by task."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from imagen.cli.commands import Command
from imagen.cli.options import config_option, json_option, settings_for
from imagen.cli.tables import columns, parameter_row, section, wrapped
from imagen.errors import RequestError
from imagen.request import Task
from imagen.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagen.backends.base import Health
    from imagen.capabilities import Capabilities, Parameter
    from imagen.config import Settings

    Rows = list[tuple[tuple[str, ...], str]]

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
@click.argument("name")
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
        for line in (*_page(found), *(_state(health) if health else ())):
            click.echo(printable(line))
    if health is not None and not health.ok:
        click.get_current_context().exit(4)


def _health(name: str, settings: Settings) -> Health:
    from imagen.spine import open_named

    with closing(open_named(name, settings)) as engine:
        return engine.check()


def _state(health: Health) -> Iterator[str]:
    """Whether it could work now, and what it can't do for want of something."""
    yield from section("Now", [((health.summary,), " ".join(health.remedies))])
    lacks = [((lack.what,), f"{lack.why} {lack.remedy}") for lack in health.lacking]
    yield from section("Not now", lacks)


def abilities(name: str, settings: Settings, task: Task | None = None) -> Abilities:
    """What the backend of this name can do; raises RequestError for a task that it can't."""
    from imagen.spine import open_named

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


def _page(found: Abilities) -> Iterator[str]:
    yield f"{found.name}: {found.title}" if found.title else found.name
    yield ""
    yield from columns(_heads(found))
    shown: dict[str, Parameter] = {}
    before = ""
    for task, known in found.tasks.items():
        yield from _of_task(task, known, shown, before)
        shown, before = shown or known.parameters, before or task
    rows = [((name, why), "") for name, why in _lacking(found).items()]
    yield from section("Not taken", rows)


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


def _of_task(
    task: str, known: Capabilities, first: dict[str, Parameter], before: str
) -> Iterator[str]:
    """All that is taken for this task; or only what differs, where most is as for the first."""
    own = {n: p for n, p in known.parameters.items() if first.get(n) != p}
    less = [name for name in first if name not in known.parameters]
    if not first or len(own) + len(less) > len(known.parameters):
        yield from section(task, _rows(known.parameters))
        return
    yield from ("", f"{task}, as for {before}" + (", and" if own else ""))
    yield from list(section("", _rows(own)))[2:]
    yield from (f"  {line}" for line in wrapped(f"without {', '.join(less)}" if less else ""))


def _rows(parameters: dict[str, Parameter]) -> Rows:
    return [(parameter_row(name, p), p.description) for name, p in parameters.items()]
