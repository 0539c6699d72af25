"""The thread that runs the jobs, one after the other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from imagen.testing.comfyui.run import Run
from imagen.testing.comfyui.world import Stopped

if TYPE_CHECKING:
    from imagen.testing.comfyui.jobs import Job
    from imagen.testing.comfyui.world import World

_JOIN_SECONDS = 5.0


class Worker:
    """Runs from its making until `close`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._thread = threading.Thread(target=self._work, name="comfyui-worker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._world.ending.set()
        self._world.jobs.close()
        self._thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        if self._world.hostility.worker_dead:
            return
        while (job := self._world.jobs.take()) is not None:
            if self._world.hostility.worker_dies:
                return
            try:
                self._job(job)
            except Stopped:
                return

    def _job(self, job: Job) -> None:
        world = self._world
        world.tell_status()
        world.interrupted.clear()
        entry = Run(world, job).perform()
        world.now_at = None
        world.jobs.end(job, entry)
        world.tell_status()
        self._farewell(job)
        job.done.set()

    def _farewell(self, job: Job) -> None:
        """The last word on a job, once its history is written."""
        quiet = self._world.hostility.no_terminal
        if job.client_id is not None and not quiet:
            last = {"node": None, "prompt_id": job.prompt_id}
            self._world.hub.tell(job.client_id, "executing", last, event="end")
