"""`python -m simulators.replicate`: run the simulated Replicate until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from simulators.replicate.failure_switches import TOKEN
from simulators.replicate.models import DEPLOYMENT, MODELS
from simulators.replicate.server import Replicate

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None, *, until: threading.Event | None = None) -> None:
    """Serve a port until Ctrl-C, or until the event."""
    parser = argparse.ArgumentParser(prog="python -m simulators.replicate", description=__doc__)
    parser.add_argument("--port", type=int, default=5001, help="0 takes any free port")
    parser.add_argument("--seconds", type=float, default=0.0, help="duration of each prediction")
    options = parser.parse_args(arguments)
    with Replicate(port=options.port, seconds=options.seconds) as cloud:
        models = ", ".join([*MODELS, f"deployments/{DEPLOYMENT}"])
        sys.stdout.write(f"base_url: {cloud.url}\nREPLICATE_API_TOKEN={TOKEN}\nmodels: {models}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            (until or threading.Event()).wait()


if __name__ == "__main__":
    main()
