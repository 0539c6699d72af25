"""imagen workflows add: add a workflow that was saved in ComfyUI."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_backends
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.parsing import PATH
from imagen.cli.tables import Column, print_section, print_table
from imagen.cli.terminal import echo
from imagen.core.text import one_line
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.config import Addition, Settings
    from imagen.engines.workflow_import import AddedWorkflow
    from imagen.views.workflows import AddedWorkflowView


@click.command(cls=Command)
@click.argument("file", type=PATH)
@click.option("--name", metavar="NAME", help="Name of the workflow; by default that of the file.")
@click.option(
    "--backend",
    shell_complete=complete_backends,
    metavar="NAME",
    help="Use the node catalog of this backend's server.",
)
@click.option("--url", metavar="URL", help="Use the node catalog of the server at this address.")
@click.option(
    "--catalog",
    type=PATH,
    metavar="FILE",
    help="Use a saved node catalog: the response of a server's /object_info.",
)
@click.option("--force", is_flag=True, help="Replace a workflow of the same name.")
@click.option("--use", is_flag=True, help="Also add a backend for it to the configuration.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@config_option
@json_option
def add(
    file: Path,
    name: str | None,
    backend: str | None,
    url: str | None,
    catalog: Path | None,
    force: bool,
    use: bool,
    dry_run: bool,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Add a workflow that was saved in ComfyUI.

    FILE is JSON in the editor's format or in API format, or an image with a workflow in it. If a
    node catalog is needed and none is named, it comes from the first ComfyUI server of the
    configuration.
    """
    from imagen.engines.workflow_import import add_workflow, choose_catalog, read_workflow_file
    from imagen.graphs.importer import check_name, suggest_name

    settings = settings_from_options(config_path)
    name = check_name(name) if name is not None else suggest_name(file.stem)
    found = read_workflow_file(file)
    known = choose_catalog(settings, backend, url, catalog, is_needed=found.form == "editor")
    added = add_workflow(
        found,
        name,
        known,
        settings,
        title=one_line(file.stem),
        description=f"Imported from {one_line(file.name)}.",
        force=force,
        is_dry_run=dry_run,
    )
    addition = _add_backend(settings, added.view) if use and not dry_run else None
    if as_json:
        configuration = str(addition.path) if addition else None
        view = added.view.model_copy(update={"configuration": configuration})
        click.echo(json.dumps(view.as_data(), indent=2))
    else:
        _print_added(added, known.source, addition)


def _add_backend(settings: Settings, added: AddedWorkflowView) -> Addition:
    """Add a backend for the workflow to the configuration.

    Raises ConfigError if its name is taken.
    """
    from imagen.config import add_backends, place_to_write

    path = settings.source or place_to_write()
    addition = add_backends(path, added.backend)
    if addition.differing:
        raise ConfigError(
            f"The workflow was added, but {path} already has another backend {added.name!r}.",
            remedy="Give the workflow another name with --name.",
        )
    return addition


# --- the result ---

_TOKEN_COLUMNS = (
    Column("TOKEN"),
    Column("NODE"),
    Column("INPUT"),
    Column("DEFAULT", may_go_below=True),
)
_PLAIN_WORD = re.compile(r"[^\W\d_][\w-]*")


def _print_added(added: AddedWorkflow, catalog: str, addition: Addition | None) -> None:
    from imagen.graphs.graph import describe_node

    view, graph = added.view, added.proposal.graph
    count = len(graph)
    form = "editor format" if view.format == "editor" else "API format"
    echo(f"{view.name}: {view.source}, {form}, {count} node{'s' * (count != 1)}\n")
    rows = [
        (
            token.token,
            f"{token.node} {describe_node(graph, token.node)}",
            token.input,
            one_line(json.dumps(token.default, ensure_ascii=False), limit=60),
        )
        for token in view.tokens
    ]
    print_table(_TOKEN_COLUMNS, rows, has_heading=True)
    print_section(
        "Models, in ComfyUI's models/",
        [Column("file", is_whole=True)],
        [(f"{model.folder}/{model.file}",) for model in view.models],
        below=[model.source for model in view.models],
    )
    print_section(
        f"To do on {catalog}",
        [Column("")],
        [(fault.what,) for fault in view.faults],
        below=[fault.remedy for fault in view.faults],
    )
    print_section("Notes", [Column("")], [(note,) for note in view.notes])
    click.echo()
    if not view.files:
        echo("Nothing was written (--dry-run).")
        return
    for path in view.files:
        echo(f"Wrote {path}")
    click.echo()
    if addition is not None:
        verb = "Added the backend" if addition.added else "The backend already exists:"
        echo(f"{verb} {view.name} in {addition.path}")
        echo(f'To use it: imagen generate "…" --backend {_yaml_scalar(view.name)}')
        return
    echo("To use it, add this below `backends:` in the configuration:\n")
    for name, block in view.backend.items():
        echo(f"  {_yaml_scalar(name)}:")
        for key, value in block.items():
            echo(f"    {key}: {_yaml_scalar(value)}")


def _yaml_scalar(value: object) -> str:
    """A value in YAML: a word without quotes if it stays text, anything else as JSON."""
    from yaml import safe_load

    if isinstance(value, str) and _PLAIN_WORD.fullmatch(value) and safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
