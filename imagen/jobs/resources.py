"""What jobs take turns on: the engines that a worker serves, and the backends that share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.backends.resources import find_resource

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
    is_synchronous: bool = False
    """Whether no other process can collect such a job."""


def find_resources(backends: Sequence[str] | None, settings: Settings) -> list[Resource]:
    """The resources of these backends and pools; None: of all that are configured.

    Backends with one resource share its places: the fewest that one of them allows. Raises
    UnknownBackend, and ConfigError for a backend that cannot be opened.
    """
    if backends is None:
        backends = list(settings.backends) or [settings.default_backend]
    found: dict[str, Resource] = {}
    for name in dict.fromkeys(each for one in backends for each in settings.members(one)):
        new = find_resource(name, settings.backends, settings.shared())
        known = found.get(new.name)
        found[new.name] = Resource(
            name=new.name,
            backends=(*known.backends, name) if known else (name,),
            at_once=min(known.at_once, new.at_once) if known else new.at_once,
            rate=(known.rate if known else None) or new.rate,
            is_remote=new.goes_on_alone and (known is None or known.is_remote),
            is_synchronous=new.is_synchronous or (known is not None and known.is_synchronous),
        )
    return list(found.values())
