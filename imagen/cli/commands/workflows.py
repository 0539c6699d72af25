"""imagen workflows: list them, show what one takes and needs, check one; and add one."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Group
from imagen.cli.commands.workflows_add import add
from imagen.cli.completers import complete_backends, complete_workflows
from imagen.cli.options import config_option, json_option, settings_for
from imagen.cli.tables import (
    PARAMETERS,
    Column,
    paragraph,
    parameter_row,
    print_section,
    print_table,
)
from imagen.cli.terminal import echo
from imagen.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from imagen.config import Settings
    from imagen.errors import ConfigError
    from imagen.graphs import ListedWorkflow, Workflow, WorkflowFault


@click.group(cls=Group)
def workflows() -> None:
    """List, show, check and add workflows."""


workflows.add_command(add)


@workflows.command("list")
@config_option
@json_option
def list_(config_path: Path | None, as_json: bool) -> None:
    """List the workflows: your own folders', and those that ship with imagen."""
    from imagen.graphs import list_workflow_files

    found = list_workflow_files(_settings(config_path).workflow_dirs)
    if as_json:
        _say(json.dumps([_entry_facts(entry) for entry in found], indent=2))
        return
    print_table(_ENTRIES, [_entry_row(entry) for entry in found])


_ENTRIES = (Column("name"), Column("task"), Column("title"), Column("source", drop=1))


@workflows.command()
@click.argument("name", shell_complete=complete_workflows)
@config_option
@json_option
def show(name: str, config_path: Path | None, as_json: bool) -> None:
    """Show what a workflow takes, and which models it needs: NAME is a name or a file."""
    workflow = _found(name, _settings(config_path))
    if as_json:
        _say(json.dumps(_facts(workflow), indent=2))
        return
    _print_page(workflow)


@workflows.command()
@click.argument("name", shell_complete=complete_workflows)
@click.option(
    "--backend",
    shell_complete=complete_backends,
    metavar="NAME",
    help="Ask this backend's server, too; nothing is made.",
)
@config_option
@json_option
def check(name: str, backend: str | None, config_path: Path | None, as_json: bool) -> int:
    """Say all that is wrong with a workflow: NAME is a name or a file."""
    from imagen.graphs import find_faults, find_missing_values

    settings = _settings(config_path)
    workflow = _found(name, settings)
    found = find_faults(workflow)
    found += (
        find_missing_values(workflow)
        if backend is None
        else _faults_there(workflow, name, backend, settings)
    )
    found = list(dict.fromkeys(found))
    if as_json:
        _say(json.dumps(_verdict(workflow, found), indent=2))
    else:
        _tell(workflow, found, backend)
    return 2 if found else 0


def _settings(config_path: Path | None) -> Settings:
    return settings_for(config_path)


def _found(name: str, settings: Settings) -> Workflow:
    from imagen.graphs import find_workflow

    return find_workflow(name, settings.workflow_dirs)


def _faults_there(
    workflow: Workflow, name: str, backend: str, settings: Settings
) -> list[WorkflowFault]:
    """The faults at a backend's server, with its own defaults where this is its workflow."""
    from imagen.backends.comfyui import ComfyUIBackend, default_overrides, node_catalog
    from imagen.backends.redact import unwrap_backend
    from imagen.graphs import check_against_server, find_missing_values
    from imagen.pipeline.generate import open_named

    with closing(open_named(backend, settings)) as opened, unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUIBackend):
            raise _no_server(backend)
        object_info, version = node_catalog(engine)
        defaults = default_overrides(engine, name)
    bound = workflow.bind_defaults(defaults)
    return [
        *find_missing_values(workflow, defaults),
        *check_against_server(bound, object_info, manifest=workflow.manifest, version=version),
    ]


def _no_server(backend: str) -> ConfigError:
    from imagen.errors import ConfigError

    return ConfigError(
        f"The backend {backend!r} is no ComfyUI server, so it has no nodes to check against.",
        remedy="Name a backend of type: comfyui.",
    )


def _tell(workflow: Workflow, found: Sequence[WorkflowFault], backend: str | None) -> None:
    for fault in found:
        echo(fault.sentence)
        if fault.remedy:
            echo(f"  {fault.remedy}")
    where = f" on {backend}" if backend else ""
    count = f"{len(found)} fault{'s' if len(found) > 1 else ''}" if found else "ok"
    echo(f"{workflow.name}{where}: {count}")


def _verdict(workflow: Workflow, found: Iterable[WorkflowFault]) -> dict[str, Any]:
    keys = ("node", "title", "input", "what", "remedy")
    told = [{key: getattr(fault, key) for key in keys} for fault in found]
    return {
        "workflow": workflow.name,
        "source": workflow.source,
        "ok": not told,
        "faults": told,
    }


def _entry_row(entry: ListedWorkflow) -> tuple[str, ...]:
    if entry.workflow is None:
        return entry.name, "can't be read", str(entry.error).splitlines()[0], entry.source
    source = f"{entry.source} (hidden by {entry.hidden_by})" if entry.hidden_by else entry.source
    return entry.name, entry.workflow.manifest.task, entry.workflow.manifest.title, source


def _entry_facts(entry: ListedWorkflow) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": entry.name,
        "source": entry.source,
        "hidden_by": entry.hidden_by,
        "error": str(entry.error) if entry.error else "",
    }
    if entry.workflow is None:
        return facts
    manifest = entry.workflow.manifest
    return facts | {"title": manifest.title, "task": manifest.task, "licence": manifest.licence}


def _facts(workflow: Workflow) -> dict[str, Any]:
    manifest = workflow.manifest.model_dump(mode="json")
    parameters = {
        name: parameter.model_dump(mode="json", exclude_none=True)
        for name, parameter in workflow.parameters.items()
    }
    return {"name": workflow.name, "source": workflow.source, **manifest, "parameters": parameters}


def _print_page(workflow: Workflow) -> None:
    manifest = workflow.manifest
    echo(f"{workflow.name}: {manifest.title}" if manifest.title else workflow.name)
    for line in (*paragraph(manifest.description), ""):
        click.echo(line)
    print_table([Column(""), Column("")], _heads(workflow))
    parameters = workflow.parameters.items()
    print_section(
        "Parameters",
        PARAMETERS,
        [parameter_row(name, parameter) for name, parameter in parameters],
        below=[parameter.description for _, parameter in parameters],
    )
    print_section(
        "Models, below ComfyUI's models/",
        _FILES,
        [(f"{m.folder}/{m.file}", m.size, m.licence) for m in manifest.models],
        below=[m.source for m in manifest.models],
    )
    print_section("Further tasks", [Column("task"), Column("by")], [*manifest.tasks.items()])
    nets = manifest.controls.items()
    print_section(
        "Control nets, below ComfyUI's models/",
        [Column("kind"), *_FILES],
        [(kind, f"{n.folder}/{n.file}", n.size, n.licence) for kind, n in nets],
        below=[n.source for _, n in nets],
    )
    print_section(
        "Custom nodes",
        [Column("name"), Column("classes", may_go_below=True)],
        [(pack.name, ", ".join(pack.classes)) for pack in manifest.nodes],
        below=[pack.source for pack in manifest.nodes],
    )
    print_section("Not taken", [Column("name"), Column("why")], [*manifest.without.items()])


_FILES = (
    Column("file", is_whole=True, may_go_below=True),
    Column("size", is_whole=True, may_go_below=True),
    Column("licence", may_go_below=True),
)


def _heads(workflow: Workflow) -> list[tuple[str, ...]]:
    manifest = workflow.manifest
    needs = f"{manifest.comfyui} or later" if manifest.comfyui else ""
    heads = (
        ("Source", workflow.source),
        ("Task", manifest.task),
        ("Family", manifest.family),
        ("Licence", manifest.licence),
        ("ComfyUIBackend", needs),
    )
    return [head for head in heads if head[1]]


def _say(text: str) -> None:
    click.echo(printable(text))
