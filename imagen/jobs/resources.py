"""What jobs take turns on: the engines that a worker serves, and how many places each has."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imagen.backends import configure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """An engine or a GPU, and the backends that share it."""

    name: str
    backends: tuple[str, ...]
    at_once: int
    rate: tuple[int, float] | None
    """So many jobs may start in so many seconds."""
    is_remote: bool
    """Whether its jobs go on without the process that submitted them."""


def find_resources(backends: Sequence[str], settings: Settings) -> list[Resource]:
    """The resources of these backends and pools, by default of all that are configured.

    Backends with one resource share its places: the fewest that one of them allows.
    """
    members = [member for name in backends for member in settings.members(name)]
    found: dict[str, Resource] = {}
    for name in dict.fromkeys(members or settings.backends or [settings.default_backend]):
        new = _resource_of(name, settings)
        known = found.get(new.name, new)
        found[new.name] = replace(
            known,
            backends=tuple(dict.fromkeys((*known.backends, name))),
            at_once=min(known.at_once, new.at_once),
            rate=known.rate or new.rate,
            is_remote=known.is_remote and new.is_remote,
        )
    return list(found.values())


def _resource_of(name: str, settings: Settings) -> Resource:
    adapter, config = configure(name, settings.backends, settings.shared())
    with closing(adapter.open_redacted(config)) as engine:
        own = engine.engine
    is_remote = adapter.is_service or own.startswith("comfyui")
    at_once = config.at_once or (4 if adapter.is_service else 1)
    return Resource(
        name=config.resource or own,
        backends=(name,),
        at_once=at_once,
        rate=None,
        is_remote=is_remote,
    )
