"""imagen workflows: list, show and check workflows."""

from __future__ import annotations

import json
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
    from imagen.views.workflows import WorkflowSummaryView

    listed = list_workflow_files(settings_from_options(config_path).workflow_dirs)
    each = [WorkflowSummaryView.of(one) for one in listed]
    if as_json:
        _print_json([one.as_data() for one in each])
        return
    rows = []
    for one in each:
        task, title = one.task or "unreadable", one.title or one.error.partition("\n")[0]
        source = f"{one.source} (hidden by {one.hidden_by})" if one.hidden_by else one.source
        rows.append((one.name, task, title, source))
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
    from imagen.engines.workflows import check_workflow
    from imagen.graphs import WorkflowFault, find_workflow

    settings = settings_from_options(config_path)
    workflow = find_workflow(name, settings.workflow_dirs)
    report = check_workflow(workflow, settings, backend, name=name)
    if as_json:
        _print_json(report.as_data())
        return 0 if report.ok else 2
    for fault in report.faults:
        echo(WorkflowFault(**dict(fault)).sentence)
        if fault.remedy:
            echo(f"  {fault.remedy}")
    place = f" on {backend}" if backend else ""
    count = len(report.faults)
    verdict = "ok" if report.ok else f"{count} problem{'s' if count > 1 else ''}"
    echo(f"{workflow.name}{place}: {verdict}")
    return 0 if report.ok else 2


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
    from imagen.views.workflows import WorkflowView

    workflow = find_workflow(name, settings_from_options(config_path).workflow_dirs)
    manifest = workflow.manifest
    if as_json:
        _print_json(WorkflowView.of(workflow).as_data())
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
