"""`python -m simulators.supabase`: run the simulated Supabase until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from simulators.supabase.server import BUCKET, Supabase
from simulators.supabase.storage import Bucket
from simulators.supabase.tokens import SERVICE_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None, *, until: threading.Event | None = None) -> None:
    """Serve a port until Ctrl-C, or until the event."""
    parser = argparse.ArgumentParser(prog="python -m simulators.supabase", description=__doc__)
    parser.add_argument("--port", type=int, default=54321, help="0 takes any free port")
    parser.add_argument("--public", action="store_true", help="make the bucket public")
    options = parser.parse_args(arguments)
    bucket = Bucket(name=BUCKET, public=options.public)
    with Supabase(port=options.port, buckets=[bucket]) as cloud:
        sys.stdout.write(f"SUPABASE_URL={cloud.url}\nSUPABASE_SERVICE_KEY={SERVICE_KEY}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            (until or threading.Event()).wait()


if __name__ == "__main__":
    main()
