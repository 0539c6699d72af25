"""imagen backends: list the backends, and show what one can do."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
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
from imagen.errors import ImagenError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagen.backends.base import Gpu, Health, MissingCapability
    from imagen.config import Settings
    from imagen.core.capabilities import Capabilities

TASKS: tuple[Task, ...] = get_args(Task)
_LONGEST = 400
_BUILT_IN = "mock"
"""The backend that needs no configuration."""


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
    from imagen.backends import kinds, load_adapter

    settings = settings_from_options(config_path)
    names = dict.fromkeys([*settings.backends, _BUILT_IN])
    states = [_backend_state(name, settings, check=check) for name in names]
    summaries: dict[str, str] = {}
    for kind in kinds():
        try:
            summaries[kind] = load_adapter(kind).summary
        except ImagenError as error:
            summaries[kind] = error.message
    if as_json:
        body = {
            "backends": [asdict(state) for state in states],
            "pools": [
                {"name": name, "backends": of, "default": name == settings.default_backend}
                for name, of in settings.pools.items()
            ],
            "kinds": summaries,
        }
        click.echo(json.dumps(body, indent=2))
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
        pools = [
            (f"{name} (default)" if name == settings.default_backend else name, ", ".join(members))
            for name, members in settings.pools.items()
        ]
        print_section("Pools", [Column("pool"), Column("backends")], pools)
        echo("\nAvailable types, for `type:` in the configuration:")
        types = [(kind, one_line(summary)) for kind, summary in summaries.items()]
        print_table([Column("type"), Column("summary")], types, indent=2)
    if check and not all(state.ok for state in states):
        context.exit(4)


# --- the list ---


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """One backend, and whether it is ready."""

    name: str
    kind: str
    title: str = ""
    default: bool = False
    ok: bool | None = None
    """None if its configuration is valid and its engine was not asked."""
    summary: str = "configured"
    remedies: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    lacking: tuple[MissingCapability, ...] = ()
    """What it cannot do at the moment, and why."""
    tasks: tuple[str, ...] = ()
    """Known if its engine was asked and is ready."""


def _backend_state(name: str, settings: Settings, *, check: bool) -> BackendState:
    """An error is part of the state."""
    from imagen.backends import open_backend
    from imagen.doctor import find_backend_problems, find_unset_variables

    block = settings.backends.get(name, {})
    state = BackendState(
        name=name,
        kind=str(block.get("type", name)),
        title=str(block.get("title") or ""),
        default=name == settings.default_backend,
    )
    problems = [
        *find_backend_problems(name, settings),
        *find_unset_variables(name, settings, os.environ),
    ]
    if problems:
        remedies = dict.fromkeys(text for p in problems for text in p.remedy.splitlines())
        summary = "; ".join(replace(p, path=p.path[2:]).sentence for p in problems)
        return replace(state, ok=False, summary=summary, remedies=tuple(remedies))
    if not check:
        return state
    try:
        with closing(open_backend(name, settings.backends, settings.shared())) as engine:
            health = engine.check()
            tasks = engine.capabilities().tasks if health.ok else ()
    except ImagenError as error:
        return replace(state, ok=False, summary=error.message, remedies=(error.remedy,))
    return replace(
        state,
        ok=health.ok,
        summary=health.summary,
        remedies=health.remedies,
        facts=dict(health.facts),
        gpus=health.gpus,
        lacking=health.lacking,
        tasks=tasks,
    )


# --- backends show ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _BackendCapabilities:
    name: str
    kind: str
    title: str
    tasks: dict[Task, Capabilities]
    """In the order of `TASKS`, or only the task that was asked for."""

    @property
    def common(self) -> Capabilities:
        """What is the same for all tasks."""
        return next(iter(self.tasks.values()))


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
    from imagen.pipeline.pools import members_of, open_named

    settings = settings_from_options(config_path)
    name = next(iter(members_of(name, settings)), name)  # of a pool, its first
    shown = _read_capabilities(name, settings, task)
    health: Health | None = None
    if check:
        with closing(open_named(name, settings)) as engine:
            health = engine.check()
    if as_json:
        body = {
            "name": shown.name,
            "kind": shown.kind,
            "title": shown.title,
            "tasks": [
                {
                    "task": task_name,
                    "parameters": {
                        key: parameter.model_dump(mode="json", exclude_none=True)
                        for key, parameter in capabilities.parameters.items()
                    },
                    "without": capabilities.without,
                }
                for task_name, capabilities in shown.tasks.items()
            ],
            "controls": list(shown.common.controls),
            "preprocessors": list(shown.common.preprocessors),
            "prompt_syntax": shown.common.prompt_syntax,
        }
        more = {"health": asdict(health)} if health else {}
        click.echo(json.dumps(body | more, indent=2))
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


def _read_capabilities(name: str, settings: Settings, task: Task | None) -> _BackendCapabilities:
    """Raises RequestError for a task that the backend cannot do."""
    from imagen.pipeline.generate import open_named

    with closing(open_named(name, settings)) as engine:
        tasks = engine.capabilities(task or TASKS[0]).tasks
        if task is not None and task not in tasks:
            raise RequestError(
                f"{name} cannot do {task}.", remedy=f"Its tasks are: {', '.join(tasks)}."
            )
        wanted = [task] if task else [known for known in TASKS if known in tasks] or [TASKS[0]]
        capabilities = {known: engine.capabilities(known) for known in wanted}
    block = settings.backends.get(name, {})
    return _BackendCapabilities(
        name=name,
        kind=str(block.get("type", name)),
        title=str(block.get("title") or ""),
        tasks=capabilities,
    )


def _print_capabilities(shown: _BackendCapabilities) -> None:
    echo(f"{shown.name}: {shown.title}" if shown.title else shown.name)
    click.echo()
    common = shown.common
    known_first = sorted(common.tasks, key=lambda t: TASKS.index(t) if t in TASKS else len(TASKS))
    heads = (
        ("Type", shown.kind),
        ("Tasks", ", ".join(describe_tasks(known_first))),
        ("Control images", ", ".join(common.controls)),
        ("Preprocessors", ", ".join(common.preprocessors)),
        ("Prompt syntax", ", ".join(common.prompt_syntax or ())),
    )
    print_table([Column(""), Column("")], [head for head in heads if head[1]])
    first_task, first = next(iter(shown.tasks.items()))
    for task, capabilities in shown.tasks.items():
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
    taken = {name for each in shown.tasks.values() for name in each.parameters}
    unsupported = {
        name: why
        for each in shown.tasks.values()
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
