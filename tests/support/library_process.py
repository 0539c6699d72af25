"""Another process that takes generations into a library: `library_process.py URL FIRST LAST [end]`.

With `end` it stops within the last one's transaction, says so, and waits to be killed.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

from imagen.config import Settings
from imagen.core.request import Request
from imagen.core.ticket import Ticket
from imagen.library import (
    Delivery,
    GenerationRecord,
    Library,
    StoredImage,
    open_library,
    record_generation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def open_at(url: str) -> Library:
    """The library there."""
    return open_library(Settings.model_validate({"library": {"url": url}}))


def numbered_record(number: int) -> GenerationRecord:
    """One generation of two images; all generations start in the same millisecond."""
    id = f"{number:08x}-0000-4000-8000-000000000000"
    request = Request(prompt=f"a fox and {number} hens", seed=number)
    images = [
        StoredImage(
            path=Path(f"/x/{number}-{n}.png"), index=n, sha256=f"{number:063x}{n}", size_bytes=9
        )
        for n in range(2)
    ]
    return GenerationRecord(
        id=id,
        backend="mock",
        ticket=Ticket(id=id, backend="mock", request=request, receipt={}),
        request=request,
        created_at=WHEN,
        ended_at=WHEN,
        images=tuple(images),
    )


def numbered_delivery(number: int) -> Delivery:
    """The delivery of this generation to the usage table."""
    return Delivery(
        kind="mirror", generation=numbered_record(number).id, payload={"number": number}
    )


def start_worker(url: str, first: int, last: int, *more: str) -> Popen[str]:
    """Such a process, which takes in all from `first` to before `last`."""
    return Popen(
        [sys.executable, __file__, url, str(first), str(last), *more],
        stdout=PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


class _Stuck(tuple[Delivery, ...]):
    """Deliveries that are never finished."""

    def __iter__(self) -> Iterator[Delivery]:
        yield from tuple.__iter__(self)
        print("within", flush=True)  # noqa: T201 - what the test waits for
        time.sleep(600)


def _work(url: str, first: int, last: int, end: Sequence[str]) -> None:
    with open_at(url) as library:
        for number in range(first, last):
            record_generation(library, numbered_record(number), (numbered_delivery(number),))
        if end:
            record_generation(library, numbered_record(last), _Stuck((numbered_delivery(last),)))


if __name__ == "__main__":
    _work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
