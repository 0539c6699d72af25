"""How much of the long proofs runs: by default a sample, with `scripts/test thorough` all of it.

A sample begins at another place in each run, so that many runs together see everything.
"""

from __future__ import annotations

import os
import random

IS_THOROUGH = bool(os.environ.get("IMAGEN_TESTS_THOROUGH"))


def sample(every: int) -> tuple[int, int]:
    """Where to begin, and the distance from one to the next: all of them in a thorough run."""
    return (0, 1) if IS_THOROUGH else (random.randrange(every), every)


def scaled(usual: int, thorough: int) -> int:
    """How many of something this run has."""
    return thorough if IS_THOROUGH else usual
