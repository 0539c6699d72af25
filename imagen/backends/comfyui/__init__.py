"""ComfyUI: workflows as data, on a local or remote server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.backends.comfyui.adapter import ComfyUIBackend, adapter
from imagen.backends.comfyui.config import ComfyUIConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ComfyUIBackend", "ComfyUIConfig", "adapter", "default_overrides", "node_catalog"]


def node_catalog(backend: ComfyUIBackend) -> tuple[Mapping[str, object], str | None]:
    """The node catalog of a server, and its ComfyUI version."""
    client = backend.client()
    return client.node_catalog(), client.version()


def default_overrides(backend: ComfyUIBackend, workflow: str) -> Mapping[str, object]:
    """The backend's own defaults for a workflow by name or path; empty for one it does not use."""
    return backend.workflows.overrides_of(workflow)
