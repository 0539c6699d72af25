"""Which catalogue of nodes a command goes by: a server's, or a saved one."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.config import Settings

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
        return Catalogue(block=_block(settings, name), notes=(note,))


def _first(settings: Settings) -> str | None:
    """The default backend where it is one of ComfyUI's, else the first that is."""
    names = [settings.default_backend, *settings.backends]
    kinds = {name: block.get("type", name) for name, block in settings.backends.items()}
    return next((name for name in names if kinds.get(name) == _KIND), None)


def _of_backend(name: str, settings: Settings, *, is_named: bool) -> Catalogue:
    from imagen.backends.comfyui import ComfyUI, node_catalog
    from imagen.backends.redact import unwrap_backend
    from imagen.pipeline.generate import open_named

    with closing(open_named(name, settings)) as opened, unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUI):
            raise ConfigError(
                f"The backend {name!r} is no ComfyUI server, so it has no catalogue of nodes.",
                remedy="Name a backend of type: comfyui.",
            )
        object_info, _ = node_catalog(engine)
    return Catalogue(
        object_info=object_info, source=name, is_named=is_named, block=_block(settings, name)
    )


def _of_address(url: str) -> Catalogue:
    from imagen.backends import open_backend
    from imagen.backends.comfyui import ComfyUI, node_catalog
    from imagen.backends.redact import unwrap_backend

    block = {"type": _KIND, "url": url, "workflow": "-"}
    with closing(open_backend(_KIND, {_KIND: block})) as opened, unwrap_backend(opened) as engine:
        if not isinstance(engine, ComfyUI):  # a plug-in may not take this name
            raise ConfigError(f"{url} is no ComfyUI server.")
        object_info, _ = node_catalog(engine)
    return Catalogue(object_info=object_info, source=url, is_named=True, block={"url": url})


def _block(settings: Settings, name: str) -> dict[str, Any]:
    block = settings.backends.get(name, {})
    return {key: value for key, value in block.items() if key not in _NOT_COPIED}


def _saved(file: Path) -> dict[str, Any]:
    """A saved answer of /object_info; raises ConfigError with a sentence for what is none."""
    try:
        said = json.loads(file.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError("The node_catalog", remedy=_HOW) from error
    except OSError as error:
        raise ConfigError("The node_catalog") from error
    if not isinstance(said, dict) or not any(map(_is_class, said.values())):
        raise ConfigError(f"{file} is no catalogue of ComfyUI's nodes.", remedy=_HOW)
    return said


def _is_class(said: Any) -> bool:
    return isinstance(said, dict) and isinstance(said.get("input"), dict)
