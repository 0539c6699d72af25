"""The adapter for servers with A1111's API."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic import ValidationError

from imagen.backends.a1111.capabilities import EXTRAS_TASKS, build_capabilities
from imagen.backends.a1111.client import PROGRAM_NAMES, A1111Client, A1111Info
from imagen.backends.a1111.config import API_ONLY_URL, DEFAULT_URL, A1111Config
from imagen.backends.a1111.job import A1111Job
from imagen.backends.a1111.payload import build_body, find_model, plan_request
from imagen.backends.base import (
    Adapter,
    Detection,
    Health,
    MissingCapability,
    Model,
    tag_errors_with_backend,
)
from imagen.backends.learned import read_learned, write_learned
from imagen.backends.model_choice import ChosenModel
from imagen.backends.redact import Redactor, credentials
from imagen.core.ticket import Ticket, new_id
from imagen.errors import BackendError, ImagenError, RequestError, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result

_DETECT_SECONDS = 1.0
_WITHOUT_MODEL = (*EXTRAS_TASKS, "preprocess")


class A1111:
    """One server with A1111's API."""

    def __init__(self, config: A1111Config) -> None:
        self._config = config
        self._client: A1111Client | None = None
        self._asked: A1111Info | None = None
        """What the server said to this process."""

    @property
    def engine(self) -> str:
        return f"a1111 {self._config.base_url}"

    def _known_info(self) -> A1111Info:
        """What the server said when it was last asked; the usual while it never was."""
        if self._asked is not None:
            return self._asked
        try:
            return A1111Info.model_validate(read_learned(self._info_path()))
        except ValidationError:
            return A1111Info()

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        info = self._known_info()
        used = model or self._config.model or info.model
        return build_capabilities(task, self._config, info, used)

    def prepare(self, request: Request) -> Ticket:
        values, receipt = plan_request(request, self.capabilities(request.task, request.model))
        is_generated = request.task not in _WITHOUT_MODEL
        ticket = Ticket(
            id=new_id(),
            backend=self._config.name,
            request=request.exactly(values),
            receipt=receipt,
            payload=build_body(values) if is_generated else {},
        )
        if request.model is None or ticket.request.model is None:
            return ticket
        # A name that is not in the list may be new: the server is asked before the job is sent.
        known = self._known_info()
        name = request.model
        with suppress(ImagenError):
            name = find_model(request.model, self._config, known)
        return ChosenModel.build(self._config, name, {}).put_into(ticket, request.model)

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        with tag_errors_with_backend(self._config.name):
            job = A1111Job(ticket, self.client(), self._config, on_progress, self.read_info)
            try:
                return job.run()
            except Unavailable as error:
                if error.remedy:
                    raise
                raise error.with_remedy("\n".join(self._remedies())) from error

    def check(self) -> Health:
        try:
            info = self.read_info()
            if self._config.model:
                find_model(self._config.model, self._config, info)
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or self._remedies()
            return Health(ok=False, summary=error.message, remedies=remedies)
        facts = (("program", PROGRAM_NAMES[info.program]), ("model", info.model))
        lacking = []
        if not info.controlnets and info.program != "sd.cpp":
            lacking.append(
                MissingCapability(
                    what="control",
                    why="the server lists no ControlNets.",
                    remedy="Install the ControlNet extension and its models on the server.",
                )
            )
        known = tuple((name, value) for name, value in facts if value)
        return Health(ok=True, facts=known, lacking=tuple(lacking))

    def models(self) -> tuple[Model, ...]:
        with tag_errors_with_backend(self._config.name):
            info = self.read_info()
        default = self._config.model or info.model
        with suppress(RequestError):
            default = find_model(default, self._config, info)
        return (
            *(
                Model(kind="checkpoint", name=name, is_default=name == default)
                for name in info.models
            ),
            *(Model(kind="lora", name=name) for name in info.loras),
            *(Model(kind="controlnet", name=name) for name in info.controlnets),
            *(Model(kind="upscaler", name=name) for name in info.upscalers),
            *(Model(kind="vae", name=name) for name in info.vaes),
            *(Model(kind="sampler", name=name) for name in info.samplers),
            *(Model(kind="scheduler", name=name) for name in info.schedulers),
        )

    def free(self) -> None:
        """Best effort: a server that is gone holds no memory."""
        with suppress(ImagenError):
            self.client().unload()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> A1111Client:
        """The connection, opened on first use."""
        if self._client is None:
            self._client = A1111Client(self._config)
        return self._client

    def read_info(self) -> A1111Info:
        """Ask the server what it has, and cache the answer."""
        self._asked = self.client().info()
        redactor = Redactor(credentials(self._config))  # a server may echo the request
        write_learned(self._info_path(), redactor.value(self._asked.model_dump(mode="json")))
        return self._asked

    def _info_path(self) -> Path | None:
        key = sha256(self._config.base_url.encode()).hexdigest()[:32]
        folder = self._config.cache_dir
        return folder and folder / "a1111" / f"server-{key}.json"

    def _remedies(self) -> tuple[str, ...]:
        config = self._config
        start = f"Start it (A1111 and Forge with --api), or set backends.{config.name}.url."
        return (start, config.hint) if config.hint else (start,)


def detect(address: str, *, usual: tuple[str, ...] = (DEFAULT_URL, API_ONLY_URL)) -> Detection:
    """A block for the server at an address, or at one of the `usual` ones, named by its program.

    Raises BackendError where no server with this API answers.
    """
    silent: BackendError | None = None
    for url in (address,) if address else usual:
        seconds = 10.0 if address else _DETECT_SECONDS
        client = A1111Client(A1111Config(name="a1111", url=url, connect_seconds=seconds))
        try:
            info = client.info()
        except BackendError as error:
            silent = silent or error
            continue
        finally:
            client.close()
        if info.program == "sd.cpp":
            why = "it is stable-diffusion.cpp's server, which `type: sdcpp` drives with more."
            return Detection({}, (MissingCapability(what="a1111", why=why),))
        return Detection({info.program: {"type": "a1111", "url": url}})
    assert silent is not None
    raise silent


adapter = Adapter(
    A1111Config,
    A1111,
    summary="Runs A1111, Forge, SD.Next and other servers with A1111's API.",
    label="A1111",
    is_synchronous=True,
    detect=detect,
)
