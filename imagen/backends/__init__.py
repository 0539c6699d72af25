"""The only door to the adapters: which kinds there are, and opening a configured one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from imagen.backends.base import (
    Adapter,
    Backend,
    BackendConfig,
    Config,
    Detection,
    Health,
    MissingCapability,
)
from imagen.core.validation import problems
from imagen.errors import ConfigError, UnknownBackend

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

__all__ = [
    "Adapter",
    "Backend",
    "BackendConfig",
    "Detection",
    "Health",
    "MissingCapability",
    "available",
    "configure",
    "kinds",
    "load_adapter",
    "open_backend",
    "require_known",
    "validate_block",
]

GROUP = "imagen.backends"
"""The entry-point group in which a plug-in names its `Adapter`."""
BUILT_IN = ("comfyui", "diffusers", "mock", "replicate", "sdcpp")


def kinds() -> list[str]:
    """The kinds of backend that are installed: the built-in ones and those of plug-ins."""
    from importlib.metadata import entry_points  # slow, and only needed for plug-ins

    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def load_adapter(kind: str) -> Adapter[Any]:
    """The adapter of one kind of backend; no other kind is imported."""
    if kind in BUILT_IN:
        adapter: Adapter[Any] = import_module(f"imagen.backends.{kind}").adapter
        return adapter
    from importlib.metadata import entry_points

    for installed in entry_points(group=GROUP, name=kind):
        return _plugged_in(installed)
    raise UnknownBackend(kind, kinds(), what="kind of backend")


def _plugged_in(point: EntryPoint) -> Adapter[Any]:
    try:
        plugin = point.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ConfigError(
            f"The plug-in for backends of type {point.name!r} can't be loaded: {error}"
        ) from error
    if not isinstance(plugin, Adapter):
        raise ConfigError(f"The plug-in for backends of type {point.name!r} is no Adapter.")
    return plugin


def available(blocks: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The names that can be used: those of the blocks, and the mock, which needs none."""
    return {*blocks, "mock"}


def require_known(name: str, blocks: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UnknownBackend where no backend of this name can be used."""
    known = available(blocks)
    if name in known:
        return
    from imagen.graphs import list_workflow_names

    error = UnknownBackend(name, known)
    if name in list_workflow_names(()):
        raise error.replace(
            remedy=f"{name} is a bundled workflow. `imagen config init --detect --write` adds a "
            f"backend for each workflow that your ComfyUI can run.\n{error.remedy}"
        )
    if not blocks:
        raise error.with_remedy("To set up your engines: imagen config init --detect --write")
    raise error


def configure(
    name: str,
    blocks: Mapping[str, Mapping[str, Any]],
    shared: Mapping[str, Any] | None = None,
) -> tuple[Adapter[Any], BackendConfig]:
    """The adapter and the validated configuration of the backend configured as `name`.

    `shared` holds top-level keys that a block may override; an adapter gets those it declares.
    Raises UnknownBackend, and ConfigError naming `backends.<name>.<key>` for every key that is off.
    """
    require_known(name, blocks)
    block = dict(blocks.get(name, {}))
    adapter = load_adapter(block.pop("type", name))
    return adapter, validate_block(name, block, adapter.config, shared)


def open_backend(
    name: str,
    blocks: Mapping[str, Mapping[str, Any]],
    shared: Mapping[str, Any] | None = None,
) -> Backend:
    """Open the backend configured as `name`; its own block is all the configuration it sees."""
    adapter, config = configure(name, blocks, shared)
    return adapter.open_redacted(config)


def validate_block(
    name: str,
    block: Mapping[str, Any],
    config: type[Config],
    shared: Mapping[str, Any] | None = None,
) -> Config:
    """The block, without its `type`, as the configuration of the backend called `name`.

    Raises ConfigError naming `backends.<name>.<key>` for every key that is off.
    """
    if "name" in block:
        raise ConfigError(
            f"backends.{name}.name can't be set: the name of a backend is its key, {name!r}."
        )
    declared = {key: value for key, value in (shared or {}).items() if key in config.model_fields}
    try:
        return config.model_validate({**declared, **block, "name": name})
    except ValidationError as error:
        found = problems(error, at=("backends", name), model=config)
        sentences = [problem.sentence for problem in found]
        raise ConfigError("\n".join(sentences), problems=found) from error
