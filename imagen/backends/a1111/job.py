"""One ticket at a server with A1111's API.

The API has no jobs: images come as the answer to the request that asked for them, on the same
connection, or never. A1111 and Forge take an id (`force_task_id`) and report whether that job waits
or runs; the other programs report only what they work on, whoever asked for it.

An interrupt stops whatever runs, so it is sent only while the server says that our job runs, or
where the configuration says that the server has no other user.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from imagen.backends.a1111.client import without_hash
from imagen.backends.a1111.payload import complete_body, path_of
from imagen.backends.images import check_image, restore_unmasked
from imagen.backends.remote_job import (
    JobProgress,
    Outage,
    RemoteJobPolicy,
    cancel_and_confirm,
    run_remote_job,
)
from imagen.core.image_file import media_type
from imagen.core.json_values import as_list
from imagen.core.result import Facts, Output, Result
from imagen.errors import BackendError, Failed, LetGo, Lost, RateLimited, Rejected, Unauthorized
from imagen.net.http import describe_lost_submission, is_timeout
from imagen.net.retry import retry
from imagen.net.threads import Background, run_while_reporting

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.a1111.client import (
        A1111Answer,
        A1111Client,
        A1111Info,
        A1111Progress,
        A1111Task,
    )
    from imagen.backends.a1111.config import A1111Config
    from imagen.backends.remote_job import JobState
    from imagen.core.result import OnProgress
    from imagen.core.ticket import Ticket

_LOOK_SECONDS = 0.02
_REGISTRATION_SECONDS = 1.0
"""How long a server may take to know the id of a job."""
_GONE = "The server keeps no images: they go to the connection that asked for them."


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedJob:
    """A job whose request is on its way or answered."""

    answer: Background[A1111Answer]
    sent_at: float


class A1111Job:
    """One ticket on a server."""

    def __init__(
        self,
        ticket: Ticket,
        client: A1111Client,
        config: A1111Config,
        on_progress: OnProgress,
        read_info: Callable[[], A1111Info],
    ) -> None:
        self.engine = "The server"
        self.at = client.base_url
        self._ticket = ticket
        self._client = client
        self._connection = client.open_connection()
        self._config = config
        self._read_info = read_info
        self._started = time.monotonic()
        self._progress = JobProgress(
            ticket,
            on_progress,
            total_seconds=config.total_seconds,
            remedy=f"Raise backends.{config.name}.total_seconds.",
        )
        self._body: dict[str, Any] = {}
        self._posted: PostedJob | None = None
        self._has_tasks = bool(ticket.engine.get("has_tasks"))
        """Whether the server reports the state of our job by its id."""
        self._is_alone = config.exclusive
        """Whether what the server works on is probably our job."""
        self._stops_when_left = False
        """Whether the server cancels a job whose connection is closed."""
        self._is_interrupted = False
        self._preview_number = -1
        self._began: float | None = None

    @property
    def policy(self) -> RemoteJobPolicy:
        return RemoteJobPolicy(
            cancel_seconds=self._config.cancel_seconds,
            after_failed_cancel="It may go on until the image is finished, and discard it.",
        )

    def run(self) -> Result:
        try:
            return run_remote_job(self, self._progress, self.policy)
        finally:
            self._connection.abort()  # its thread may still wait for the answer
            self._connection.close()

    def prepare(self) -> Ticket:
        """Ask the server what it has: this also proves that it serves this API."""

        def complete() -> dict[str, Any]:
            info = retry(self._read_info, unless=is_timeout)
            self._stops_when_left = info.program == "imagen"
            before = self._client.progress(has_preview=False)
            self._is_alone = self._is_alone or (before is not None and before.is_idle)
            id = self._ticket.id
            return complete_body(self._ticket.payload, self._ticket.request, self._config, info, id)

        self._body = run_while_reporting(complete, self._progress.tick)
        return self._ticket

    def submit(self) -> PostedJob:
        is_sent = Event()
        path = path_of(self._ticket.request.task)
        call = partial(self._client.generate, path, self._body, is_sent.set, self._connection)
        answer = Background(call)
        while not is_sent.wait(_LOOK_SECONDS):
            if answer.ready():
                answer.result()  # raises what kept it from being sent
                break
        self._posted = PostedJob(answer=answer, sent_at=time.monotonic())
        return self._posted

    def is_refusal(self, error: BackendError) -> bool:  # noqa: ARG002 - part of RemoteJob
        """Always: `submit` fails only where the request was not sent whole."""
        return True

    def find(self) -> PostedJob | None:
        raise Lost(_GONE, is_certain=False)

    def attach(self) -> PostedJob:
        raise self._lost(f"The process that waited for the images of the job at {self.at} ended")

    def find_id(self) -> str:
        """The id of the ticket; raises Lost where the server will not let us cancel its job."""
        id, posted = self._ticket.id, self._posted
        if posted is None or posted.answer.ready() or self._config.exclusive:
            return id
        is_new = time.monotonic() - posted.sent_at < _REGISTRATION_SECONDS
        if self._has_tasks or self._stops_when_left or is_new:
            return id
        task = self._client.task(id)
        if task is not None and task.is_known:
            return id
        raise Lost(
            "it reports no job by its id, so it is not interrupted; if imagen is its only user, "
            f"set backends.{self._config.name}.exclusive."
        )

    def id_of(self, handle: PostedJob) -> str:  # noqa: ARG002 - part of RemoteJob
        return self.find_id()

    def accepted_ticket(self, handle: PostedJob) -> Ticket:  # noqa: ARG002 - part of RemoteJob
        return self._progress.ticket

    def follow(self, handle: PostedJob) -> PostedJob:
        outage = Outage(self.at, lost_seconds=self._config.lost_seconds)
        answered_at = time.monotonic()
        self._progress.update("queued")
        try:
            while not handle.answer.ready(self._config.poll_seconds):
                try:
                    look = run_while_reporting(self._look, self._progress.tick)
                except BackendError as error:
                    if self._client.is_closed:
                        raise
                    self._progress.tick()
                    silent_seconds = time.monotonic() - answered_at
                    if silent_seconds >= self._config.idle_seconds:
                        what = f"{self.at} did not answer for {silent_seconds:.0f} seconds"
                        raise Lost(f"{what}: {error.message}", is_certain=False) from error
                    outage.check(error)
                else:
                    outage.end()
                    answered_at = time.monotonic()
                    self._report(*look)
        except LetGo:  # no other process can collect it
            cancel_and_confirm(self, self.policy, self.find_id)
            raise
        return handle

    def _look(self) -> tuple[A1111Task | None, A1111Progress | None]:
        """How our job is, and what the server works on where that is our job."""
        task = self._client.task(self._ticket.id, self._preview_number)
        has_tasks = self._has_tasks or (task is not None and task.is_known)
        is_ours = task is not None and task.is_active
        if not is_ours and (has_tasks or not self._is_alone):
            return task, None
        has_preview = task is None or task.preview is None
        return task, self._client.progress(has_preview=has_preview)

    def _report(self, task: A1111Task | None, now: A1111Progress | None) -> None:
        if task is not None and task.is_known and not self._has_tasks:
            self._has_tasks = True
            self._progress.update_ticket(self._progress.ticket.sent(has_tasks=True))
        if now is None or now.is_idle:
            self._progress.tick()
            return
        preview = None if task is None else task.preview
        if task is not None and preview is not None:
            self._preview_number = task.preview_number
        self._began = self._began or time.monotonic()
        self._is_interrupted = now.is_interrupted
        self._progress.update(
            "running",
            fraction=min(now.fraction, 0.99),
            step=now.step,
            steps=now.steps,
            preview=preview or now.preview,
        )

    def collect(self, handle: PostedJob) -> Result:
        try:
            answer = handle.answer.result()
        except (Lost, Failed, Rejected):
            raise
        except (Unauthorized, RateLimited):
            self._progress.update_ticket(self._ticket)  # the server does not have the job
            raise
        except BackendError as error:
            raise self._lost(describe_lost_submission(error, self.at)) from error
        if self._is_interrupted:
            raise Failed("The job was interrupted on the server, but not by imagen.")
        self._progress.update("fetching", fraction=0.99)
        request, info = self._ticket.request, answer.info
        first = info.get("index_of_first_image")
        first = first if isinstance(first, int) and 0 <= first < len(answer.images) else 0
        images = answer.images[first:][: request.count or 1]  # a grid before, control images after
        if not images:
            raise Failed(f"{self.at} answered without an image.")
        seeds = as_list(info.get("all_seeds"))
        outputs = []
        for index, original in enumerate(images):
            check_image(original)
            data = restore_unmasked(original, request)
            said = seeds[index + first] if index + first < len(seeds) else None
            own = None if request.seed is None else request.seed + index
            outputs.append(
                Output(
                    data=data,
                    media_type=media_type(data) or "image/png",
                    seed=said if isinstance(said, int) else own,
                    index=index,
                )
            )
        missing = (request.count or 1) - len(images)
        return Result(
            outputs=tuple(outputs),
            facts=self._facts(answer, outputs),
            warnings=(f"{self.at} made {missing} images fewer than requested.",) if missing else (),
        )

    def _facts(self, answer: A1111Answer, outputs: list[Output]) -> Facts:
        request, info = self._ticket.request, answer.info
        width, height = check_image(outputs[0].data)
        model, now = info.get("sd_model_name"), time.monotonic()
        return Facts(
            model=without_hash(model) if isinstance(model, str) else "",
            seed=outputs[0].seed,
            steps=request.steps,
            cfg=request.cfg,
            sampler=request.sampler,
            scheduler=request.scheduler,
            width=width,
            height=height,
            latency_seconds=now - self._started,
            executing_seconds=None if self._began is None else now - self._began,
            engine={"task_id": self._ticket.id} if self._has_tasks else {},
        )

    def cancel(self, id: str) -> None:
        """Interrupt the server if it works on our job."""
        if self._posted is None or self._posted.answer.ready():
            return
        if self._stops_when_left:
            self._connection.abort()
            return
        task = self._client.task(id)
        is_ours = task.is_active if task and task.is_known else self._config.exclusive
        if is_ours:
            self._client.interrupt()

    def state(self, id: str) -> JobState:  # noqa: ARG002 - part of RemoteJob
        """Never "finished": a cancelled job's images are discarded."""
        if self._posted is None:
            return "unknown"
        return "ended" if self._posted.answer.ready() else "active"

    def _lost(self, what: str) -> Lost:
        """The error for a job whose images will never arrive.

        It is certain where the server reports that it no longer works on the job.
        """
        try:
            task: A1111Task | None = self._client.task(self._ticket.id)
            now: A1111Progress | None = self._client.progress(has_preview=False)
        except BackendError as error:
            return Lost(
                f"{what}, and it cannot be asked for the job: {error.message}",
                remedy=error.remedy,
                is_certain=False,
            )
        is_busy = now is not None and not now.is_idle
        if self._has_tasks and task is not None:
            is_busy = task.is_queued or (task.is_active and is_busy)
            doubt = "It still works on the job." if is_busy else ""
        else:
            doubt = "It works on a job, maybe on this one." if is_busy else ""
        return Lost(" ".join(filter(None, (f"{what}.", doubt, _GONE))), is_certain=not doubt)
