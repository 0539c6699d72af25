"""imagen workflows: list, show and check workflows."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Group
from imagen.cli.commands.workflows_add import add
from imagen.cli.completers import complete_backends, complete_workflows
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.tables import (
    PARAMETER_COLUMNS,
    Column,
    format_paragraph,
    parameter_row,
    print_section,
    print_table,
)
from imagen.cli.terminal import echo
from imagen.core.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.config import Settings
    from imagen.graphs import Workflow, WorkflowFault


@click.group(cls=Group)
def workflows() -> None:
    """List, show, check and add workflows."""


workflows.add_command(add)


def _print_json(value: object) -> None:
    click.echo(printable(json.dumps(value, indent=2)))


# --- workflows list ---

_LIST_COLUMNS = (Column("name"), Column("task"), Column("title"), Column("source", drop=1))


@workflows.command("list")
@config_option
@json_option
def list_(config_path: Path | None, as_json: bool) -> None:
    """List the workflows in your folders, and the bundled ones."""
    from imagen.graphs import list_workflow_files

    rows: list[tuple[str, ...]] = []
    bodies: list[dict[str, str]] = []
    for entry in list_workflow_files(settings_from_options(config_path).workflow_dirs):
        source, error = entry.source, str(entry.error) if entry.error else ""
        body = {"name": entry.name, "source": source, "hidden_by": entry.hidden_by, "error": error}
        if entry.workflow is None:
            bodies.append(body)
            rows.append((entry.name, "unreadable", error.splitlines()[0], source))
            continue
        manifest = entry.workflow.manifest
        more = {"title": manifest.title, "task": manifest.task, "licence": manifest.licence}
        bodies.append(body | more)
        source = f"{source} (hidden by {entry.hidden_by})" if entry.hidden_by else source
        rows.append((entry.name, manifest.task, manifest.title, source))
    if as_json:
        _print_json(bodies)
    else:
        print_table(_LIST_COLUMNS, rows)


# --- workflows check ---


@workflows.command()
@click.argument("name", shell_complete=complete_workflows)
@click.option(
    "--backend",
    shell_complete=complete_backends,
    metavar="NAME",
    help="Also check against this backend's server; nothing is generated.",
)
@config_option
@json_option
def check(name: str, backend: str | None, config_path: Path | None, as_json: bool) -> int:
    """Report everything that is wrong with a workflow.

    NAME is a name or a file. The exit code is 2 if something is wrong.
    """
    from imagen.graphs import find_faults, find_missing_values, find_workflow

    settings = settings_from_options(config_path)
    workflow = find_workflow(name, settings.workflow_dirs)
    more = (
        find_missing_values(workflow)
        if backend is None
        else _check_on_server(workflow, name, backend, settings)
    )
    found = list(dict.fromkeys([*find_faults(workflow), *more]))
    if as_json:
        keys = ("node", "title", "input", "what", "remedy")
        _print_json(
            {
                "workflow": workflow.name,
                "source": workflow.source,
                "ok": not found,
                "faults": [{key: getattr(fault, key) for key in keys} for fault in found],
            }
        )
        return 2 if found else 0
    for fault in found:
        echo(fault.sentence)
        if fault.remedy:
            echo(f"  {fault.remedy}")
    place = f" on {backend}" if backend else ""
    verdict = f"{len(found)} problem{'s' if len(found) > 1 else ''}" if found else "ok"
    echo(f"{workflow.name}{place}: {verdict}")
    return 2 if found else 0


def _check_on_server(
    workflow: Workflow, name: str, backend: str, settings: Settings
) -> list[WorkflowFault]:
    """The faults on a backend's server, with its own defaults if this is its workflow."""
    from imagen.backends.comfyui import ComfyUIBackend, default_overrides, node_catalog
    from imagen.backends.redact import unwrap_backend
    from imagen.errors import ConfigError
    from imagen.graphs import check_against_server, find_missing_values
    from imagen.pipeline.generate import open_named

    with closing(open_named(backend, settings)) as opened, unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUIBackend):
            raise ConfigError(
                f"Workflows are checked against a ComfyUI server, and the backend {backend!r} is "
                "not one.",
                remedy="Name a backend of type comfyui.",
            )
        object_info, version = node_catalog(engine)
        defaults = default_overrides(engine, name)
    bound = workflow.bind_defaults(defaults)
    return [
        *find_missing_values(workflow, defaults),
        *check_against_server(bound, object_info, manifest=workflow.manifest, version=version),
    ]


# --- workflows show ---

_FILE_COLUMNS = (
    Column("file", is_whole=True, may_go_below=True),
    Column("size", is_whole=True, may_go_below=True),
    Column("licence", may_go_below=True),
)


@workflows.command()
@click.argument("name", shell_complete=complete_workflows)
@config_option
@json_option
def show(name: str, config_path: Path | None, as_json: bool) -> None:
    """Show the parameters of a workflow and the models it needs.

    NAME is a name or a file.
    """
    from imagen.graphs import find_workflow

    workflow = find_workflow(name, settings_from_options(config_path).workflow_dirs)
    manifest = workflow.manifest
    if as_json:
        parameters = {
            name: parameter.model_dump(mode="json", exclude_none=True)
            for name, parameter in workflow.parameters.items()
        }
        body = {"name": workflow.name, "source": workflow.source}
        _print_json(body | manifest.model_dump(mode="json") | {"parameters": parameters})
        return
    echo(f"{workflow.name}: {manifest.title}" if manifest.title else workflow.name)
    for line in (*format_paragraph(manifest.description), ""):
        click.echo(line)
    heads = (
        ("Source", workflow.source),
        ("Task", manifest.task),
        ("Family", manifest.family),
        ("Licence", manifest.licence),
        ("ComfyUI", f"{manifest.comfyui} or later" if manifest.comfyui else ""),
    )
    print_table([Column(""), Column("")], [head for head in heads if head[1]])
    print_section(
        "Parameters",
        PARAMETER_COLUMNS,
        [parameter_row(name, parameter) for name, parameter in workflow.parameters.items()],
        below=[parameter.description for parameter in workflow.parameters.values()],
    )
    print_section(
        "Models, in ComfyUI's models/",
        _FILE_COLUMNS,
        [(f"{m.folder}/{m.file}", m.size, m.licence) for m in manifest.models],
        below=[m.source for m in manifest.models],
    )
    print_section("Other tasks", [Column("task"), Column("workflow")], [*manifest.tasks.items()])
    nets = manifest.controls.items()
    print_section(
        "ControlNets, in ComfyUI's models/",
        [Column("kind"), *_FILE_COLUMNS],
        [(kind, f"{net.folder}/{net.file}", net.size, net.licence) for kind, net in nets],
        below=[net.source for _, net in nets],
    )
    print_section(
        "Custom nodes",
        [Column("name"), Column("classes", may_go_below=True)],
        [(pack.name, ", ".join(pack.classes)) for pack in manifest.nodes],
        below=[pack.source for pack in manifest.nodes],
    )
    print_section("Not supported", [Column("name"), Column("why")], [*manifest.without.items()])
