"""Add workflows that were saved in ComfyUI."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.core.filesystem import read_at_most
from imagen.core.text import one_line
from imagen.errors import BackendError, ConfigError, RequestError, WorkflowError
from imagen.graphs import list_workflow_names
from imagen.graphs.importer import (
    detect_in_image_texts,
    detect_in_text,
    find_server_faults,
    import_workflow,
    write_workflow,
)
from imagen.outputs.metadata import read_texts
from imagen.views.workflows import (
    AddedWorkflowView,
    MissingOnServerView,
    WorkflowTokenView,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.graphs.importer import DetectedWorkflow, ProposedWorkflow

_LARGEST_JSON = 64 * 2**20


def read_workflow_file(path: Path) -> DetectedWorkflow:
    """The workflow in an image or a JSON file; raises WorkflowError or OutputError."""
    from imagen import outputs

    name = one_line(path.name)
    embedded = outputs.read_texts(path, ("prompt", "workflow"))
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


def read_workflow_image(data: bytes, name: str) -> DetectedWorkflow:
    """The workflow in an image; raises WorkflowError or OutputError."""
    return detect_in_image_texts(read_texts(data, ("prompt", "workflow")), name)


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
    block: Mapping[str, Any] = field(default_factory=dict)
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
        except (BackendError, ConfigError, RequestError) as error:
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
    """The node catalog and the version of a ComfyUI server; raises RequestError for other types."""
    from imagen.backends.comfyui import ComfyUIBackend, node_catalog
    from imagen.backends.redact import unwrap_backend

    with closing(opened), unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUIBackend):
            raise RequestError(
                f"A node catalog comes from a ComfyUI server, and {name} is not one.",
                remedy="Name a backend of type comfyui.",
            )
        return node_catalog(engine)


def _server_keys(settings: Settings, name: str) -> dict[str, Any]:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedWorkflow:
    """A workflow that was added, or with a dry run would be."""

    view: AddedWorkflowView
    proposal: ProposedWorkflow


def add_workflow(
    found: DetectedWorkflow,
    name: str,
    catalog: CatalogSource,
    settings: Settings,
    *,
    title: str,
    description: str,
    force: bool = False,
    is_dry_run: bool = False,
) -> AddedWorkflow:
    """Turn a saved workflow into one with tokens, and write it into the user's folder.

    `name` is one that `check_name` accepts. Raises WorkflowError if it cannot be imported, or if
    one of this name exists and `force` is not set.
    """
    proposal = import_workflow(
        found,
        catalog.object_info,
        title=title,
        description=description,
        is_checked=catalog.is_named,
    )
    folder = workflow_folder(settings)
    paths = () if is_dry_run else write_workflow(folder, name, proposal, force=force)
    hides = name in list_workflow_names(())
    faults = (
        () if catalog.object_info is None else find_server_faults(proposal, catalog.object_info)
    )
    manifest = proposal.manifest
    view = AddedWorkflowView(
        name=name,
        source=found.source,
        format=found.form,
        files=tuple(map(str, paths)),
        tokens=tuple(
            WorkflowTokenView(
                token=token.name,
                node=token.node,
                class_=proposal.graph[token.node]["class_type"],
                input=token.input,
                default=token.default,
            )
            for token in proposal.tokens
        ),
        task=manifest.task,
        models=manifest.models,
        output=manifest.output,
        notes=(
            *proposal.notes,
            *catalog.notes,
            *([f"It hides the bundled workflow {name!r}."] if hides else ()),
        ),
        faults=tuple(
            MissingOnServerView(what=fault.sentence, remedy=fault.remedy) for fault in faults
        ),
        backend={name: {"type": "comfyui", **catalog.block, "workflow": name}},
    )
    return AddedWorkflow(view=view, proposal=proposal)
