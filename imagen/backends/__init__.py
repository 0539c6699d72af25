"""The registry of backends: list the kinds, load an adapter, open a configured backend."""

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
"""The entry-point group in which a plug-in registers its `Adapter`."""
BUILT_IN = ("a1111", "comfyui", "diffusers", "mock", "openai", "replicate", "sdcpp")


def kinds() -> list[str]:
    """The installed kinds of backend: the built-in ones and those of plug-ins."""
    from importlib.metadata import entry_points  # slow, and only needed for plug-ins

    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def load_adapter(kind: str) -> Adapter[Any]:
    """The adapter of one kind of backend; no other kind is imported."""
    if kind in BUILT_IN:
        adapter: Adapter[Any] = import_module(f"imagen.backends.{kind}").adapter
        return adapter
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=kind):
        what = f"The plug-in for backends of type {kind!r}"
        try:
            plugin = point.load()
        except (ImportError, AttributeError, SyntaxError) as error:
            raise ConfigError(f"{what} cannot be loaded: {error}") from error
        if not isinstance(plugin, Adapter):
            raise ConfigError(f"{what} is not an Adapter.")
        return plugin
    raise UnknownBackend(kind, kinds(), what="kind of backend")


def available(blocks: Mapping[str, Mapping[str, object]]) -> set[str]:
    """The names of the configured backends, and the mock, which needs no configuration."""
    return {*blocks, "mock"}


def require_known(name: str, blocks: Mapping[str, Mapping[str, object]]) -> None:
    """Raises UnknownBackend for a name that is not available."""
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
    blocks: Mapping[str, Mapping[str, object]],
    shared: Mapping[str, object] | None = None,
) -> tuple[Adapter[Any], BackendConfig]:
    """The adapter and the validated configuration of the backend configured as `name`.

    `shared` holds top-level keys that a block may override; an adapter gets those it declares.
    Raises UnknownBackend, and ConfigError that names `backends.<name>.<key>` for each wrong key.
    """
    require_known(name, blocks)
    block = dict(blocks.get(name, {}))
    adapter = load_adapter(str(block.pop("type", name)))
    return adapter, validate_block(name, block, adapter.config, shared)


def open_backend(
    name: str,
    blocks: Mapping[str, Mapping[str, object]],
    shared: Mapping[str, object] | None = None,
) -> Backend:
    """Open the backend configured as `name`; it sees no configuration but its own block."""
    adapter, config = configure(name, blocks, shared)
    return adapter.open_redacted(config)


def validate_block(
    name: str,
    block: Mapping[str, object],
    config: type[Config],
    shared: Mapping[str, object] | None = None,
) -> Config:
    """The block, without its `type`, as the configuration of the backend called `name`.

    Raises ConfigError that names `backends.<name>.<key>` for each wrong key.
    """
    if "name" in block:
        raise ConfigError(
            f"backends.{name}.name cannot be set: the name of a backend is its key, {name!r}."
        )
    declared = {key: value for key, value in (shared or {}).items() if key in config.model_fields}
    try:
        return config.model_validate({**declared, **block, "name": name})
    except ValidationError as error:
        found = problems(error, at=("backends", name), model=config)
        sentences = [problem.sentence for problem in found]
        raise ConfigError("\n".join(sentences), problems=found) from error
