"""A running sd-server as a backend, and its jobs: the model stays loaded between them."""

from __future__ import annotations

import time
from base64 import b64encode
from functools import partial
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Health, Model, tag_errors_with_backend
from imagen.backends.images import check_image, restore_unmasked
from imagen.backends.learned import read_learned, write_learned
from imagen.backends.redact import Redactor, credentials
from imagen.backends.remote_job import JobProgress, Outage, RemoteJobPolicy, run_remote_job
from imagen.backends.sdcpp.capabilities import SdEngineInfo, build_capabilities
from imagen.backends.sdcpp.cli_args import EMPTY_PROMPT
from imagen.backends.sdcpp.families import find_family
from imagen.backends.sdcpp.loras import match_lora
from imagen.backends.sdcpp.plan import plan_request
from imagen.backends.sdcpp.server_client import SdServerClient, SdServerInfo, SdServerJobStatus
from imagen.core.image_file import media_type, read_image_file
from imagen.core.result import Facts, Output, Result
from imagen.core.ticket import Ticket, new_id
from imagen.errors import BackendError, Failed, ImagenError, Lost, Unavailable
from imagen.net.http import is_timeout
from imagen.net.retry import retry
from imagen.net.threads import run_while_reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from imagen.backends.remote_job import JobState
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress

_MAX_IMAGES, _LARGEST_SIDE = 8, 4096
"""What every server allows; assumed until it is asked."""
_WORKING = 0.1
"""The fraction of a running job: the server does not report steps."""


class SdServer:
    """The model that one server was started with."""

    def __init__(self, config: SdCppConfig) -> None:
        self._config = config
        self._client: SdServerClient | None = None

    @property
    def engine(self) -> str:
        return f"sd-server {self._config.url.rstrip('/')}"

    def capabilities(
        self,
        task: Task = "text-to-image",
        model: str | None = None,  # noqa: ARG002 - a server has one model
    ) -> Capabilities:
        """By what the server said when it was last asked; its model's family is unknown."""
        values = read_learned(self._info_path())
        defaults = SdEngineInfo(is_server=True, max_images=_MAX_IMAGES, largest_side=_LARGEST_SIDE)
        try:
            engine = SdEngineInfo(
                samplers=tuple(map(str, values["samplers"])) or defaults.samplers,
                schedulers=tuple(map(str, values["schedulers"])) or defaults.schedulers,
                is_server=True,
                max_images=int(values["max_images"]) or _MAX_IMAGES,
                largest_side=int(values["largest_side"]) or _LARGEST_SIDE,
            )
        except (KeyError, TypeError, ValueError):
            engine = defaults
        return build_capabilities(task, self._config, find_family(""), engine)

    def prepare(self, request: Request) -> Ticket:
        plan = plan_request(request, self.capabilities(request.task))
        return Ticket(
            id=new_id(),
            backend=self._config.name,
            request=request.exactly(plan.values),
            receipt=plan.receipt,
            payload=_build_body(plan.values),
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        with tag_errors_with_backend(self._config.name):
            job = SdServerJob(ticket, self.client(), self._config, on_progress, self.read_info)
            try:
                return job.run()
            except Unavailable as error:
                if error.remedy:
                    raise
                raise error.with_remedy("\n".join(self._remedies())) from error

    def check(self) -> Health:
        try:
            info = self.read_info()
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or self._remedies()
            return Health(ok=False, summary=error.message, remedies=remedies)
        return Health(ok=True, facts=(("model", info.model),) if info.model else ())

    def models(self) -> tuple[Model, ...]:
        with tag_errors_with_backend(self._config.name):
            info = self.read_info()
        return (
            *(Model(kind="checkpoint", name=name) for name in (info.model,) if name),
            *(Model(kind="lora", name=name) for name in info.loras),
            *(Model(kind="sampler", name=name) for name in info.samplers),
            *(Model(kind="scheduler", name=name) for name in info.schedulers),
        )

    def free(self) -> None:
        """Not possible: a server keeps its model until it is stopped."""

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> SdServerClient:
        """The connection, opened on first use."""
        if self._client is None:
            self._client = SdServerClient(self._config)
        return self._client

    def read_info(self) -> SdServerInfo:
        """Ask the server what it has, and cache the answer."""
        info = self.client().info()
        redactor = Redactor(credentials(self._config))  # a server may echo the request
        write_learned(self._info_path(), redactor.value(info._asdict()))
        return info

    def _info_path(self) -> Path | None:
        key = sha256(self._config.url.encode()).hexdigest()[:32]
        folder = self._config.cache_dir
        return folder and folder / "sdcpp" / f"server-{key}.json"

    def _remedies(self) -> tuple[str, ...]:
        config = self._config
        start = f"Start it (sd-server --listen-port … -m MODEL), or set backends.{config.name}.url."
        return (start, config.hint) if config.hint else (start,)


def _build_body(values: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a submission, without its images and LoRAs."""

    def without_empty(values: Mapping[str, object]) -> dict[str, object]:
        return {name: value for name, value in values.items() if value not in (None, {})}

    guidance = {"txt_cfg": values.get("cfg"), "distilled_guidance": values.get("guidance")}
    sampling = {
        "sample_method": values.get("sampler"),
        "scheduler": values.get("scheduler"),
        "sample_steps": values.get("steps"),
        "eta": values.get("eta"),
        "flow_shift": values.get("flow_shift"),
        "guidance": without_empty(guidance),
    }
    body = {
        "prompt": values.get("prompt") or EMPTY_PROMPT,
        "negative_prompt": values.get("negative"),
        "width": values.get("width"),
        "height": values.get("height"),
        "seed": values.get("seed"),
        "batch_count": values.get("count"),
        "strength": values.get("strength"),
        "clip_skip": values.get("clip_skip"),
        "control_strength": next((c.strength for c in values.get("controls") or ()), None),
        "sample_params": without_empty(sampling),
        "output_format": "png",
        "embed_image_metadata": False,
    }
    return without_empty(body)


class SdServerJob:
    """One ticket on a server."""

    engine = "sd-server"

    def __init__(
        self,
        ticket: Ticket,
        client: SdServerClient,
        config: SdCppConfig,
        on_progress: OnProgress,
        read_info: Callable[[], SdServerInfo],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at = client.base_url
        self._ticket = ticket
        self._client = client
        self._config = config
        self._read_info = read_info
        self._started = time.monotonic()
        self._progress = JobProgress(
            ticket,
            on_progress,
            total_seconds=config.total_seconds,
            remedy=f"Raise backends.{config.name}.total_seconds.",
        )
        self._outage = Outage(self.at, lost_seconds=config.lost_seconds, patient=(), clock=clock)
        self._body: dict[str, Any] = {}
        self._is_refused = False
        """Whether the server certainly does not have the job."""

    @property
    def policy(self) -> RemoteJobPolicy:
        return RemoteJobPolicy(
            cancel_seconds=self._config.cancel_seconds,
            after_failed_cancel="It cannot interrupt an image, and discards the result.",
        )

    def run(self) -> Result:
        return run_remote_job(self, self._progress, self.policy)

    def prepare(self) -> Ticket:
        self._body = run_while_reporting(self._complete_body, self._progress.tick)
        return self._ticket

    def _complete_body(self) -> dict[str, Any]:
        """The body with images and LoRAs.

        The server is asked what it has first: this proves that it is an sd-server, so that nothing
        is submitted to anything else.
        """
        request = self._ticket.request
        info = retry(self._read_info, unless=is_timeout)
        body = self._ticket.payload | _encode_images(request)
        if request.loras:  # by the paths that the server lists; it rejects any other
            body["lora"] = [
                {"path": match_lora(lora.name, info.loras), "multiplier": lora.strength}
                for lora in request.loras
            ]
        return body

    def submit(self) -> SdServerJobStatus:
        self._is_refused = False
        try:
            return SdServerJobStatus(id=self._client.submit(self._body), status="queued")
        except Lost:
            raise
        except BackendError:
            self._is_refused = True
            raise

    def is_refusal(self, error: BackendError) -> bool:  # noqa: ARG002 - part of RemoteJob
        """Always: where it is uncertain, `submit` raises Lost."""
        return True

    def find(self) -> SdServerJobStatus | None:
        raise Lost("sd-server has no list in which to look for the job.", is_certain=False)

    def attach(self) -> SdServerJobStatus:
        if id := self._known_id():
            return SdServerJobStatus(id=id, status="queued")
        raise Lost(
            f"The id of the job never arrived from {self.at}, and sd-server has no list in which "
            "to look for it."
        )

    def find_id(self) -> str:
        if self._known_id() or self._is_refused:
            return self._known_id()
        raise Lost(f"{self.at} may have accepted it, and would generate the image.")

    def _known_id(self) -> str:
        return str(self._ticket.engine.get("job_id") or "")

    def id_of(self, handle: SdServerJobStatus) -> str:
        return handle.id

    def accepted_ticket(self, handle: SdServerJobStatus) -> Ticket:
        return self._ticket.sent(job_id=handle.id)

    def follow(self, handle: SdServerJobStatus) -> SdServerJobStatus:
        look = partial(self._client.job, handle.id)
        self._progress.update("queued")
        while True:
            try:
                job = run_while_reporting(look, self._progress.tick)
            except Lost:
                raise
            except BackendError as error:
                if self._client.is_closed:
                    raise
                self._outage.check(error)
                self._progress.tick()
            else:
                self._outage.end()
                if not job.is_active:
                    return job
                if job.status == "queued":
                    self._progress.update("queued", queue_position=job.queue_position)
                else:
                    self._progress.update("running", fraction=_WORKING)
            self._progress.rest(self._config.poll_seconds)

    def collect(self, handle: SdServerJobStatus) -> Result:
        job, request = handle, self._ticket.request
        if job.status != "completed":
            reason = job.error or f"the job is {job.status}"
            raise Failed(f"{self.at} did not generate the image: {reason}.")
        if not job.images:
            raise Failed(f"{self.at} finished the job without an image.")
        self._progress.update("fetching")
        outputs = []
        for index, original in enumerate(job.images):
            check_image(original)
            data = restore_unmasked(original, request)
            seed = None if request.seed is None else request.seed + index
            kind = media_type(data) or "image/png"
            outputs.append(Output(data=data, media_type=kind, seed=seed, index=index))
        width, height = check_image(outputs[0].data)
        facts = Facts(
            seed=request.seed,
            steps=request.steps,
            cfg=request.cfg,
            sampler=request.sampler,
            scheduler=request.scheduler,
            width=width,
            height=height,
            latency_seconds=time.monotonic() - self._started,
            queued_seconds=job.queued_seconds,
            executing_seconds=job.executing_seconds,
            engine={"job_id": job.id},
        )
        return Result(outputs=tuple(outputs), facts=facts)

    def cancel(self, id: str) -> None:
        self._client.cancel(id)

    def state(self, id: str) -> JobState:
        """Never "finished": a cancelled job's images are not fetched later."""
        return "active" if self._client.job(id).is_active else "ended"


def _encode_images(request: Request) -> dict[str, object]:
    """The input images as the server takes them: base64 of PNG."""

    def encode(path: str, what: str, mode: str = "RGB") -> str:
        file = BytesIO()
        read_image_file(path, what).decode().convert(mode).save(file, "PNG", compress_level=1)
        return b64encode(file.getvalue()).decode()

    images: dict[str, object] = {}
    if request.image is not None:
        images["init_image"] = encode(request.image, "image")
    if request.mask is not None:
        images["mask_image"] = encode(request.mask, "mask", mode="L")
    if request.references:
        images["ref_images"] = [encode(path, "references") for path in request.references]
    for control in request.controls[:1]:
        images["control_image"] = encode(control.image, "controls")
    return images
