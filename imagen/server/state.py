"""What the routes share: the runtime, and the events as they happen."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute

from imagen.jobs.model import ENDED
from imagen.runtime import Runtime
from imagen.runtime.caller import LOCAL, Caller, Scope
from imagen.runtime.run import FinishedJob, read_finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.library.events import LibraryEvent

_MOST_BATCHES = 256
"""Batches of events that a slow reader may be behind."""
_LEFT_SECONDS = 0.5
"""How often to look whether a client has left."""
_LOOK_SECONDS = 5.0
"""How often to look at a job although no event came."""

EventQueue = asyncio.Queue["Sequence[LibraryEvent] | None"]
"""Batches of events; None after some were dropped because their reader was too slow."""


class AppState:
    """One running server. Its methods are called in the server's event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._loop = asyncio.get_running_loop()
        self._queues: set[EventQueue] = set()
        self._stop_listening = runtime.events.listen(self._receive)

    def close(self) -> None:
        self._stop_listening()

    @contextmanager
    def subscribe(self) -> Iterator[EventQueue]:
        """A queue of the batches of events from now on."""
        queue: EventQueue = asyncio.Queue(_MOST_BATCHES)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def wait_until_ended(self, id: str) -> FinishedJob:
        """Return once the job has ended. Raises NotFound."""
        with self.subscribe() as queue:
            while True:
                finished = await asyncio.to_thread(read_finished, id, self.runtime)
                if finished is not None:
                    return finished
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await _next_end_of(id, queue)

    async def run_to_end(self, id: str, http: Request) -> FinishedJob | None:
        """Wait until the job has ended; if its client leaves, cancel it and return None."""
        waiting = asyncio.ensure_future(self.wait_until_ended(id))
        try:
            while not waiting.done():
                await asyncio.wait([waiting], timeout=_LEFT_SECONDS)
                if not waiting.done() and await http.is_disconnected():
                    await asyncio.to_thread(self.runtime.store.cancel, id)
                    return None
            return waiting.result()
        finally:
            waiting.cancel()

    def _receive(self, batch: Sequence[LibraryEvent]) -> None:
        """In the thread of the feed."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._publish, batch)

    def _publish(self, batch: Sequence[LibraryEvent]) -> None:
        for queue in self._queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(batch)


async def _next_end_of(id: str, queue: EventQueue) -> None:
    """Return once the queue says that this job may have ended."""
    while (batch := await queue.get()) is not None:
        for event in batch:
            if event.job == id and event.data.get("state") in ENDED:
                return


@dataclass(frozen=True)
class RequiredScope:
    """A mark of a route: what its callers must be allowed; None for a route that is open to all."""

    scope: Scope | None

    def __call__(self) -> None:
        """`check_scope` reads the mark."""


def require(scope: Scope | None) -> RequiredScope:
    """What the callers of a route must be allowed: `dependencies=[Depends(require("admin"))]`.

    Unmarked routes require `read` for GET and `generate` for all other methods.
    """
    return RequiredScope(scope)


def scope_of(route: APIRoute) -> Scope | None:
    """What the callers of a route must be allowed."""
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, RequiredScope):
            return dependency.call.scope
    return "read" if {*(route.methods or ())} <= {"GET", "HEAD"} else "generate"


def check_scope(http: Request) -> None:
    """Refuse callers who are not allowed what their route requires."""
    route = http.scope["route"]
    assert isinstance(route, APIRoute)
    needed = scope_of(route)
    if needed is not None and needed not in _caller_of(http).scopes:
        raise HTTPException(403, f"This token does not allow this: it needs the scope {needed}.")


def _state_of(http: Request) -> AppState:
    state = http.app.state.server
    assert isinstance(state, AppState)
    return state


def _runtime_of(http: Request) -> Runtime:
    return _state_of(http).runtime


def _caller_of(http: Request) -> Caller:
    """Whom the security layer has recognised."""
    caller = getattr(http.state, "caller", LOCAL)
    assert isinstance(caller, Caller)
    return caller


State = Annotated[AppState, Depends(_state_of)]
RuntimeOf = Annotated[Runtime, Depends(_runtime_of)]
CallerOf = Annotated[Caller, Depends(_caller_of)]
