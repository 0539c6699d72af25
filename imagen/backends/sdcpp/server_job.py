"""One ticket through sd-server: submitted once, asked after, fetched, or taken back."""

from __future__ import annotations

import time
from base64 import b64encode
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from threading import Event
from typing import TYPE_CHECKING, Any

from imagen.backends.sdcpp import images
from imagen.backends.sdcpp.loras import match_lora
from imagen.core.image_file import media_type, read_image_file
from imagen.core.result import Facts, Output, Progress, Result
from imagen.errors import (
    BackendError,
    Cancelled,
    Failed,
    ImagenError,
    Lost,
    RateLimited,
)
from imagen.net.http import is_connection_refused, is_timeout, not_sent, within
from imagen.net.retry import retry
from imagen.net.threads import TICK_SECONDS, Background, limit_total_time, run_while_reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.backends.sdcpp.server_client import SdServerClient, SdServerJobStatus, ServerInfo
    from imagen.core.request import Request
    from imagen.core.result import OnProgress, Stage
    from imagen.core.ticket import Ticket

_SETTLING_SECONDS = 2.0
_PAUSE_SECONDS = 0.2
_GRACE_SECONDS = 2.0
"""For an answer that is on its way when patience ends."""
_REFUSED_SECONDS = 30.0
"""How long each look at a job may fail while something answers: a login page, a gateway."""
_AT_WORK = 0.1
"""How far along a job is that runs: of its steps the server tells nothing."""


class SdServerJob:
    """One ticket on a server."""

    def __init__(
        self,
        ticket: Ticket,
        client: SdServerClient,
        config: SdCppConfig,
        on_progress: OnProgress,
        learn: Callable[[], ServerInfo],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ticket = ticket
        self._client = client
        self._config = config
        self._on_progress = on_progress
        self._until_late = limit_total_time(
            on_progress,
            config.total_seconds,
            remedy=f"Raise backends.{config.name}.total_seconds.",
        )
        self._learn = learn
        self._clock = clock
        self._given_up = Event()
        self._fraction = 0.0

    def result(self) -> Result:
        """Submit the ticket, unless it was submitted already; wait; fetch."""
        began = time.monotonic()
        id = str(self._ticket.engine.get("job_id") or "")
        if self._ticket.submitted and not id:
            raise Lost(
                f"The id of the job never arrived from {self._client.at}, and sd-server has no "
                "list in which to look for it."
            )
        id = id or self._submitted()
        with self._stopping(id):
            job = self._followed(id)
        outputs = self._outputs(job)
        self._on_progress(Progress(stage="done", fraction=1.0))
        return Result(outputs=outputs, facts=self._facts(id, job, outputs, began))

    def _submitted(self) -> str:
        """Hand the ticket over. It counts as submitted beforehand: the server may take the job
        although its answer is lost, and clients can't choose an id by which to find it again."""
        body = run_while_reporting(self._body, partial(self._tell, "submitted"))
        self._on_progress(Progress(stage="submitted", ticket=self._ticket.sent()))
        work = Background(partial(self._submit, body))
        try:
            while not work.ready(TICK_SECONDS):
                self._tell("submitted")
        except BaseException as error:
            self._given_up.set()
            self._take_back(work, error)
            raise
        try:
            id = work.result()
        except Lost:
            raise
        except ImagenError:  # the server did not take the job
            self._on_progress(Progress(stage="submitted", ticket=self._ticket))
            raise
        with self._stopping(id):
            self._on_progress(Progress(stage="submitted", ticket=self._ticket.sent(job_id=id)))
        return id

    def _take_back(self, work: Background[str], error: BaseException) -> None:
        """Stop the job of a submission that may still be on its way."""
        try:
            id = work.result() if work.ready(_SETTLING_SECONDS) else ""
        except Lost:
            id = ""
        except ImagenError:  # the server did not take the job
            return
        if id:
            self._stop(id, error)
        elif isinstance(error, ImagenError):
            remedy = f"{self._client.at} may have taken the job, and make the image."
            raise error.as_unstopped(remedy) from error

    def _body(self) -> dict[str, Any]:
        """What to submit. The server is asked what it has before: that shows whether it is an
        sd-server, so that nothing is submitted to anything else."""
        about = retry(self._learn, unless=is_timeout, sleep=self._pause)
        body = self._ticket.payload | encode_images(self._ticket.request)
        if self._ticket.request.loras:
            body["lora"] = self._loras(about.loras)
        return body

    def _submit(self, body: dict[str, Any]) -> str:
        """Once, and again only where the server certainly did not take it."""
        return retry(partial(self._once, body), unless=_may_be_taken, sleep=self._pause)

    def _once(self, body: dict[str, Any]) -> str:
        if self._given_up.is_set():
            raise Cancelled
        return self._client.submit(body)

    def _pause(self, seconds: float) -> None:
        self._given_up.wait(seconds)

    def _loras(self, there: tuple[str, ...]) -> list[dict[str, Any]]:
        """By the paths that the server lists; it refuses any other."""
        return [
            {"path": match_lora(lora.name, there), "multiplier": lora.strength}
            for lora in self._ticket.request.loras
        ]

    def _followed(self, id: str) -> SdServerJobStatus:
        """The job once it has ended."""
        silent_since: float | None = None
        stage: Stage = "queued"
        while True:
            try:
                job = run_while_reporting(partial(self._client.job, id), partial(self._tell, stage))
            except Lost:
                raise
            except BackendError as error:
                if self._client.is_closed:
                    raise
                now = self._clock()
                silent_since = now if silent_since is None else silent_since
                self._refuse_silence(id, now - silent_since, error)
                self._tell(stage)
            else:
                silent_since = None
                if job.status not in ("queued", "generating"):
                    return job
                stage = "queued" if job.status == "queued" else "running"
                self._tell(stage, job.position if stage == "queued" else None)
            self._wait(stage)

    def _wait(self, stage: Stage) -> None:
        left = self._config.poll_seconds
        while left > 0:
            time.sleep(min(left, TICK_SECONDS))
            left -= TICK_SECONDS
            if left > 0:
                self._tell(stage)

    def _refuse_silence(self, id: str, seconds: float, error: BackendError) -> None:
        """Raise Lost where no look at the job has succeeded for too long; it may go on."""
        if is_connection_refused(error) and seconds >= self._config.lost_seconds:
            raise Lost(
                f"{self._client.at} is gone with the job {id}: {error.message}",
                remedy="What a server that ended had, it has lost.",
                is_certain=False,
            ) from error
        if seconds >= _REFUSED_SECONDS:
            raise Lost(
                f"{self._client.at} gave no state of the job {id} for {seconds:.0f} seconds: "
                f"{error.message}",
                remedy=error.remedy,
                is_certain=False,
            ) from error

    def _tell(self, stage: Stage, position: int | None = None) -> None:
        self._fraction = max(self._fraction, _AT_WORK if stage == "running" else 0.0)
        progress = Progress(stage=stage, fraction=self._fraction, queue_position=position)
        self._until_late(progress)

    @contextmanager
    def _stopping(self, id: str) -> Iterator[None]:
        """Whatever ends the block takes the job back, unless the server is gone with it."""
        try:
            yield
        except Lost:
            raise
        except BaseException as error:
            self._stop(id, error)
            raise

    def _stop(self, id: str, error: BaseException) -> None:
        """Take the job back; where that is not possible, the error that ends the run says so."""
        doubt = cancel_job(self._client, id, patience_seconds=self._config.cancel_seconds)
        if doubt and isinstance(error, ImagenError):
            raise error.as_unstopped(doubt) from error

    def _outputs(self, job: SdServerJobStatus) -> tuple[Output, ...]:
        if job.status != "completed":
            why = job.error or f"it says {job.status or 'nothing'}"
            raise Failed(f"{self._client.at} did not make the picture: {why}.")
        if not job.images:
            raise Failed(f"{self._client.at} ended the job without a picture.")
        self._on_progress(Progress(stage="fetching", fraction=self._fraction))
        return tuple(self._output(index, data) for index, data in enumerate(job.images))

    def _output(self, index: int, data: bytes) -> Output:
        images.check_image(data)
        data = images.restore_unmasked(data, self._ticket.request)
        first = self._ticket.request.seed
        seed = None if first is None else first + index
        kind = media_type(data) or "image/png"
        return Output(data=data, media_type=kind, seed=seed, index=index)

    def _facts(
        self, id: str, job: SdServerJobStatus, outputs: tuple[Output, ...], began: float
    ) -> Facts:
        request = self._ticket.request
        width, height = images.check_image(outputs[0].data)
        return Facts(
            seed=request.seed,
            steps=request.steps,
            cfg=request.cfg,
            sampler=request.sampler,
            scheduler=request.scheduler,
            width=width,
            height=height,
            latency_seconds=time.monotonic() - began,
            queued_seconds=job.queued_seconds,
            executing_seconds=job.executing_seconds,
            engine={"job_id": id},
        )


def _may_be_taken(error: ImagenError) -> bool:
    surely_not = isinstance(error, RateLimited) or not_sent(error)
    return is_timeout(error) or not surely_not


def cancel_job(client: SdServerClient, id: str, *, patience_seconds: float) -> str:
    """Take a job back; "" once it is over, or else a sentence about what still goes on.

    A server takes a job out of its queue. One that it works on it can't interrupt: then its end is
    waited for, as long as `patience_seconds`.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with within(deadline - time.monotonic() + _GRACE_SECONDS):
                if client.cancel(id) or client.job(id).status not in ("queued", "generating"):
                    return ""
            doubt = (
                f"sd-server can't interrupt a picture that it is making: it still works on {id}, "
                "and throws away what comes of it."
            )
        except Lost:
            return ""
        except BackendError as error:
            doubt = f"The server could not be asked to stop the job: {error.message}"
        if time.monotonic() >= deadline:
            return doubt
        time.sleep(_PAUSE_SECONDS)


def encode_images(request: Request) -> dict[str, Any]:
    """The pictures of a request, as the server takes them."""
    found: dict[str, Any] = {}
    if request.image is not None:
        found["init_image"] = _encoded(request.image, "image")
    if request.mask is not None:
        found["mask_image"] = _encoded(request.mask, "mask", mode="L")
    if request.references:
        found["ref_images"] = [_encoded(path, "references") for path in request.references]
    for control in request.controls[:1]:
        found["control_image"] = _encoded(control.image, "controls")
    return found


def _encoded(path: str, what: str, mode: str = "RGB") -> str:
    data = BytesIO()
    read_image_file(path, what).decode().convert(mode).save(data, "PNG", compress_level=1)
    return b64encode(data.getvalue()).decode()
