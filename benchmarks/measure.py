"""How the benchmarks measure: both sides in turn, in one run; medians, and the ratio of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Claim:
    """Ours against the alternative, in seconds, and the ratio that is allowed."""

    what: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    at_most: float

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.theirs)

    @property
    def holds(self) -> bool:
        return self.ratio <= self.at_most

    def row(self) -> str:
        ours, theirs = median(self.ours) * 1000, median(self.theirs) * 1000
        verdict = "holds" if self.holds else "MISSED"
        return (
            f"{self.what:<58} {ours:9.1f} {theirs:9.1f} {self.ratio:7.2f} {self.at_most:7.2f}"
            f"  {verdict}"
        )


@dataclass(frozen=True)
class Within:
    """A measurement in seconds and its limit, beside the alternative if there is one."""

    what: str
    ours: tuple[float, ...]
    at_most: float
    theirs: tuple[float, ...] = ()

    @property
    def holds(self) -> bool:
        return median(self.ours) <= self.at_most

    def row(self) -> str:
        ours, limit = median(self.ours) * 1000, self.at_most * 1000
        theirs = f"{median(self.theirs) * 1000:9.1f}" if self.theirs else f"{'':9}"
        verdict = "holds" if self.holds else "MISSED"
        return f"{self.what:<58} {ours:9.1f} {theirs} {'':7} {limit:4.0f} ms  {verdict}"


@dataclass(frozen=True)
class Limit:
    """A measurement in any unit and its limit."""

    what: str
    value: float
    at_most: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.value <= self.at_most

    def row(self) -> str:
        verdict = "holds" if self.holds else "MISSED"
        return f"{self.what:<58} {self.value:9.1f} {self.unit:<17} {self.at_most:7.1f}  {verdict}"


def within(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object] | None = None,
    *,
    at_most: float,
    runs: int,
) -> Within:
    """Time ours `runs` times, and the alternative in turn, once where it takes over a second."""
    ours()
    mine: list[float] = []
    other: list[float] = []
    for _ in range(runs):
        mine.append(_timed(ours))
        if theirs is not None and sum(other) < 1:
            other.append(_timed(theirs))
    return Within(what, tuple(mine), at_most, tuple(other))


def in_turn(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    at_most: float,
    runs: int,
) -> Claim:
    """Time both sides in turn, `runs` times; a first run of each is not counted."""
    ours(), theirs()
    pairs = [(_timed(ours), _timed(theirs)) for _ in range(runs)]
    return Claim(what, tuple(a for a, _ in pairs), tuple(b for _, b in pairs), at_most)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def command(
    *words: str, cwd: str | None = None, library: str = "library.db"
) -> Callable[[], object]:
    """A whole process, from start to exit; raises if it fails.

    Python may cache bytecode, as it does by default. The files of imagen are in that working
    directory; the configuration of the user is neither read nor changed.
    """
    passed_over = ("PYTHONDONTWRITEBYTECODE", "IMAGEN_", "SUPABASE_", "MAI_", "TMUX")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(passed_over)}
    if cwd is not None:
        own = {"XDG_CONFIG_HOME": ".", "XDG_CACHE_HOME": "cache", "IMAGEN_STATE": "state"}
        environment |= {name: os.path.join(cwd, place) for name, place in own.items()}
        environment["IMAGEN_LIBRARY"] = library if "://" in library else os.path.join(cwd, library)

    def run() -> object:
        return subprocess.run(words, check=True, capture_output=True, cwd=cwd, env=environment)

    return run


def report(claims: Sequence[Claim | Within | Limit]) -> None:
    """Print the table; exit 1 if a claim does not hold."""
    columns = f"{'ours ms':>9} {'other ms':>9} {'ratio':>7} {'limit':>7}"
    head = f"{'median of interleaved runs':<58} {columns}"
    sys.stdout.write("\n".join([head, *(claim.row() for claim in claims)]) + "\n")
    sys.exit(0 if all(claim.holds for claim in claims) else 1)
