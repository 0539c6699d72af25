"""Find what is wrong with pools and failover chains."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from imagen.core.text import did_you_mean
from imagen.core.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from imagen.config.settings import Settings
    from imagen.core.validation import Path

_RESERVED = ("mock", "interpolation", "sheet")
"""Names that mean something without being configured."""


def find_pool_problems(settings: Settings, blocks: Collection[str]) -> Iterator[Problem]:
    """What is wrong with the pools; `blocks` are the names of all backends."""
    known = {*blocks, "mock"}
    for pool, members in settings.pools.items():
        if pool in blocks or pool in _RESERVED:
            remedy = "Give the pool another name."
            yield Problem(("pools", pool), "has the name of a backend", remedy)
        for number, member in enumerate(members):
            path: Path = ("pools", pool, number)
            if member in members[:number]:
                yield Problem(path, f"names {member!r} twice")
            elif member in settings.pools:
                what = f"names the pool {member!r}; a pool consists of backends"
                yield Problem(
                    path, what, f"Write its backends: {', '.join(settings.members(member))}."
                )
            elif member not in known and (meant := did_you_mean(member, known - {*members})):
                # Without one that is meant, it may be a backend of another machine.
                yield Problem(path, f"names an unknown backend, {member!r}.{meant}")


def find_chain_problems(settings: Settings, blocks: Collection[str]) -> Iterator[Problem]:
    """What is wrong with the failover chains: each, and all of them together."""
    known = {*blocks, "mock"}
    nexts: dict[str, set[str]] = {}
    for number, chain in enumerate(settings.failover):
        for place, name in enumerate(chain):
            path: Path = ("failover", number, place)
            if name in chain[:place]:
                yield Problem(path, f"names {name!r} twice: a chain must not go back")
            elif name in settings.pools:
                what = f"names the pool {name!r}; a chain consists of backends"
                yield Problem(
                    path, what, f"Write its backends: {', '.join(settings.members(name))}."
                )
            elif name not in known:
                meant = did_you_mean(name, known)
                remedy = f"Known: {', '.join(sorted(known))}."
                yield Problem(path, f"names an unknown backend, {name!r}.{meant}", remedy)
        for before, after in pairwise(dict.fromkeys(chain)):
            nexts.setdefault(before, set()).add(after)
    for start in nexts:
        reached, ahead = set[str](), [start]
        while ahead:
            new = nexts.get(ahead.pop(), set()) - reached
            reached |= new
            ahead += new
        if start in reached:
            what = f"leads from {start!r} back to it"
            yield Problem(("failover",), what, "Remove one of the chains, or turn it around.")
            return


def find_pool_warnings(settings: Settings) -> Iterator[Problem]:
    """What is allowed, since another machine may have it, and may be a mistake."""
    known = {*settings.backends, "mock"}
    for pool, members in settings.pools.items():
        for number, member in enumerate(members):
            if member not in known:
                what = f"names a backend that is not configured here, {member!r}"
                remedy = "Only workers of machines that have it run its jobs."
                yield Problem(("pools", pool, number), what, remedy)
