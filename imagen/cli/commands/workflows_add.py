"""imagen workflows add: take over a workflow made in ComfyUI's editor."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from imagen.cli.command_table import Command
from imagen.cli.completers import complete_backends
from imagen.cli.options import config_option, json_option, settings_for
from imagen.cli.parsing import PATH
from imagen.cli.tables import Column, print_section, print_table
from imagen.cli.terminal import echo
from imagen.core.filesystem import read_at_most
from imagen.core.text import one_line
from imagen.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imagen.config import Addition, Settings
    from imagen.graphs import WorkflowFault
    from imagen.graphs.importer import DetectedWorkflow, ProposedToken, ProposedWorkflow


_LARGEST_JSON = 64 * 2**20
_TEXTS = ("prompt", "workflow")
_SHOWN = 60
_TOKENS = (
    Column("TOKEN"),
    Column("NODE"),
    Column("INPUT"),
    Column("DEFAULT", may_go_below=True),
)
_WORD = re.compile(r"[^\W\d_][\w-]*")


@click.command(cls=Command)
@click.argument("file", type=PATH)
@click.option("--name", metavar="NAME", help="What to call it; by default as the file.")
@click.option(
    "--backend",
    shell_complete=complete_backends,
    metavar="NAME",
    help="Read it with the catalogue of this one's server.",
)
@click.option("--url", metavar="URL", help="Read it with the catalogue of the server there.")
@click.option(
    "--catalogue",
    type=PATH,
    metavar="FILE",
    help="Read it with a saved catalogue: what the server's /object_info says.",
)
@click.option("--force", is_flag=True, help="Replace a workflow of the same name.")
@click.option("--use", is_flag=True, help="Add a backend that runs it to the configuration, too.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@config_option
@json_option
def add(
    file: Path,
    name: str | None,
    backend: str | None,
    url: str | None,
    catalogue: Path | None,
    force: bool,
    use: bool,
    dry_run: bool,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Add a workflow that ComfyUI saved: JSON of either format, or a picture it made.

    Without --backend, --url or --catalogue the first ComfyUI server of the configuration is asked,
    where one is needed.
    """
    from imagen.graphs.importer import (
        check_name,
        import_workflow,
        suggest_name,
        write_workflow,
    )

    settings = settings_for(config_path)
    name = check_name(name) if name is not None else suggest_name(file.stem)
    found = read(file)
    known = choose(settings, backend, url, catalogue, is_needed=found.form == "editor")
    proposal = import_workflow(
        found,
        known.object_info,
        title=one_line(file.stem),
        description=f"Taken from {one_line(file.name)}.",
        is_checked=known.is_named,
    )
    folder = folder_of(settings)
    paths: tuple[Path, ...] = ()
    addition: Addition | None = None
    if not dry_run:
        paths = write_workflow(folder, name, proposal, force=force)
        addition = _add_backend(settings, name, known) if use else None
    added = _Added(
        name=name,
        found=found,
        proposal=proposal,
        known=known,
        paths=paths,
        addition=addition,
        faults=_lacking(proposal, known),
    )
    if as_json:
        click.echo(json.dumps(added.facts(), indent=2))
    else:
        added.print_page()


def _add_backend(settings: Settings, name: str, known: Catalogue) -> Addition:
    """Add the workflow's backend to the configuration; raises ConfigError for a name in use."""

    from imagen.config import add_backends, place_to_write
    from imagen.errors import ConfigError

    path = settings.source or place_to_write()
    addition = add_backends(path, {name: _block(name, known)})
    if addition.differing:
        raise ConfigError(
            f"The workflow was added, but {path} has another backend called {name!r}.",
            remedy="Give the workflow another name with --name.",
        )
    return addition


def _block(name: str, known: Catalogue) -> dict[str, Any]:
    """The backend that runs the workflow of this name where the catalogue came from."""
    return {"type": "comfyui", **known.block, "workflow": name}


def read(path: Path) -> DetectedWorkflow:
    """The workflow in a file: a picture's, else that of a JSON text.

    Raises WorkflowError or OutputError for a file that has none.
    """
    from imagen.errors import WorkflowError
    from imagen.graphs.importer import detect_in_image_texts, detect_in_text
    from imagen.outputs import read_texts

    name = one_line(path.name)
    inside = read_texts(path, _TEXTS)
    if inside is not None:
        return detect_in_image_texts(inside, name)
    data = read_at_most(path, _LARGEST_JSON + 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkflowError(
            f"{name} is neither JSON in UTF-8 nor a PNG, JPEG, WebP or AVIF image."
        ) from error
    if len(data) > _LARGEST_JSON:
        raise WorkflowError(f"{name} is larger than the {_LARGEST_JSON >> 20} MB we read.")
    return detect_in_text(text, name)


def folder_of(settings: Settings) -> Path:
    """Where new workflows go: the first of the person's own folders.

    Raises ConfigError where there is none, and no home directory for one.
    """
    import os

    from imagen.config import default_workflow_dir
    from imagen.errors import ConfigError

    if settings.workflow_dirs:
        return settings.workflow_dirs[0].expanduser()
    usual = default_workflow_dir(os.environ)
    if usual is None:
        raise ConfigError("There is no folder for workflows.", remedy="Name one in workflow_dirs.")
    return usual


@dataclass(frozen=True, slots=True, kw_only=True)
class _Added:
    """What came of it, for people and as JSON."""

    name: str
    found: DetectedWorkflow
    proposal: ProposedWorkflow
    known: Catalogue
    paths: Sequence[Path]
    addition: Addition | None
    faults: Sequence[WorkflowFault]

    def facts(self) -> dict[str, Any]:
        """For `--json`."""
        manifest = self.proposal.manifest.model_dump(mode="json", exclude_none=True)
        return {
            "name": self.name,
            "source": self.found.source,
            "format": self.found.form,
            "files": [str(path) for path in self.paths],
            "tokens": [self._token(token) for token in self.proposal.tokens],
            "task": manifest["task"],
            "models": manifest["models"],
            "output": manifest["output"],
            "notes": self._notes(),
            "faults": [{"what": f.sentence, "remedy": f.remedy} for f in self.faults],
            "backend": {self.name: _block(self.name, self.known)},
            "configuration": str(self.addition.path) if self.addition else None,
        }

    def print_page(self) -> None:
        """For people."""
        count = len(self.proposal.graph)
        form = "the editor's format" if self.found.form == "editor" else "API format"
        echo(f"{self.name}: {self.found.source}, {form}, {count} node{'s' * (count != 1)}\n")
        rows = [self._token_row(token) for token in self.proposal.tokens]
        print_table(_TOKENS, rows, has_heading=True)
        manifest = self.proposal.manifest
        print_section(
            "Models, below ComfyUI's models/",
            [Column("file", is_whole=True)],
            [(f"{m.folder}/{m.file}",) for m in manifest.models],
            below=[m.source for m in manifest.models],
        )
        print_section(
            f"To do on {self.known.source}",
            [Column("")],
            [(fault.sentence,) for fault in self.faults],
            below=[fault.remedy for fault in self.faults],
        )
        print_section("Notes", [Column("")], [(note,) for note in self._notes()])
        click.echo()
        self._print_end()

    def _print_end(self) -> None:
        if not self.paths:
            echo("Nothing was written (--dry-run).")
            return
        for path in self.paths:
            echo(f"Wrote {path}")
        click.echo()
        if self.addition is not None:
            done = "Added the backend" if self.addition.added else "There already is the backend"
            echo(f"{done} {self.name}: {self.addition.path}")
            echo(f'Use it: imagen generate "…" --backend {_scalar(self.name)}')
            return
        echo("To use it, put this below `backends:` in the configuration:\n")
        echo(f"  {_scalar(self.name)}:")
        for key, value in _block(self.name, self.known).items():
            echo(f"    {key}: {_scalar(value)}")

    def _token_row(self, token: ProposedToken) -> tuple[str, ...]:
        default = one_line(json.dumps(token.default, ensure_ascii=False), limit=_SHOWN)
        return token.name, self._node(token), token.input, default

    def _node(self, token: ProposedToken) -> str:
        from imagen.graphs.graph import describe_node

        return f"{token.node} {describe_node(self.proposal.graph, token.node)}"

    def _token(self, token: ProposedToken) -> dict[str, Any]:
        node = self.proposal.graph[token.node]
        return {
            "token": token.name,
            "node": token.node,
            "class": node["class_type"],
            "input": token.input,
            "default": token.default,
        }

    def _notes(self) -> list[str]:
        from imagen.graphs import list_workflow_names

        hides = self.name in list_workflow_names(())
        own = [f"It goes before the bundled workflow {self.name!r}."] if hides else []
        return [*self.proposal.notes, *self.known.notes, *own]


def _lacking(proposal: ProposedWorkflow, known: Catalogue) -> list[WorkflowFault]:
    from imagen.graphs.importer import find_server_faults

    return [] if known.object_info is None else find_server_faults(proposal, known.object_info)


def _scalar(value: Any) -> str:
    """A value as YAML reads it: JSON is YAML, and a word that stays a text needs no quotes."""
    from yaml import safe_load

    is_word = isinstance(value, str) and _WORD.fullmatch(value) is not None
    is_plain = is_word and safe_load(value) == value  # yes, no, on, null are no texts
    return value if is_plain else json.dumps(value, ensure_ascii=False)


_KIND = "comfyui"
_NOT_COPIED = ("type", "workflow", "workflow_dirs", "parameters", "title", "hint")
_HOW = "Save one with: curl http://127.0.0.1:8188/object_info > object_info.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What a server's nodes are, and how that was learnt."""

    object_info: Mapping[str, Any] | None = None
    """None where there is none at hand."""
    source: str = ""
    """For people: the backend, the address, or the file."""
    is_named: bool = False
    """Whether somebody asked for this very one."""
    block: Mapping[str, Any] = field(default_factory=dict)
    """The keys by which a backend's block reaches the same server."""
    notes: tuple[str, ...] = ()


def choose(
    settings: Settings,
    backend: str | None,
    url: str | None,
    file: Path | None,
    *,
    is_needed: bool,
) -> Catalogue:
    """The catalogue that is named; else that of the first ComfyUI server of the configuration.

    Where none `is_needed`, a server that can't be asked is a note. Raises ConfigError for two
    named at once, and where none is to be had.
    """
    if sum(one is not None for one in (backend, url, file)) > 1:
        raise ConfigError("--backend, --url and --catalogue exclude each other; keep one.")
    if file is not None:
        return Catalogue(object_info=_saved(file), source=file.name, is_named=True)
    if url is not None:
        return _of_address(url)
    if backend is not None:
        return _of_backend(backend, settings, is_named=True)
    return _usual(settings, is_needed=is_needed)


def _usual(settings: Settings, *, is_needed: bool) -> Catalogue:
    name = _first(settings)
    if name is None:
        if is_needed:
            raise ConfigError(
                "The editor's format is read with a catalogue of nodes, and no backend of "
                "type: comfyui is configured to ask for it.",
                remedy="Name a server (--url http://127.0.0.1:8188), or a saved catalogue "
                f"(--catalogue FILE). {_HOW}",
            )
        return Catalogue()
    if is_needed:
        return _of_backend(name, settings, is_named=True)
    try:
        return _of_backend(name, settings, is_named=False)
    except (BackendError, ConfigError) as error:
        note = f"Not checked on {name}: {error.message}"
        return Catalogue(block=_block_catalogues(settings, name), notes=(note,))


def _first(settings: Settings) -> str | None:
    """The default backend where it is one of ComfyUI's, else the first that is."""
    names = [settings.default_backend, *settings.backends]
    kinds = {name: block.get("type", name) for name, block in settings.backends.items()}
    return next((name for name in names if kinds.get(name) == _KIND), None)


def _of_backend(name: str, settings: Settings, *, is_named: bool) -> Catalogue:
    from imagen.backends.comfyui import ComfyUIBackend, node_catalog
    from imagen.backends.redact import unwrap_backend
    from imagen.pipeline.generate import open_named

    with closing(open_named(name, settings)) as opened, unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUIBackend):
            raise ConfigError(
                f"The backend {name!r} is no ComfyUI server, so it has no catalogue of nodes.",
                remedy="Name a backend of type: comfyui.",
            )
        object_info, _ = node_catalog(engine)
    return Catalogue(
        object_info=object_info,
        source=name,
        is_named=is_named,
        block=_block_catalogues(settings, name),
    )


def _of_address(url: str) -> Catalogue:
    from imagen.backends import open_backend
    from imagen.backends.comfyui import ComfyUIBackend, node_catalog
    from imagen.backends.redact import unwrap_backend

    block = {"type": _KIND, "url": url, "workflow": "-"}
    with closing(open_backend(_KIND, {_KIND: block})) as opened, unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUIBackend):  # a plug-in may not take this name
            raise ConfigError(f"{url} is no ComfyUI server.")
        object_info, _ = node_catalog(engine)
    return Catalogue(object_info=object_info, source=url, is_named=True, block={"url": url})


def _block_catalogues(settings: Settings, name: str) -> dict[str, Any]:
    block = settings.backends.get(name, {})
    return {key: value for key, value in block.items() if key not in _NOT_COPIED}


def _saved(file: Path) -> dict[str, Any]:
    """A saved answer of /object_info; raises ConfigError with a sentence for what is none."""
    try:
        said = json.loads(file.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"The catalogue {file} is not valid JSON.", remedy=_HOW) from error
    except OSError as error:
        raise ConfigError(f"Cannot read the catalogue {file}: {error.strerror}.") from error
    if not isinstance(said, dict) or not any(map(_is_class, said.values())):
        raise ConfigError(f"{file} is no catalogue of ComfyUI's nodes.", remedy=_HOW)
    return said


def _is_class(said: Any) -> bool:
    return isinstance(said, dict) and isinstance(said.get("input"), dict)
