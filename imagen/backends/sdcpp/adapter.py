"""The stable-diffusion.cpp adapter: sd-cli on this machine, or a running sd-server."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from imagen.backends.base import Adapter, Health, tag_errors_with_backend
from imagen.backends.sdcpp import cli_args, weights
from imagen.backends.sdcpp.binary import SdCli, detect, find_sd_cli, list_gpus
from imagen.backends.sdcpp.capabilities import SdEngineInfo, build_capabilities
from imagen.backends.sdcpp.config import WEIGHT_KEYS, SdCppConfig
from imagen.backends.sdcpp.families import find_family
from imagen.backends.sdcpp.loras import lora_tags
from imagen.backends.sdcpp.plan import choose_upscale_model, plan_request
from imagen.core.capabilities import ParameterOutcome
from imagen.core.ticket import Ticket, new_id
from imagen.errors import ImagenError, Unavailable
from imagen.model_files.upscalers import is_family

if TYPE_CHECKING:
    from imagen.backends.base import Backend, Model
    from imagen.backends.model_choice import ChosenModel
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task, Upscale
    from imagen.core.result import OnProgress, Result
    from imagen.model_files.identify import ModelFile

_GENERATION_KEYS = (*WEIGHT_KEYS, "loras_dir", "embeddings_dir")


class SdCpp:
    """One model that sd-cli runs."""

    def __init__(self, config: SdCppConfig, parent: SdCpp | None = None) -> None:
        """`parent` is the backend whose program to use, for another model."""
        self._config = config
        self._parent = parent
        self._others: dict[str, tuple[SdCpp, ChosenModel[SdCppConfig]]] = {}
        """Backends for the models that requests named, since reading `models_dir` may be slow."""

    @property
    def engine(self) -> str:
        """One name for all: the program ends after each run and frees its memory."""
        return "local sd.cpp"

    @cached_property
    def sd_cli(self) -> SdCli:
        """The program, probed once; raises Unavailable where there is none."""
        if self._parent is not None:
            return self._parent.sd_cli
        return find_sd_cli(self._config.binary, self._config.cache_dir)

    @cached_property
    def _own_model(self) -> ModelFile | None:
        return weights.read_own_model(self._config)

    def _with_model(self, model: str | None) -> tuple[SdCpp, ChosenModel[SdCppConfig] | None]:
        """This backend, or one with the model that a request names."""
        if model is None:
            return self, None
        if model not in self._others:
            chosen = weights.choose_model(model, self._config, self._own_model)
            self._others[model] = SdCpp(chosen.config, self), chosen
        return self._others[model]

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        backend, _ = self._with_model(model)
        own = backend._own_model
        family = find_family(own.family, own.variant) if own else find_family("")
        return build_capabilities(task, backend._config, family, self._engine_info())

    def _engine_info(self) -> SdEngineInfo:
        try:
            sd_cli = self.sd_cli
        except Unavailable:
            return SdEngineInfo()
        unknown = SdEngineInfo()
        return SdEngineInfo(
            samplers=sd_cli.samplers or unknown.samplers,
            schedulers=sd_cli.schedulers or unknown.schedulers,
            flags=sd_cli.flags,
        )

    def prepare(self, request: Request) -> Ticket:
        """Check the files and build the arguments; nothing is run."""
        backend, chosen = self._with_model(request.model)
        ticket = backend._prepare(request)
        if chosen is None or ticket.request.model is None:  # an upscale uses no model
            return ticket
        return chosen.put_into(ticket, str(request.model))

    def _prepare(self, request: Request) -> Ticket:
        config = self._config
        cli_args.refuse_unknown_flags(config, self._engine_info().flags)
        plan = plan_request(request, self.capabilities(request.task))
        used, receipt = request.exactly(plan.values), plan.receipt
        keys = ("upscale_models",) if used.task == "upscale" else _GENERATION_KEYS
        weights.check_weight_files(config, (*keys, "controlnets") if used.controls else keys)
        if used.task == "upscale":
            upscale: Upscale = plan.values["upscale"]
            models = config.upscale_models_by_name
            name = choose_upscale_model(upscale, models)
            factor = weights.read_upscale_factor(models[name])
            repeats = 1
            if factor is not None and factor >= 2:
                repeats = max(1, math.ceil(math.log(upscale.factor, factor) - 1e-9))
            args = cli_args.upscale_args(repeats)
            receipt = receipt | {"upscale": _upscale_outcome(upscale, name, factor, repeats)}
        else:
            loras, folder = plan.values.get("loras") or (), config.loras_folder
            family = self._own_model.family if self._own_model else ""
            tags = lora_tags(loras, folder, family) if folder is not None else ""
            args = cli_args.generation_args(plan.values, tags)
        return Ticket(
            id=new_id(),
            backend=config.name,
            request=used,
            receipt=receipt,
            payload={"arguments": args},
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        """Run the ticket; a run whose process died left nothing behind, so it starts again."""
        from imagen.backends.sdcpp.cli_run import CliRun

        with tag_errors_with_backend(self._config.name):
            backend, _ = self._with_model(ticket.request.model)
            config, upscale = backend._config, ticket.request.upscale
            main = config.model or config.diffusion_model
            model = main.name if main else ""
            try:
                if ticket.request.task == "upscale" and upscale is not None:
                    model = choose_upscale_model(upscale, config.upscale_models_by_name)
                return CliRun(ticket, config, self.sd_cli, model, on_progress).run()
            except Unavailable as error:
                if not self._config.hint:
                    raise
                raise error.with_remedy(self._config.hint) from error

    def check(self) -> Health:
        config = self._config
        try:
            sd_cli = self.sd_cli
            cli_args.refuse_unknown_flags(config, sd_cli.flags)
            keys = (*_GENERATION_KEYS, "controlnets", "upscale_models")
            checkpoints = weights.check_weight_files(config, keys)
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or ("Name another file.",)
            return Health(ok=False, summary=error.message, remedies=remedies)
        main = checkpoints.get("model") or checkpoints.get("diffusion_model")
        facts = (
            ("version", sd_cli.version),
            ("binary", sd_cli.command[-1]),
            ("family", main.family if main else ""),
        )
        known = tuple((name, value) for name, value in facts if value)
        return Health(ok=True, facts=known, gpus=list_gpus(sd_cli))

    def models(self) -> tuple[Model, ...]:
        """The files of the block and its folders, and the program's samplers."""
        with tag_errors_with_backend(self._config.name):
            return tuple(weights.list_backend_models(self._config, self.sd_cli))

    def free(self) -> None:
        """Nothing to free: the program ends after each run."""

    def close(self) -> None:
        """Nothing to close: the program ends after each run."""


def _upscale_outcome(
    upscale: Upscale, name: str, factor: int | None, repeats: int
) -> ParameterOutcome:
    """A model has a factor of its own; interpolation does the rest."""
    reasons = []
    if is_family(upscale.method or ""):
        reasons.append(f"the installed upscaler of the family {upscale.method}")
    used = name
    if factor is None or factor**repeats != upscale.factor:
        used = f"{name} and lanczos"
        own_factor = "its own factor" if factor is None else f"{factor**repeats} x"
        reasons.append(f"{name} upscales by {own_factor}, and interpolation does the rest")
    if not reasons:
        return ParameterOutcome(outcome="applied", asked=upscale)
    why = "; ".join(reasons)
    return ParameterOutcome(outcome="mapped", asked=upscale, used=used, why=why)


def _open(config: SdCppConfig) -> Backend:
    if config.url:
        from imagen.backends.sdcpp.server import SdServer

        return SdServer(config)
    return SdCpp(config)


adapter = Adapter(
    SdCppConfig,
    _open,
    summary="Runs stable-diffusion.cpp: its program on this machine, or its server.",
    label="stable-diffusion.cpp",
    detect=detect,
)
