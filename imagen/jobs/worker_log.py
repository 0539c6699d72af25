"""One line for each event of a worker, as text or JSON.

What an engine says about a job is left out: it may quote the prompt. `imagen jobs show` has it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from imagen.core.text import format_duration, one_line
from imagen.jobs.worker import OUTCOMES

if TYPE_CHECKING:
    from typing import TextIO

    from imagen.jobs.worker import WorkerEvent

LogFormat = Literal["text", "json"]
_WITHOUT_REQUEST = (
    *("lost", "rate_limited", "timed_out", "unauthorized", "unavailable"),
    "not_copied",
)
"""Codes of errors whose messages say nothing about a request."""


class WorkerLog:
    """Writes the events of a worker. It is called from several threads."""

    def __init__(self, format: LogFormat, stream: TextIO | None = None) -> None:
        self._format = format
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._began: dict[str, float] = {}
        """When each running job was started, by the monotonic clock."""

    def __call__(self, event: WorkerEvent) -> None:
        now = time.monotonic()
        at = datetime.now().astimezone()
        is_shown = not event.job or event.code in _WITHOUT_REQUEST
        message = one_line(event.message, limit=400) if is_shown else ""
        with self._lock:
            if event.kind == "started":
                self._began[event.job] = now
            began = self._began.pop(event.job, None) if event.kind in OUTCOMES else None
            seconds = None if began is None else now - began
            if self._format == "json":
                values = {
                    "at": at.isoformat(timespec="milliseconds"),
                    "event": event.kind,
                    "job": event.job,
                    "backend": event.backend,
                    "code": event.code,
                    "message": message,
                    "seconds": None if seconds is None else round(seconds, 3),
                }
                known = {name: one for name, one in values.items() if one not in ("", None)}
                line = json.dumps(known)
            else:
                took = "" if seconds is None else f"after {format_duration(seconds)}"
                place = event.backend and f"on {event.backend}"
                words = (event.kind, event.job, place, took, event.code, message)
                line = f"{at:%Y-%m-%d %H:%M:%S}  " + one_line(" ".join(filter(None, words)))
            print(line, file=self._stream, flush=True)
