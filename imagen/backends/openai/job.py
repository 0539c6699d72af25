"""One ticket of the Images API: a single request, whose answer has the images.

The API has no jobs: what was requested cannot be looked up, fetched again or cancelled. So a
request is sent again only where the server certainly did not take it, or where the server is known
to answer a repeated Idempotency-Key with the first result.
"""

from __future__ import annotations

import time
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

from imagen.backends.images import check_image, restore_unmasked
from imagen.backends.openai.models import calculate_cost
from imagen.backends.remote_job import JobProgress, RemoteJobPolicy, run_remote_job
from imagen.core.image_file import (
    DECODE_ERRORS,
    media_type,
    open_image,
    read_image_file,
)
from imagen.core.result import Facts, Output, Result
from imagen.errors import BackendError, Lost, Unavailable
from imagen.net.threads import run_while_reporting

if TYPE_CHECKING:
    from imagen.backends.openai.client import Files, ImagesAnswer, ImagesClient
    from imagen.backends.openai.config import OpenAIConfig
    from imagen.backends.remote_job import JobState
    from imagen.core.request import Request
    from imagen.core.result import OnProgress
    from imagen.core.ticket import Ticket

_PREVIEW_SIDE = 512
_UNKNOWN_FRACTION = 0.1
"""Of a request that is under way: the API reports no steps."""
_STOPS_WHEN_LEFT = ("vllm",)
"""Servers that end a request once its connection is closed."""
_FINISHED = "finished"
"""Stands for the id of a request whose answer is here."""
_ACTIVE = ("held", "queued", "running", "cancelling")
"""States of a job at imagen's own server."""
_ENCODINGS = ("PNG", "JPEG", "WEBP")


class _ImagesProgress(JobProgress):
    """Reports the last unfinished image, which the thread of the request has put here."""

    is_sent = False
    preview: bytes | None = None
    previews = 0

    def tick(self) -> None:
        if not self.is_sent:
            super().tick()
            return
        preview, self.preview = self.preview, None
        fraction = min(0.9, _UNKNOWN_FRACTION + 0.3 * self.previews)
        self.update("running", fraction=fraction, preview=preview)


class ImagesJob:
    """One ticket at one server."""

    def __init__(
        self, ticket: Ticket, client: ImagesClient, config: OpenAIConfig, on_progress: OnProgress
    ) -> None:
        self.at = self.engine = client.base_url
        self._ticket = ticket
        self._client = client
        self._config = config
        self._started = time.monotonic()
        self._progress = _ImagesProgress(
            ticket,
            on_progress,
            total_seconds=config.total_seconds,
            remedy=f"Raise backends.{config.name}.total_seconds.",
        )
        self._files: Files = []
        self._is_refused = False

    def run(self) -> Result:
        policy = RemoteJobPolicy(
            settle_seconds=0.0,
            cancel_seconds=5.0,
            after_failed_cancel="It may finish the image, and charge for it.",
        )
        return run_remote_job(self, self._progress, policy)

    def prepare(self) -> Ticket:
        request = self._ticket.request
        self._files = run_while_reporting(lambda: encode_images(request), self._progress.tick)
        return self._ticket

    def submit(self) -> ImagesAnswer:
        self._progress.is_sent, self._is_refused = True, False
        try:
            return self._client.generate(
                dict(self._ticket.payload),
                self._files,
                key=self._ticket.id,
                on_preview=self._receive_preview,
            )
        except BackendError as error:
            self._is_refused = not isinstance(error, Lost)
            raise

    def is_refusal(self, error: BackendError) -> bool:
        """Whether the request is not to be sent again: also where that might be paid twice."""
        return not (isinstance(error, Lost) and self._config.is_idempotent)

    def find(self) -> ImagesAnswer:
        """The result of the same request, from a server that knows its Idempotency-Key."""
        if self._progress.is_left.is_set():
            raise Lost("The request was given up.", is_certain=False)
        return self.submit()

    def attach(self) -> ImagesAnswer:
        if not self._config.is_idempotent:
            raise Lost(
                f"{self.at} was sent the request, and the process that waited for the answer "
                "ended: the Images API cannot be asked for it again.",
                remedy="It may have been charged. Generate again if the image is needed.",
                is_certain=False,
            )
        self._files = encode_images(self._ticket.request)
        return self.submit()

    def find_id(self) -> str:
        """The job at imagen's own server. Elsewhere, only closing the connection may cancel it."""
        if self._is_refused or not self._progress.is_sent:
            return ""
        if id := self._client.job_id:
            return id
        if self._config.server_kind == "imagen" and self._ticket.payload.get("stream"):
            raise Unavailable(f"{self.at} does not name the job yet.")  # asked again
        self._client.abort()
        if self._config.server_kind in _STOPS_WHEN_LEFT:
            return ""
        raise Lost("the Images API cannot cancel a request.")

    def id_of(self, handle: ImagesAnswer) -> str:  # noqa: ARG002 - part of RemoteJob
        return _FINISHED

    def accepted_ticket(self, handle: ImagesAnswer) -> Ticket:  # noqa: ARG002 - part of RemoteJob
        return self._progress.ticket

    def follow(self, handle: ImagesAnswer) -> ImagesAnswer:
        return handle

    def collect(self, handle: ImagesAnswer) -> Result:
        request, ticket = self._ticket.request, self._ticket
        outputs = []
        for index, original in enumerate(handle.images):
            width, height = check_image(original)
            data = restore_unmasked(original, request)
            seed = None if request.seed is None else request.seed + index
            if index < len(handle.seeds):
                seed = handle.seeds[index]
            kind = media_type(data) or "image/png"
            outputs.append(Output(data=data, media_type=kind, seed=seed, index=index))
        model = handle.model or str(ticket.payload.get("model") or "")
        cost = calculate_cost(model, handle.usage) if self._config.is_openai else None
        cost = cost or ticket.estimate
        wanted, warnings = request.count or 1, [*handle.warnings]
        if len(outputs) != wanted:
            warnings.append(f"{wanted} images were requested; the server sent {len(outputs)}.")
        return Result(
            outputs=tuple(outputs),
            facts=Facts(
                model=model,
                seed=outputs[0].seed,
                steps=request.steps,
                cfg=request.cfg,
                sampler=request.sampler,
                scheduler=request.scheduler,
                width=width,
                height=height,
                latency_seconds=time.monotonic() - self._started,
                cost_usd=cost.usd if cost else None,
                cost_basis=cost.basis if cost else "",
            ),
            warnings=tuple(warnings),
        )

    def cancel(self, id: str) -> None:
        if id != _FINISHED:
            self._client.cancel_job(id)

    def state(self, id: str) -> JobState:
        if id == _FINISHED:
            return "finished"
        state = self._client.job_state(id)
        return "active" if state in _ACTIVE else "finished" if state == "done" else "ended"

    def _receive_preview(self, data: bytes) -> None:
        """In the thread of the request: make an unfinished image small."""
        with suppress(*DECODE_ERRORS), open_image(BytesIO(data)) as image:
            image.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
            file = BytesIO()
            image.convert("RGB").save(file, "JPEG", quality=75)
            self._progress.preview = file.getvalue()
        self._progress.previews += 1


def encode_images(request: Request) -> Files:
    """The input images and the mask, whose transparent pixels are repainted."""
    paths = [("image", request.image)] if request.image else []
    paths += [("references", path) for path in request.references]
    field = "image[]" if len(paths) > 1 else "image"
    files: Files = []
    size: tuple[int, int] | None = None
    for number, (parameter, path) in enumerate(paths):
        image = read_image_file(path, parameter)
        size = size or (image.width, image.height)
        data, kind = image.data, image.media_type
        if image.kind not in _ENCODINGS:
            data, kind = _encode_png(image.decode().convert("RGBA")), "image/png"
        files.append((field, (f"image-{number}.{kind.rpartition('/')[2]}", data, kind)))
    if request.mask and size is not None:
        from PIL import Image, ImageOps

        mask = read_image_file(request.mask, "mask").decode().convert("L")
        if mask.size != size:
            mask = mask.resize(size, Image.Resampling.NEAREST)
        black = Image.new("RGBA", size, "black")
        black.putalpha(ImageOps.invert(mask))
        files.append(("mask", ("mask.png", _encode_png(black), "image/png")))
    return files


def _encode_png(image: Any) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
