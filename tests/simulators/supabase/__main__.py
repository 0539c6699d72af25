"""`python -m simulators.supabase`: the simulated Supabase by itself, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import TYPE_CHECKING

from simulators.supabase.service import BUCKET, Supabase
from simulators.supabase.storage import Bucket
from simulators.supabase.tokens import SERVICE_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None, *, until: threading.Event | None = None) -> None:
    """Answer on a port until Ctrl-C, or until the event."""
    parser = argparse.ArgumentParser(prog="python -m simulators.supabase", description=__doc__)
    parser.add_argument("--port", type=int, default=54321, help="0 takes a free one")
    parser.add_argument("--public", action="store_true", help="the bucket is open to everybody")
    asked = parser.parse_args(arguments)
    bucket = Bucket(name=BUCKET, public=asked.public)
    with Supabase(port=asked.port, buckets=[bucket]) as cloud:
        sys.stdout.write(f"SUPABASE_URL={cloud.url}\nSUPABASE_SERVICE_KEY={SERVICE_KEY}\n")
        sys.stdout.flush()
        try:
            (until or threading.Event()).wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
