"""--workflow: run a workflow that no backend of the configuration names."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from imagen.errors import ConfigError, UnknownBackend

if TYPE_CHECKING:
    from imagen.config import Settings

_KIND = "comfyui"


def choose_workflow(
    reference: str, settings: Settings, backend: str | None
) -> tuple[Settings, str]:
    """Settings in which a ComfyUI backend runs this workflow, and the backend's name.

    It is the named backend, or the default backend if that is of type comfyui, or a server at the
    default address. Raises ConfigError for a backend of another type, WorkflowError and OutputError
    for a file without a workflow.
    """
    kinds = {name: block.get("type", name) for name, block in settings.backends.items()}
    name = backend or settings.default_backend
    if backend is None and kinds.get(name, name) != _KIND and kinds.get(_KIND, _KIND) == _KIND:
        name = _KIND
    elif name in settings.pools:
        raise ConfigError(
            f"--workflow needs a backend, and {name!r} is a pool.",
            remedy=f"Choose one of its backends: {', '.join(settings.pools[name])}.",
        )
    elif name not in (*kinds, "mock", _KIND):
        raise UnknownBackend(name, (*kinds, "mock"))
    kind = kinds.get(name, name)
    if kind != _KIND:
        raise ConfigError(
            f"--workflow needs a backend of type comfyui; {name!r} is of type {kind}.",
            remedy="Choose one with --backend, or leave out --backend to use the ComfyUI server on "
            "this machine.",
        )
    path = Path(reference).expanduser()
    if os.path.isfile(path):
        reference = str(_workflow_path(path, settings, name))
    return settings.with_workflow(name, reference), name


def _workflow_path(path: Path, settings: Settings, backend: str) -> Path:
    """The file itself if it has tokens, or what is imported from it, as `workflows add` does.

    The imported workflow is named after its content. The editor's format needs the node catalog of
    the server.
    """
    from imagen.engines.workflow_import import choose_catalog, read_workflow_file
    from imagen.graphs.importer import (
        format_workflow,
        import_workflow,
        suggest_name,
        write_workflow,
    )
    from imagen.graphs.tokens import tokens_of
    from imagen.reproduce import IMPORTED_WORKFLOWS

    found = read_workflow_file(path)
    if found.graph is not None and any(tokens_of(found.graph)):
        return path.absolute()
    catalog = None
    if found.form == "editor":
        reachable = settings.with_workflow(backend, "-")
        catalog = choose_catalog(reachable, backend, None, None, is_needed=True).object_info
    proposal = import_workflow(found, catalog, title=path.stem, is_checked=catalog is not None)
    content = sha256("".join(format_workflow(proposal)).encode()).hexdigest()[:8]
    name = f"{suggest_name(path.stem)[:60]}-{content}"
    graph, _ = write_workflow(
        settings.state_dir / IMPORTED_WORKFLOWS, name, proposal, force=True, is_private=True
    )
    return graph.absolute()
