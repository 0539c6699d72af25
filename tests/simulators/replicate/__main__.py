"""`python -m simulators.replicate`: the simulated Replicate by itself, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import TYPE_CHECKING

from simulators.replicate.failure_switches import TOKEN
from simulators.replicate.models import DEPLOYMENT, MODELS
from simulators.replicate.service import Replicate

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None, *, until: threading.Event | None = None) -> None:
    """Answer on a port until Ctrl-C, or until the event."""
    parser = argparse.ArgumentParser(prog="python -m simulators.replicate", description=__doc__)
    parser.add_argument("--port", type=int, default=5001, help="0 takes a free one")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long each prediction runs")
    asked = parser.parse_args(arguments)
    with Replicate(port=asked.port, seconds=asked.seconds) as cloud:
        models = ", ".join([*MODELS, f"deployments/{DEPLOYMENT}"])
        sys.stdout.write(f"base_url: {cloud.url}\nREPLICATE_API_TOKEN={TOKEN}\nmodels: {models}\n")
        sys.stdout.flush()
        try:
            (until or threading.Event()).wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
