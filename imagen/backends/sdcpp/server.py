"""A running sd-server as a backend: its model stays loaded, and its jobs outlive us."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Health, Model, tag_errors_with_backend
from imagen.backends.learned import read_learned, write_learned
from imagen.backends.sdcpp import families
from imagen.backends.sdcpp.capabilities import SdEngineInfo, build_capabilities
from imagen.backends.sdcpp.cli_args import EMPTY_PROMPT
from imagen.backends.sdcpp.plan import plan_request
from imagen.core.ticket import Ticket, new_id
from imagen.errors import ImagenError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.backends.sdcpp.server_client import SdServerClient, ServerInfo
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result

_MOST_AT_ONCE, _LARGEST_SIDE = 8, 4096
"""What any server allows, while it was not asked."""


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
        """By what the server said when it was last asked; of its model nothing is known."""
        return build_capabilities(task, self._config, families.find_family(""), self._engine())

    def prepare(self, request: Request) -> Ticket:
        made = plan_request(request, self.capabilities(request.task))
        return Ticket(
            id=new_id(),
            backend=self._config.name,
            request=request.exactly(made.values),
            receipt=made.receipt,
            payload=build_body(made.values),
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        from imagen.backends.sdcpp.server_job import SdServerJob

        with tag_errors_with_backend(self._config.name):
            try:
                return SdServerJob(
                    ticket, self.client(), self._config, on_progress, self.learn
                ).result()
            except Unavailable as error:
                if error.remedy:
                    raise
                raise error.with_remedy("\n".join(_advice(self._config))) from error

    def check(self) -> Health:
        try:
            about = self.learn()
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or _advice(self._config)
            return Health(ok=False, summary=error.message, remedies=remedies)
        return Health(ok=True, facts=(("model", about.model),) if about.model else ())

    def models(self) -> tuple[Model, ...]:
        with tag_errors_with_backend(self._config.name):
            about = self.learn()
        return (
            *(Model(kind="checkpoint", name=name) for name in (about.model,) if name),
            *(Model(kind="lora", name=name) for name in about.loras),
            *(Model(kind="sampler", name=name) for name in about.samplers),
            *(Model(kind="scheduler", name=name) for name in about.schedulers),
        )

    def free(self) -> None:
        """A server keeps its model until it is stopped: it takes no such wish."""

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def client(self) -> SdServerClient:
        """The connection, made when it is first needed."""
        if self._client is None:
            from imagen.backends.sdcpp.server_client import SdServerClient

            self._client = SdServerClient(self._config)
        return self._client

    def learn(self) -> ServerInfo:
        """Ask the server what it has, and note it for when it isn't there."""
        about = self.client().about()
        write_learned(_note(self._config), about._asdict())
        return about

    def _engine(self) -> SdEngineInfo:
        said = read_learned(_note(self._config))
        try:
            return SdEngineInfo(
                samplers=tuple(map(str, said["samplers"])),
                schedulers=tuple(map(str, said["schedulers"])),
                is_server=True,
                most_at_once=int(said["most_at_once"]) or _MOST_AT_ONCE,
                largest_side=int(said["largest_side"]) or _LARGEST_SIDE,
            )
        except (KeyError, TypeError, ValueError):
            return SdEngineInfo(
                is_server=True, most_at_once=_MOST_AT_ONCE, largest_side=_LARGEST_SIDE
            )


def _advice(config: SdCppConfig) -> tuple[str, ...]:
    start = f"Start it (sd-server --listen-port … -m MODEL), or correct backends.{config.name}.url."
    return (start, config.hint) if config.hint else (start,)


def _note(config: SdCppConfig) -> Path | None:
    key = sha256(config.url.encode()).hexdigest()[:32]
    return config.cache_dir and config.cache_dir / "sdcpp" / f"server-{key}.json"


def build_body(values: Mapping[str, Any]) -> dict[str, Any]:
    """The request in the server's words, but for its pictures and LoRAs."""
    guidance = {"txt_cfg": values.get("cfg"), "distilled_guidance": values.get("guidance")}
    sampling = {
        "sample_method": values.get("sampler"),
        "scheduler": values.get("scheduler"),
        "sample_steps": values.get("steps"),
        "eta": values.get("eta"),
        "flow_shift": values.get("flow_shift"),
        "guidance": _said(guidance),
    }
    whole = {
        "prompt": values.get("prompt") or EMPTY_PROMPT,
        "negative_prompt": values.get("negative"),
        "width": values.get("width"),
        "height": values.get("height"),
        "seed": values.get("seed"),
        "batch_count": values.get("count"),
        "strength": values.get("strength"),
        "clip_skip": values.get("clip_skip"),
        "control_strength": next((c.strength for c in values.get("controls") or ()), None),
        "sample_params": _said(sampling),
        "output_format": "png",
        "embed_image_metadata": False,
    }
    return _said(whole)


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, {})}
