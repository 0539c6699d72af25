"""The events of a streamed call: previews while it runs, and each image as it is done."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from imagen.errors import ImagenError, LetGo
from imagen.jobs.model import ENDED, PARENTS
from imagen.jobs.overview import list_job_images
from imagen.runtime.run import read_finished
from imagen.server.error_shapes import openai_error
from imagen.server.openai.answers import (
    EncodedImage,
    OpenaiUsage,
    encode,
    encode_image,
    facts_of,
    no_images,
    quality_of,
)
from imagen.server.openai.submit import status_of_failure
from imagen.server.problems import problem_of
from imagen.views.jobs import fraction_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request as HttpRequest
    from starlette.types import Scope

    from imagen.jobs.model import QueuedJob
    from imagen.library import LibraryImage
    from imagen.runtime import Runtime
    from imagen.server.openai.bodies import ImageCall
    from imagen.server.openai.submit import SubmittedCall
    from imagen.server.state import AppState, EventQueue

_KEEP_ALIVE_SECONDS = 15.0
_KEEP_ALIVE = ": keep-alive\n\n"
_MOST_JOBS = 1000


async def stream_call(
    call: ImageCall, submitted: SubmittedCall, state: AppState, http: HttpRequest
) -> AsyncIterator[str]:
    """The events of a call until its job has ended, as text."""
    follower = _CallFollower(call, submitted, state.runtime)
    with (
        state.waiting_client(submitted.id, http, submitted.return_seconds),
        state.subscribe() as queue,
    ):
        try:
            yield _KEEP_ALIVE  # so that proxies pass on that the answer has begun
            while True:
                for event in await asyncio.to_thread(lambda: [*follower.read_events()]):
                    yield event
                if follower.is_over:
                    return
                if not await _has_news(queue, follower):
                    yield _KEEP_ALIVE
        except ImagenError as error:
            yield _format_error(error, http.scope)
        except asyncio.CancelledError:  # for a client that is there, the server ends
            yield _format_error(LetGo("The server is stopping; the job goes on."), http.scope)
            raise


async def _has_news(queue: EventQueue, follower: _CallFollower) -> bool:
    """Whether something happened to the jobs of a call; False after a time without."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
            while (batch := await queue.get()) is not None:
                if any(event.job in follower.jobs for event in batch):
                    return True
            return True  # some events were dropped
    return False


class _CallFollower:
    """Reads what has happened to the jobs of a call since the last time."""

    def __init__(self, call: ImageCall, submitted: SubmittedCall, runtime: Runtime) -> None:
        self._call = call
        self._submitted = submitted
        self._runtime = runtime
        self._kind = "image_edit" if call.is_edit else "image_generation"
        self._previews: dict[str, list[bytes]] = {}
        """Those that were sent, by job."""
        self._done: set[str] = set()
        self._images = 0
        self.jobs = {submitted.id}
        """The job of the call, and its children."""
        self.is_over = False

    def read_events(self) -> Iterator[str]:
        """The new events. Raises ImagenError if there is no image."""
        store = self._runtime.store
        job = store.read(self._submitted.id)
        is_parent = job.kind in PARENTS
        jobs = store.list_jobs(parent=job.id, limit=_MOST_JOBS) if is_parent else [job]
        self.jobs |= {one.id for one in jobs}
        controls = {id for one in jobs if one.spec for id in one.spec.control_jobs.values()}
        for one in jobs:
            if one.id in self._done or one.id in controls:
                continue
            if one.state == "done":
                self._done.add(one.id)
                for image in list_job_images(one, store):
                    self._images += 1
                    yield self._completed(image)
            elif one.state == "running":
                yield from self._partial(one)
        if job.state in ENDED:
            self.is_over = True
            if not self._images:
                finished = read_finished(job.id, self._runtime)
                raise (finished.error if finished is not None else None) or no_images()

    def _partial(self, job: QueuedJob) -> Iterator[str]:
        """The preview of a running job, if it is time for another one."""
        wanted = self._call.body.partial_images or 0
        sent = self._previews.setdefault(job.id, [])
        if len(sent) >= wanted or (fraction_of(job) or 0) < (len(sent) + 1) / (wanted + 1):
            return
        preview = self._runtime.store.preview(job.id)
        if preview is None or preview in sent:
            return
        encoded = encode(preview, self._call.body.format)
        request = job.job.ticket.request if job.job is not None else None
        if request is not None and request.width and request.height:
            encoded = encoded._replace(size=f"{request.width}x{request.height}")
        sent.append(preview)
        yield self._event("partial_image", encoded, partial_image_index=len(sent) - 1)

    def _completed(self, image: LibraryImage) -> str:
        facts = facts_of(self._submitted, [image])
        return self._event(
            "completed",
            encode_image(image, self._call.body, self._runtime),
            usage=OpenaiUsage().as_data(),
            imagen=facts.as_data(),
        )

    def _event(self, name: str, image: EncodedImage, **more: Any) -> str:
        data = {
            "type": f"{self._kind}.{name}",
            "b64_json": image.b64,
            "created_at": int(time.time()),
            "size": image.size,
            "quality": quality_of(self._call.body),
            "background": image.background,
            "output_format": self._call.body.format,
            **more,
        }
        return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n"


def _format_error(error: ImagenError, scope: Scope) -> str:
    shape = openai_error(problem_of(error, scope, status_of_failure(error)))
    return f"event: error\ndata: {json.dumps(shape)}\n\n"
