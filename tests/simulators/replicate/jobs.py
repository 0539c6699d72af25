"""The predictions of a simulated Replicate: each is where the clock says it is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from simulators.replicate.models import MODELS
from simulators.replicate.pictures import UNDRAWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulators.replicate.failure_switches import ReplicateSwitches

_TICK_SECONDS = 0.05
_ENDED = ("succeeded", "failed", "canceled", "aborted")


@dataclass(slots=True)
class Job:
    """One prediction; times are those of `time.time`."""

    id: str
    model: str
    version: str
    input: Mapping[str, Any]
    """As it was sent."""
    switches: ReplicateSwitches
    created: float
    deadline: float | None
    deployment: str = ""
    cancelled: float | None = None
    output: Any = None

    @property
    def started(self) -> float:
        return self.created + self.switches.queue_seconds

    @property
    def ends(self) -> float:
        """When it ends: by itself, by its deadline, or because somebody cancelled it."""
        moments = [self.started + self.switches.seconds, self.deadline, self.cancelled]
        return min(moment for moment in moments if moment is not None)

    def status(self, now: float | None = None) -> str:
        """Its status at a time, by default now."""
        now = time.time() if now is None else now
        if now < self.ends:
            return "starting" if now < self.started else "processing"
        if self.ends in (self.cancelled, self.deadline):
            return "aborted" if self.ends < self.started else "canceled"
        return self.switches.end

    @property
    def has_ended(self) -> bool:
        return self.status() in _ENDED

    def cancel(self) -> None:
        """Stop it now, unless it has ended."""
        if not self.has_ended and not self.switches.late:
            self.cancelled = time.time()

    def settle(self, seconds: float) -> None:
        """Wait until it has ended, at most so long."""
        limit = time.time() + seconds
        while not self.has_ended and time.time() < limit:
            time.sleep(min(_TICK_SECONDS, max(0.0, self.ends - time.time())))


class Jobs:
    """All predictions, in the order in which they were made."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        with self._lock:
            self._jobs[job.id] = job

    def get(self, id: str) -> Job | None:
        return self._jobs.get(id)

    def newest_first(self) -> list[Job]:
        with self._lock:
            return list(reversed(self._jobs.values()))


def shown(job: Job, url: str) -> dict[str, Any]:
    """A prediction as the API tells of it."""
    status = job.status()
    removed = job.switches.removed and job.has_ended
    said: dict[str, Any] = {
        "id": job.id,
        "model": job.model,
        "version": job.version,
        "input": {} if removed else dict(job.input),
        "logs": "" if removed else _log(job),
        "output": job.output if status == "succeeded" and not removed else None,
        "data_removed": removed,
        "error": job.switches.error if status == "failed" else None,
        "source": "api",
        "status": status,
        "created_at": iso(job.created),
        "urls": {
            "cancel": f"{url}/predictions/{job.id}/cancel",
            "get": f"{url}/predictions/{job.id}",
            "web": f"https://replicate.com/p/{job.id}",
        },
    }
    return said | _times(job, status) | ({"deployment": job.deployment} if job.deployment else {})


def _times(job: Job, status: str) -> dict[str, Any]:
    """What is told only once it is so."""
    said: dict[str, Any] = {}
    if job.deadline is not None:
        said["deadline"] = iso(job.deadline)
    if status not in ("starting", "aborted"):
        said["started_at"] = iso(job.started)
    if status in _ENDED:
        said["completed_at"] = iso(job.ends)
    if status == "succeeded":
        total = job.ends - job.created
        said["metrics"] = {"predict_time": job.switches.seconds, "total_time": total}
    return said


def _log(job: Job) -> str:
    """What the model writes: its seed, and a bar that grows."""
    if job.status() == "starting":
        return ""
    steps = int(job.input.get("num_inference_steps") or 4)
    share = min(1.0, (time.time() - job.started) / (job.switches.seconds or 1e-6))
    done = int(share * steps)
    has_seed = "seed" in MODELS[job.model]["Input"]["properties"]
    told = f"Using seed: {job.input.get('seed', UNDRAWN)}\n" if has_seed else ""
    return f"{told}{100 * done // steps:3d}%|####| {done}/{steps} [00:01<00:00]\n"


def iso(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
