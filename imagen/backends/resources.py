"""What the jobs of a backend take turns on: its engine, or a GPU that several backends share."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.backends import configure
from imagen.backends.base import parse_rate
from imagen.config.paths import host_name
from imagen.net.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVICE_PLACES = 4
"""How many jobs of an online service run at once, unless it is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendResource:
    """What the jobs of one backend take turns on."""

    name: str
    """As configured, or the engine's. An engine of this machine has the machine's name in it, since
    other machines may have one like it."""
    at_once: int
    """How many of its jobs run at once."""
    rate: tuple[int, float] | None
    """So many jobs may start in so many seconds; None: any number."""
    goes_on_alone: bool
    """Whether its jobs go on without the process that submitted them."""
    is_synchronous: bool = False
    """Whether no other process can collect a job, although it goes on."""


def find_resource(
    name: str,
    blocks: Mapping[str, Mapping[str, object]],
    shared: Mapping[str, object] | None = None,
) -> BackendResource:
    """What the jobs of the backend configured as `name` take turns on; its engine is not asked.

    Raises UnknownBackend, ConfigError, and what opening the backend raises.
    """
    adapter, config = configure(name, blocks, shared)
    with closing(adapter.open_redacted(config)) as engine:
        own = engine.engine
    _, is_url, rest = own.partition("://")
    is_elsewhere = adapter.is_service or (bool(is_url) and not is_loopback(f"http://{rest}"))
    return BackendResource(
        name=config.resource or (own if is_elsewhere else f"{host_name()}: {own}"),
        at_once=config.at_once or (_SERVICE_PLACES if adapter.is_service else 1),
        rate=parse_rate(config.rate) if config.rate else None,
        goes_on_alone=adapter.is_service or bool(is_url),
        is_synchronous=adapter.is_synchronous,
    )
