"""All the parts of one life of the server, for those that need several of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.testing.comfyui.catalogue import Catalogue, Shelves
    from imagen.testing.comfyui.failure_switches import FailureSwitches
    from imagen.testing.comfyui.files import Files
    from imagen.testing.comfyui.hub import Hub
    from imagen.testing.comfyui.jobs import Jobs
    from imagen.testing.comfyui.setup import Mischief, Observed, Setup


class Stopped(Exception):
    """The server goes down; whatever it does ends here."""


@dataclass(slots=True, kw_only=True)
class World:
    """One life of the server."""

    setup: Setup
    mischief: Mischief
    observed: Observed
    files: Files
    shelves: Shelves
    catalogue: Catalogue
    hub: Hub
    jobs: Jobs
    die: Callable[[], None]
    """Dies, and comes back if the switches say so; returns at once."""
    interrupted: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)
    now_at: str | None = None
    """The node that runs."""

    @property
    def hostility(self) -> FailureSwitches:
        return self.mischief.now

    def sleep(self, seconds: float) -> None:
        if seconds > 0 and self.ending.wait(seconds):
            raise Stopped
        if self.ending.is_set():
            raise Stopped

    def tell_status(self) -> None:
        self.hub.status(self.jobs.remaining())
