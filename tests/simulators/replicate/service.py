"""Replicate on a port of this machine, for nothing, and as troublesome as a test needs it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from imagen.testing.listener import HeldPort, Server
from simulators.replicate.desk import Desk
from simulators.replicate.failure_switches import TOKEN, ReplicateSwitches

if TYPE_CHECKING:
    from simulators.replicate.desk import Seen, Shelf
    from simulators.replicate.jobs import Jobs


class Replicate:
    """A simulated Replicate; it runs from `start`, or entering `with`, until `stop`.

    `token` is the one that it accepts. Any further argument is a switch of `ReplicateSwitches`.
    """

    _server: Server | None = None
    _held: HeldPort | None = None

    def __init__(
        self,
        *,
        token: str = TOKEN,
        port: int = 0,
        switches: ReplicateSwitches | None = None,
        **more: Any,
    ) -> None:
        self._port = port
        self._desk = Desk(token, replace(switches or ReplicateSwitches(), **more))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What `base_url` takes; it stays the same across restarts."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def switches(self) -> ReplicateSwitches:
        """The switches; they may be set while it runs, and count for what comes then."""
        return self._desk.switches

    @switches.setter
    def switches(self, switches: ReplicateSwitches) -> None:
        self._desk.switches = switches

    @property
    def requests(self) -> list[Seen]:
        """Every request: method, path with query, headers by lower-case name."""
        return self._desk.requests

    @property
    def jobs(self) -> Jobs:
        """The predictions that were made."""
        return self._desk.jobs

    @property
    def submissions(self) -> int:
        """How many predictions were made: each would have been paid for."""
        return len(self._desk.jobs)

    @property
    def shelf(self) -> Shelf:
        """The files that were uploaded, and are still there."""
        return self._desk.shelf

    def at_work(self) -> bool:
        """Whether any prediction has not ended."""
        return not all(job.has_ended for job in self._desk.jobs.newest_first())

    def start(self) -> None:
        """Open the port; without effect while it is open."""
        if self._server is not None:
            return
        if self._held is not None:
            self._held.release()
        self._server = Server(self._port, self._desk)
        self._port = self._server.server_address[1]
        self._desk.url = self.url
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection, as if it were unplugged; twice is fine."""
        server, self._server = self._server, None
        if server is not None:
            self._held = server.end()
