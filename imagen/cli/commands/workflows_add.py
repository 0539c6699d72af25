"""imagen workflows add: add a workflow that was saved in ComfyUI."""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_backends
from imagen.cli.options import config_option, json_option, settings_from_options
from imagen.cli.parsing import PATH
from imagen.cli.tables import Column, print_section, print_table
from imagen.cli.terminal import echo
from imagen.core.filesystem import read_at_most
from imagen.core.text import one_line
from imagen.errors import BackendError, ConfigError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.config import Addition, Settings
    from imagen.graphs import WorkflowFault
    from imagen.graphs.importer import DetectedWorkflow, ProposedWorkflow

_LARGEST_JSON = 64 * 2**20


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
    from imagen.graphs.importer import (
        check_name,
        find_server_faults,
        import_workflow,
        suggest_name,
        write_workflow,
    )

    settings = settings_from_options(config_path)
    name = check_name(name) if name is not None else suggest_name(file.stem)
    found = read_workflow_file(file)
    known = choose_catalog(settings, backend, url, catalog, is_needed=found.form == "editor")
    proposal = import_workflow(
        found,
        known.object_info,
        title=one_line(file.stem),
        description=f"Imported from {one_line(file.name)}.",
        is_checked=known.is_named,
    )
    folder = workflow_folder(settings)
    paths: tuple[Path, ...] = ()
    addition: Addition | None = None
    if not dry_run:
        paths = write_workflow(folder, name, proposal, force=force)
        addition = _add_backend(settings, name, known) if use else None
    added = _AddedWorkflow(
        name=name,
        found=found,
        proposal=proposal,
        catalog=known,
        paths=paths,
        addition=addition,
        faults=() if known.object_info is None else find_server_faults(proposal, known.object_info),
    )
    if as_json:
        click.echo(json.dumps(_added_json(added), indent=2))
    else:
        _print_added(added)


def read_workflow_file(path: Path) -> DetectedWorkflow:
    """The workflow in an image or a JSON file; raises WorkflowError or OutputError."""
    from imagen.graphs.importer import detect_in_image_texts, detect_in_text
    from imagen.outputs import read_texts

    name = one_line(path.name)
    embedded = read_texts(path, ("prompt", "workflow"))
    if embedded is not None:
        return detect_in_image_texts(embedded, name)
    data = read_at_most(path, _LARGEST_JSON + 1)
    if len(data) > _LARGEST_JSON:
        raise WorkflowError(f"{name} is larger than {_LARGEST_JSON >> 20} MB.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkflowError(
            f"{name} is not a workflow: expected JSON in UTF-8, or a PNG, JPEG, WebP or AVIF image."
        ) from error
    return detect_in_text(text, name)


def workflow_folder(settings: Settings) -> Path:
    """Where new workflows go: the first of the user's folders. Raises ConfigError."""
    from imagen.config import default_config_folder

    if settings.workflow_dirs:
        return settings.workflow_dirs[0].expanduser()
    folder = default_config_folder("workflows", os.environ)
    if folder is None:
        raise ConfigError(
            "There is no folder for workflows.", remedy="Set workflow_dirs in the configuration."
        )
    return folder


def _add_backend(settings: Settings, name: str, catalog: CatalogSource) -> Addition:
    """Add a backend for the workflow to the configuration.

    Raises ConfigError if its name is taken.
    """
    from imagen.config import add_backends, place_to_write

    path = settings.source or place_to_write()
    addition = add_backends(path, {name: _backend_block(name, catalog)})
    if addition.differing:
        raise ConfigError(
            f"The workflow was added, but {path} already has another backend {name!r}.",
            remedy="Give the workflow another name with --name.",
        )
    return addition


# --- the node catalog ---

_HOW_TO_SAVE = "To save one: curl http://127.0.0.1:8188/object_info > object_info.json"
_NOT_COPIED = ("type", "workflow", "workflow_dirs", "parameters", "title", "hint")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSource:
    """A node catalog and where it comes from."""

    object_info: Mapping[str, object] | None = None
    """None if there is none."""
    source: str = ""
    """For people: the backend, the address or the file."""
    is_named: bool = False
    """Whether the user named it."""
    block: Mapping[str, object] = field(default_factory=dict)
    """The keys with which a backend reaches the same server."""
    notes: tuple[str, ...] = ()


def choose_catalog(
    settings: Settings,
    backend: str | None,
    url: str | None,
    file: Path | None,
    *,
    is_needed: bool,
) -> CatalogSource:
    """The node catalog that is named, or that of the first ComfyUI server of the configuration.

    Unless one `is_needed`, a server that does not answer is only a note. Raises ConfigError.
    """
    if sum(one is not None for one in (backend, url, file)) > 1:
        raise ConfigError("--backend, --url and --catalog exclude each other. Use one of them.")
    if file is not None:
        return CatalogSource(object_info=_read_catalog(file), source=file.name, is_named=True)
    if url is not None:
        from imagen.backends import open_backend

        block = {"type": "comfyui", "url": url, "workflow": "-"}
        object_info, _ = fetch_catalog(open_backend("comfyui", {"comfyui": block}), url)
        return CatalogSource(object_info=object_info, source=url, is_named=True, block={"url": url})
    if backend is not None:
        return _catalog_of_backend(backend, settings, is_named=True)
    names = [settings.default_backend, *settings.backends]
    kinds = {name: block.get("type", name) for name, block in settings.backends.items()}
    name = next((name for name in names if kinds.get(name) == "comfyui"), None)
    if name is not None and is_needed:
        return _catalog_of_backend(name, settings, is_named=True)
    if name is not None:
        try:
            return _catalog_of_backend(name, settings, is_named=False)
        except (BackendError, ConfigError) as error:
            note = f"Not checked with {name}: {error.message}"
            return CatalogSource(block=_server_keys(settings, name), notes=(note,))
    if is_needed:
        raise ConfigError(
            "Reading the editor's format needs a node catalog, and the configuration has no "
            "backend of type comfyui.",
            remedy="Name a server (--url http://127.0.0.1:8188) or a saved node catalog "
            f"(--catalog FILE). {_HOW_TO_SAVE}",
        )
    return CatalogSource()


def _catalog_of_backend(name: str, settings: Settings, *, is_named: bool) -> CatalogSource:
    from imagen.pipeline.generate import open_named

    object_info, _ = fetch_catalog(open_named(name, settings), f"the backend {name!r}")
    block = _server_keys(settings, name)
    return CatalogSource(object_info=object_info, source=name, is_named=is_named, block=block)


def fetch_catalog(opened: Backend, name: str) -> tuple[Mapping[str, Any], str | None]:
    """The node catalog and the version of a ComfyUI server; raises ConfigError for other types."""
    from imagen.backends.comfyui import ComfyUIBackend, node_catalog
    from imagen.backends.redact import unwrap_backend

    with closing(opened), unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUIBackend):
            raise ConfigError(
                f"A node catalog comes from a ComfyUI server, and {name} is not one.",
                remedy="Name a backend of type comfyui.",
            )
        return node_catalog(engine)


def _server_keys(settings: Settings, name: str) -> dict[str, object]:
    block = settings.backends.get(name, {})
    return {key: value for key, value in block.items() if key not in _NOT_COPIED}


def _read_catalog(file: Path) -> dict[str, object]:
    try:
        nodes = json.loads(file.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"The node catalog {file} is not valid JSON.", remedy=_HOW_TO_SAVE
        ) from error
    except OSError as error:
        raise ConfigError(f"Cannot read the node catalog {file}: {error.strerror}.") from error
    if not isinstance(nodes, dict) or not any(
        isinstance(node, dict) and isinstance(node.get("input"), dict) for node in nodes.values()
    ):
        raise ConfigError(f"{file} is not a node catalog of ComfyUI.", remedy=_HOW_TO_SAVE)
    return nodes


# --- the result ---

_TOKEN_COLUMNS = (
    Column("TOKEN"),
    Column("NODE"),
    Column("INPUT"),
    Column("DEFAULT", may_go_below=True),
)
_PLAIN_WORD = re.compile(r"[^\W\d_][\w-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _AddedWorkflow:
    name: str
    found: DetectedWorkflow
    proposal: ProposedWorkflow
    catalog: CatalogSource
    paths: Sequence[Path]
    addition: Addition | None
    faults: Sequence[WorkflowFault]

    @property
    def notes(self) -> list[str]:
        from imagen.graphs import list_workflow_names

        hidden = (
            [f"It hides the bundled workflow {self.name!r}."]
            if self.name in list_workflow_names(())
            else []
        )
        return [*self.proposal.notes, *self.catalog.notes, *hidden]


def _backend_block(name: str, catalog: CatalogSource) -> dict[str, object]:
    """The backend that runs the workflow on the server of the catalog."""
    return {"type": "comfyui", **catalog.block, "workflow": name}


def _added_json(added: _AddedWorkflow) -> dict[str, object]:
    manifest = added.proposal.manifest.model_dump(mode="json", exclude_none=True)
    return {
        "name": added.name,
        "source": added.found.source,
        "format": added.found.form,
        "files": [str(path) for path in added.paths],
        "tokens": [
            {
                "token": token.name,
                "node": token.node,
                "class": added.proposal.graph[token.node]["class_type"],
                "input": token.input,
                "default": token.default,
            }
            for token in added.proposal.tokens
        ],
        "task": manifest["task"],
        "models": manifest["models"],
        "output": manifest["output"],
        "notes": added.notes,
        "faults": [{"what": fault.sentence, "remedy": fault.remedy} for fault in added.faults],
        "backend": {added.name: _backend_block(added.name, added.catalog)},
        "configuration": str(added.addition.path) if added.addition else None,
    }


def _print_added(added: _AddedWorkflow) -> None:
    from imagen.graphs.graph import describe_node

    count = len(added.proposal.graph)
    form = "editor format" if added.found.form == "editor" else "API format"
    echo(f"{added.name}: {added.found.source}, {form}, {count} node{'s' * (count != 1)}\n")
    graph = added.proposal.graph
    rows = [
        (
            token.name,
            f"{token.node} {describe_node(graph, token.node)}",
            token.input,
            one_line(json.dumps(token.default, ensure_ascii=False), limit=60),
        )
        for token in added.proposal.tokens
    ]
    print_table(_TOKEN_COLUMNS, rows, has_heading=True)
    models = added.proposal.manifest.models
    print_section(
        "Models, in ComfyUI's models/",
        [Column("file", is_whole=True)],
        [(f"{model.folder}/{model.file}",) for model in models],
        below=[model.source for model in models],
    )
    print_section(
        f"To do on {added.catalog.source}",
        [Column("")],
        [(fault.sentence,) for fault in added.faults],
        below=[fault.remedy for fault in added.faults],
    )
    print_section("Notes", [Column("")], [(note,) for note in added.notes])
    click.echo()
    if not added.paths:
        echo("Nothing was written (--dry-run).")
        return
    for path in added.paths:
        echo(f"Wrote {path}")
    click.echo()
    if added.addition is not None:
        verb = "Added the backend" if added.addition.added else "The backend already exists:"
        echo(f"{verb} {added.name} in {added.addition.path}")
        echo(f'To use it: imagen generate "…" --backend {_yaml_scalar(added.name)}')
        return
    echo("To use it, add this below `backends:` in the configuration:\n")
    echo(f"  {_yaml_scalar(added.name)}:")
    for key, value in _backend_block(added.name, added.catalog).items():
        echo(f"    {key}: {_yaml_scalar(value)}")


def _yaml_scalar(value: object) -> str:
    """A value in YAML: a word without quotes if it stays text, anything else as JSON."""
    from yaml import safe_load

    if isinstance(value, str) and _PLAIN_WORD.fullmatch(value) and safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
