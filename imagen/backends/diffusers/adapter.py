"""The diffusers adapter: prepares tickets without torch, and imports torch to run them."""

from __future__ import annotations

import sys
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from imagen.backends.base import Adapter, Health
from imagen.backends.diffusers.config import DiffusersConfig
from imagen.backends.diffusers.errors import require_packages
from imagen.core.ticket import Ticket, new_id
from imagen.errors import ImagenError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.base import Model
    from imagen.backends.diffusers.model_source import ModelSource
    from imagen.backends.model_choice import ChosenModel
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress, Result

_PACKAGES = ("diffusers", "torch", "transformers", "accelerate", "peft", "safetensors")


class Diffusers:
    """One model on one device; torch is first imported by `check` or `collect`."""

    def __init__(self, config: DiffusersConfig, *, new_id: Callable[[], str] = new_id) -> None:
        self._config = config
        self._new_id = new_id
        self._chosen: dict[str, tuple[ModelSource, ChosenModel[DiffusersConfig]]] = {}
        """Models that requests named, since reading `models_dir` may take long."""

    @property
    def engine(self) -> str:
        """All backends on one device share the pipeline that this process keeps there."""
        return f"diffusers {self._config.device}"

    @cached_property
    def source(self) -> ModelSource:
        from imagen.backends.diffusers.model_source import read_source

        return read_source(self._config)

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        from imagen.backends.diffusers.capabilities import find_capabilities

        source, config, _ = self._choose(model)
        return find_capabilities(task, source, config)

    def prepare(self, request: Request) -> Ticket:
        from imagen.backends.diffusers.plan import plan_run

        source, config, chosen = self._choose(request.model)
        plan = plan_run(request, source, config)
        ticket = Ticket(
            id=self._new_id(),
            backend=self._config.name,
            request=plan.request,
            receipt=plan.receipt,
            payload=plan.payload(source),
        )
        return ticket if chosen is None else chosen.put_into(ticket, str(request.model))

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        """Run the ticket; a run whose process died left nothing behind, so it starts again."""
        require_packages()
        from imagen.backends.diffusers.plan import plan_run
        from imagen.backends.diffusers.run import DiffusersRun

        source, config, _ = self._choose(ticket.request.model)
        plan = plan_run(ticket.request, source, config)
        return DiffusersRun(ticket, plan, source, config).result(on_progress)

    def _choose(
        self, model: str | None
    ) -> tuple[ModelSource, DiffusersConfig, ChosenModel[DiffusersConfig] | None]:
        """The block's own model, or the one that a request names, and the block that fits it."""
        if model is None:
            return self.source, self._config, None
        from imagen.backends.diffusers.model_source import choose_model, read_source

        if model not in self._chosen:
            chosen = choose_model(model, self._config)
            self._chosen[model] = read_source(chosen.config), chosen
        source, chosen = self._chosen[model]
        return source, chosen.config, chosen

    def check(self) -> Health:
        """Check the model's files, the packages and the device."""
        config = self._config
        try:
            source = self.source
            if config.offline and source.kind == "hub" and source.folder is None:
                raise Unavailable(
                    f"{config.model} is not on this machine, and `offline` is set.",
                    remedy="Download it once without `offline`, or set `model` to a folder.",
                )
            if source.is_part and not config.config_dir:
                raise Unavailable(
                    f"{config.model} holds only the diffusion model.",
                    remedy="Set `config_dir` to a complete diffusers folder of its family.",
                )
            if damaged := source.damaged_files():
                return Health(ok=False, summary=damaged[0], remedies=("Download the model again.",))
            require_packages()
            from imagen.backends.diffusers.pipeline import choose_device, list_gpus

            facts = [
                ("device", choose_device(config)),
                ("family", " ".join(filter(None, (source.family.name, source.variant)))),
            ]
            if source.kind == "hub" and source.folder is None:
                facts.append(("model", "will be downloaded"))
            for package in _PACKAGES:
                try:
                    facts.append((package, version(package)))
                except PackageNotFoundError:
                    continue
            return Health(ok=True, facts=tuple(facts), gpus=list_gpus())
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or ("Correct it in the configuration.",)
            return Health(ok=False, summary=error.message, remedies=remedies)

    def models(self) -> tuple[Model, ...]:
        from imagen.backends.diffusers.capabilities import list_available_models

        return tuple(list_available_models(self._config, self.source))

    def free(self) -> None:
        """Release the device's memory, if this process ever ran a ticket."""
        run = sys.modules.get("imagen.backends.diffusers.run")
        if run is not None:
            run.LOADED_PIPELINE.drop()

    def close(self) -> None:
        """The pipeline stays loaded for the next call in this process."""


adapter = Adapter(
    DiffusersConfig,
    Diffusers,
    summary="Runs models on this machine's GPU or CPU with torch.",
    label="diffusers",
)
