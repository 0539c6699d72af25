"""What the routes share: the runtime, and the events as they happen."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from imagen.jobs.model import ENDED
from imagen.runtime import Runtime
from imagen.runtime.caller import LOCAL, Caller, Scope
from imagen.runtime.run import FinishedJob, read_finished
from imagen.server.a1111.runs import A1111Session
from imagen.server.event_hub import EventHub

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from imagen.library.events import LibraryEvent
    from imagen.runtime.tokens import TokenCache

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

    def __init__(self, runtime: Runtime, tokens: TokenCache) -> None:
        self.runtime = runtime
        self.tokens = tokens
        self._loop = asyncio.get_running_loop()
        self._queues: set[EventQueue] = set()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        """Those who wait for the end of each job."""
        self._a1111_sessions: dict[str, A1111Session] = {}
        self._stop_listening = runtime.events.listen(self._receive)
        self.hub = EventHub(runtime)
        self._clients: Counter[str] = Counter()
        self._leaving: set[asyncio.Task[None]] = set()
        self.signing_key = secrets.token_bytes(32)
        """Of the addresses that this server hands out, until it ends."""

    def close(self) -> None:
        self._stop_listening()
        for task in self._leaving:
            task.cancel()

    def a1111_session(self, caller: Caller) -> A1111Session:
        """What the A1111 API remembers of this caller."""
        return self._a1111_sessions.setdefault(caller.name, A1111Session())

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
        has_ended = asyncio.Event()
        self._waiting.setdefault(id, set()).add(has_ended)
        try:
            while True:
                finished = await asyncio.to_thread(read_finished, id, self.runtime)
                if finished is not None:
                    return finished
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await has_ended.wait()
                has_ended.clear()
        finally:
            self._waiting[id].discard(has_ended)
            if not self._waiting[id]:
                del self._waiting[id]

    async def wait_while_connected(
        self, id: str, http: Request, seconds: float | None = None
    ) -> FinishedJob | None:
        """Wait until the job has ended; None once its client has left, or the time is over."""
        waiting = asyncio.ensure_future(self.wait_until_ended(id))
        until = None if seconds is None else self._loop.time() + seconds
        try:
            while not waiting.done():
                left = _LEFT_SECONDS if until is None else until - self._loop.time()
                if left <= 0 or await http.is_disconnected():
                    return None
                await asyncio.wait([waiting], timeout=min(left, _LEFT_SECONDS))
            return waiting.result()
        finally:
            waiting.cancel()

    async def run_to_end(
        self, id: str, http: Request, *, return_seconds: float | None = 0.0
    ) -> FinishedJob | None:
        """Wait until the job has ended; None if its client leaves, as in `waiting_client`."""
        with suppress(ClientDisconnect), self.waiting_client(id, http, return_seconds):
            finished = await self.wait_while_connected(id, http)
            if finished is None:
                raise ClientDisconnect
            return finished
        return None

    @contextmanager
    def waiting_client(
        self, id: str, http: Request, return_seconds: float | None = 0.0
    ) -> Iterator[None]:
        """A client waits in the block for this job, which is cancelled if the client leaves.

        It may come back in so many seconds, in another request; with None, the job goes on.
        """
        self._clients[id] += 1
        has_left = True
        try:
            yield
            has_left = False
        finally:
            self._clients[id] -= 1
            if not self._clients[id]:
                del self._clients[id]
            is_stopping = http.app.state.requests.is_stopping  # the jobs go on
            if has_left and return_seconds is not None and not is_stopping:
                task = self._loop.create_task(self._cancel_if_left(id, http, return_seconds))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def _cancel_if_left(self, id: str, http: Request, seconds: float) -> None:
        """Cancel a job whose client has left, if no client waits for it after this time."""
        if await http.is_disconnected():
            await asyncio.sleep(seconds)
            if not self._clients[id]:
                await asyncio.to_thread(self.runtime.store.cancel, id)

    def _receive(self, batch: Sequence[LibraryEvent]) -> None:
        """In the thread of the feed."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._publish, batch)

    def _publish(self, batch: Sequence[LibraryEvent]) -> None:
        self.hub.publish(batch)
        for event in batch:
            if event.job in self._waiting and event.data.get("state") in ENDED:
                for has_ended in self._waiting[event.job]:
                    has_ended.set()
        for queue in self._queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(batch)


@dataclass(frozen=True)
class RequiredScope:
    """A mark of a route: what its callers must be allowed; None for a route that is open to all."""

    scope: Scope | None

    async def __call__(self) -> None:
        """`check_scope` reads the mark."""


def require(scope: Scope | None) -> Callable[[], Awaitable[None]]:
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


async def check_scope(http: Request) -> None:
    """Refuse callers who are not allowed what their route requires."""
    route = http.scope["route"]
    assert isinstance(route, APIRoute)
    needed = scope_of(route)
    if needed is not None and needed not in (await _caller_of(http)).scopes:
        raise HTTPException(403, f"This token does not allow this: it needs the scope {needed}.")


async def _state_of(http: Request) -> AppState:
    state = http.app.state.server
    assert isinstance(state, AppState)
    return state


async def _runtime_of(http: Request) -> Runtime:
    return (await _state_of(http)).runtime


async def _caller_of(http: Request) -> Caller:
    """Whom the security layer has recognised."""
    caller = getattr(http.state, "caller", LOCAL)
    assert isinstance(caller, Caller)
    return caller


State = Annotated[AppState, Depends(_state_of)]
RuntimeOf = Annotated[Runtime, Depends(_runtime_of)]
CallerOf = Annotated[Caller, Depends(_caller_of)]
