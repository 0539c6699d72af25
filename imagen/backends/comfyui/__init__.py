"""ComfyUI: workflows as data on a server near or far; `adapter` is its door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.comfyui.backend import ComfyUI, adapter
from imagen.backends.comfyui.config import ComfyUIConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ComfyUI", "ComfyUIConfig", "adapter", "catalogue"]


def catalogue(backend: ComfyUI) -> tuple[Mapping[str, Any], str | None]:
    """A server's catalogue of nodes, and its ComfyUI version."""
    client = backend.client()
    return client.catalogue(), client.version()
