"""Choose a backend of a pool for a request that runs without the queue."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from imagen.backends import available, open_backend, require_known
from imagen.backends.base import CountsJobs
from imagen.backends.redact import unwrap_backend
from imagen.core.capabilities import ParameterOutcome
from imagen.errors import ConfigError, ImagenError, UnknownBackend
from imagen.net.threads import Background

if TYPE_CHECKING:
    from imagen.backends import Backend
    from imagen.config import Settings
    from imagen.core.capabilities import Receipt

_ANSWER_SECONDS = 3.0
"""How long the engines of a pool may take to say how many jobs they have."""


class Candidate(NamedTuple):
    """A backend that may run a request."""

    backend: str
    moved_from: str = ""
    """The name that was asked for, if this backend takes its jobs by failover."""

    def receipt(self) -> Receipt:
        """What became of the name that was asked for, if the request was moved."""
        if not self.moved_from:
            return {}
        why = "failover: the backend that was named did not run it"
        moved = ParameterOutcome(
            outcome="mapped", asked=self.moved_from, used=self.backend, why=why
        )
        return {"backend": moved}


def members_of(name: str, settings: Settings) -> tuple[str, ...]:
    """The backends of a pool that this configuration has; of a backend, itself.

    Raises UnknownBackend for a name that is neither.
    """
    known = available(settings.backends)
    if name in settings.pools:
        return tuple(member for member in settings.pools[name] if member in known)
    if settings.pools and name not in known:
        raise UnknownBackend(name, {*known, *settings.pools}, what="backend or pool")
    require_known(name, settings.backends)
    return (name,)


def open_named(name: str, settings: Settings) -> Backend:
    """Open the backend that is configured under this name; of a pool, its first backend."""
    return open_backend(
        _configured_members(name, settings)[0], settings.backends, settings.shared()
    )


def list_candidates(name: str, settings: Settings) -> list[Candidate]:
    """The backends that may run a request to a backend or a pool, in the order to try them.

    Of a pool first those whose engine is idle, then those with the fewest jobs, last those that
    cannot be asked; then the backends that take its jobs by failover.
    """
    members = rank_members(_configured_members(name, settings), settings)
    later: list[str] = []
    for chain in settings.failover:
        places = [place for place, one in enumerate(chain) if one in members]
        later += chain[places[-1] + 1 :] if places else ()
    return [*map(Candidate, members), *(Candidate(one, name) for one in dict.fromkeys(later))]


def _configured_members(name: str, settings: Settings) -> tuple[str, ...]:
    members = members_of(name, settings)
    if not members:
        raise ConfigError(
            f"None of the backends of the pool {name!r} is configured here: "
            f"{', '.join(settings.pools[name])}.",
            remedy="Use --detach, so that workers of other machines run it; or configure one.",
        )
    return members


def rank_members(members: tuple[str, ...], settings: Settings) -> list[str]:
    """The backends, those with an idle engine first; their engines are asked at the same time."""
    if len(members) == 1:
        return [*members]
    until = time.monotonic() + _ANSWER_SECONDS
    asked = [(name, Background(partial(_count_jobs, name, settings))) for name in members]
    ranks: dict[str, tuple[bool, int]] = {}
    for name, answer in asked:
        jobs = None
        if answer.ready(until - time.monotonic()):
            with suppress(ImagenError):
                jobs = answer.result()
        ranks[name] = (jobs is None, jobs or 0)
    return sorted(members, key=ranks.__getitem__)


def _count_jobs(name: str, settings: Settings) -> int:
    """How many jobs the engine has; 0 for one that only has those of this process."""
    with (
        closing(open_backend(name, settings.backends, settings.shared())) as opened,
        unwrap_backend(opened) as engine,
    ):
        return engine.count_jobs() if isinstance(engine, CountsJobs) else 0
