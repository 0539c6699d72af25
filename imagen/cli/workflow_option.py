"""--workflow: run a workflow that no backend of the configuration names."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.errors import ConfigError, UnknownBackend

if TYPE_CHECKING:
    from imagen.config import Settings
    from imagen.graphs.importer import DetectedWorkflow

_KIND = "comfyui"


def choose_workflow(
    reference: str, settings: Settings, backend: str | None
) -> tuple[Settings, str]:
    """Settings in which a ComfyUI backend runs this workflow, and the backend's name.

    It is the backend of this name, else the default backend where that is one of ComfyUI, else a
    server at the usual address. Raises ConfigError for a backend of another kind, WorkflowError
    and OutputError for a file that holds no workflow.
    """
    name = _choose_backend(settings, backend)
    path = Path(reference).expanduser()
    if os.path.isfile(path):
        reference = _reference_of(path, settings, name)
    return settings.with_workflow(name, reference), name


def _choose_backend(settings: Settings, asked: str | None) -> str:
    kinds = {name: block.get("type", name) for name, block in settings.backends.items()}
    name = asked or settings.default_backend
    if kinds.get(name, name) == _KIND:
        return name
    if asked is None and kinds.get(_KIND, _KIND) == _KIND:
        return _KIND
    if name not in (*kinds, "mock"):
        raise UnknownBackend(name, (*kinds, "mock"))
    raise ConfigError(
        f"--workflow is for ComfyUI, and the backend {name!r} is of type {kinds.get(name, name)}.",
        remedy="Name a backend of type comfyui with --backend, or leave --backend out to use the "
        "ComfyUI server on this machine.",
    )


def _reference_of(path: Path, settings: Settings, backend: str) -> str:
    """The path of the workflow in a file: its own, or that of what was imported from it."""
    from imagen.cli.commands.workflows_add import read
    from imagen.graphs.tokens import tokens_of

    found = read(path)
    if found.graph is not None and any(tokens_of(found.graph)):
        return str(path.absolute())
    return str(_import_workflow(path, found, settings, backend))


def _import_workflow(path: Path, found: DetectedWorkflow, settings: Settings, backend: str) -> Path:
    """As `workflows add` does, under a name of its content; the editor's format needs the server's
    node catalog."""
    from imagen.cli.commands.workflows_add import choose
    from imagen.graphs.importer import (
        format_workflow,
        import_workflow,
        suggest_name,
        write_workflow,
    )
    from imagen.reproduce import IMPORTED

    object_info = None
    if found.form == "editor":
        reachable = settings.with_workflow(backend, "-")
        object_info = choose(reachable, backend, None, None, is_needed=True).object_info
    proposal = import_workflow(
        found, object_info, title=path.stem, is_checked=object_info is not None
    )
    content = sha256("".join(format_workflow(proposal)).encode()).hexdigest()[:8]
    name = f"{suggest_name(path.stem)[:60]}-{content}"
    graph, _ = write_workflow(
        settings.state_dir / IMPORTED, name, proposal, force=True, is_private=True
    )
    return graph.absolute()
