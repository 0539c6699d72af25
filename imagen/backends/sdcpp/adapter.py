"""The stable-diffusion.cpp adapter: its program on this machine, or its running server."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from imagen.backends.base import Adapter, Health, tag_errors_with_backend
from imagen.backends.sdcpp import cli_args, families
from imagen.backends.sdcpp import config as files
from imagen.backends.sdcpp.binary import SdCli, find_sd_cli, list_gpus
from imagen.backends.sdcpp.capabilities import SdEngineInfo, build_capabilities
from imagen.backends.sdcpp.config import FILES, SdCppConfig
from imagen.backends.sdcpp.loras import lora_tags
from imagen.backends.sdcpp.plan import choose_upscale_model, plan_request
from imagen.core.capabilities import ParameterOutcome
from imagen.core.ticket import Ticket, new_id
from imagen.errors import ConfigError, ImagenError, Unavailable
from imagen.model_files.upscalers import is_family

if TYPE_CHECKING:
    from imagen.backends.base import Backend, Detection, Model
    from imagen.backends.model_choice import ChosenModel
    from imagen.backends.sdcpp.families import SdFamily
    from imagen.backends.sdcpp.plan import RequestPlan
    from imagen.core.capabilities import Capabilities
    from imagen.core.request import Request, Task, Upscale
    from imagen.core.result import OnProgress, Result
    from imagen.model_files.identify import ModelFile

_GENERATING = (*FILES, "loras_dir", "embeddings_dir")


class SdCpp:
    """One model that sd-cli runs."""

    def __init__(self, config: SdCppConfig, like: SdCpp | None = None) -> None:
        self._config = config
        self._like = like
        self._others: dict[str, tuple[SdCpp, ChosenModel[SdCppConfig]]] = {}
        """Backends for the models that requests have named: `models_dir` may take long to read."""

    @property
    def engine(self) -> str:
        """The program: it ends with each run, and gives all memory back."""
        return "local sd.cpp"

    def capabilities(self, task: Task = "text-to-image", model: str | None = None) -> Capabilities:
        engine, _ = self._with(model)
        return build_capabilities(task, engine._config, engine._family, self._engine)

    def prepare(self, request: Request) -> Ticket:
        """Check the files and make the arguments; nothing is run."""
        engine, chosen = self._with(request.model)
        ticket = engine._prepared(request)
        is_used = chosen is not None and ticket.request.model is not None  # not for enlarging
        return chosen.put_into(ticket, str(request.model)) if chosen and is_used else ticket

    def _prepared(self, request: Request) -> Ticket:
        engine = self._engine
        cli_args.refuse_unknown_flags(self._config, engine.flags)
        made = plan_request(request, self.capabilities(request.task))
        used = request.exactly(made.values)
        keys = ("upscale_models",) if used.task == "upscale" else _GENERATING
        files.check_weight_files(self._config, (*keys, "controlnets") if used.controls else keys)
        line, receipt = self._enlarging(made) if used.task == "upscale" else self._making(made)
        return Ticket(
            id=new_id(),
            backend=self._config.name,
            request=used,
            receipt=receipt,
            payload={"arguments": line},
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        """Run it, also where it ran before: nothing of an earlier run is left."""
        from imagen.backends.sdcpp.cli_run import CliJob, CliRun

        with tag_errors_with_backend(self._config.name):
            engine, _ = self._with(ticket.request.model)
            try:
                name = engine._model_name(ticket)
                job = CliJob(ticket, engine._config, self.program, name)
                return CliRun(job, on_progress).result()
            except Unavailable as error:
                if not self._config.hint:
                    raise
                raise error.with_remedy(self._config.hint) from error

    def check(self) -> Health:
        try:
            program = self.program
            cli_args.refuse_unknown_flags(self._config, program.flags)
            there = files.check_weight_files(
                self._config, (*_GENERATING, "controlnets", "upscale_models")
            )
        except ImagenError as error:
            remedies = tuple(error.remedy.splitlines()) or ("Name another file there.",)
            return Health(ok=False, summary=error.message, remedies=remedies)
        main = there.get("model") or there.get("diffusion_model")
        facts = (
            ("version", program.version),
            ("binary", program.command[-1]),
            ("family", main.family if main else ""),
        )
        known = tuple((name, value) for name, value in facts if value)
        return Health(ok=True, facts=known, gpus=list_gpus(program))

    def models(self) -> tuple[Model, ...]:
        """The files of the block and of its folder, and what the program can sample with."""
        from imagen.backends.sdcpp.capabilities import list_backend_models

        with tag_errors_with_backend(self._config.name):
            return tuple(list_backend_models(self._config, self.program))

    def free(self) -> None:
        """Nothing is held between runs."""

    def close(self) -> None:
        """Nothing is held between runs."""

    @cached_property
    def program(self) -> SdCli:
        """The program, asked once what it can do; raises Unavailable where there is none."""
        if self._like is not None:
            return self._like.program
        return find_sd_cli(self._config.binary, self._config.cache_dir)

    def _with(self, model: str | None) -> tuple[SdCpp, ChosenModel[SdCppConfig] | None]:
        """This backend, or one like it with the model that a request names."""
        if model is None:
            return self, None
        from imagen.backends.sdcpp.choosing import choose_model

        if model not in self._others:
            chosen = choose_model(model, self._config, self._main)
            self._others[model] = SdCpp(chosen.config, self), chosen
        return self._others[model]

    @property
    def _engine(self) -> SdEngineInfo:
        try:
            program = self.program
        except Unavailable:
            return SdEngineInfo()
        return SdEngineInfo(
            samplers=program.samplers, schedulers=program.schedulers, flags=program.flags
        )

    @cached_property
    def _main(self) -> ModelFile | None:
        """The model; None where it can't be read, which `prepare` and `check` tell about."""
        for file in files.list_weight_files(self._config):
            if file.key in ("model", "diffusion_model"):
                try:
                    return files.read_weight_file(file, self._config.name)
                except ConfigError:
                    return None
        return None

    @property
    def _family(self) -> SdFamily:
        main = self._main
        return families.find_family(main.family, main.variant) if main else families.find_family("")

    def _model_name(self, ticket: Ticket) -> str:
        upscale = ticket.request.upscale
        if ticket.request.task == "upscale" and upscale is not None:
            return choose_upscale_model(
                upscale, {path.name: path for path in self._config.upscale_models}
            )
        main = self._config.model or self._config.diffusion_model
        return main.name if main else ""

    def _making(self, made: RequestPlan) -> tuple[list[str], dict[str, ParameterOutcome]]:
        loras = made.values.get("loras") or ()
        family = self._main.family if self._main else ""
        folder = self._config.loras_folder
        added = lora_tags(loras, folder, family) if folder is not None else ""
        return cli_args.generation_args(made.values, added), made.receipt

    def _enlarging(self, made: RequestPlan) -> tuple[list[str], dict[str, ParameterOutcome]]:
        upscale: Upscale = made.values["upscale"]
        known = {path.name: path for path in self._config.upscale_models}
        name = choose_upscale_model(upscale, known)
        factor = files.read_upscale_factor(known[name])
        repeats = _repeats(upscale.factor, factor)
        fate = _fate_of(upscale, name, factor, repeats)
        return cli_args.upscale_args(repeats), made.receipt | {"upscale": fate}


def _repeats(asked: float, factor: int | None) -> int:
    """How often a model that enlarges by `factor` must do so to reach what was asked for."""
    if factor is None or factor < 2:
        return 1
    return max(1, math.ceil(math.log(asked, factor) - 1e-9))


def _fate_of(upscale: Upscale, name: str, factor: int | None, repeats: int) -> ParameterOutcome:
    """The model has a factor of its own; what differs from it is interpolated."""
    chosen = f"the installed upscaler of the family {upscale.method}"
    is_chosen = is_family(upscale.method or "")
    if factor is not None and factor**repeats == upscale.factor:
        if is_chosen:
            return ParameterOutcome(outcome="mapped", asked=upscale, used=name, why=chosen)
        return ParameterOutcome(outcome="applied", asked=upscale)
    known = "its own factor" if factor is None else f"{factor**repeats} x"
    why = f"{name} enlarges by {known}, and the rest is done by interpolation"
    why = f"{chosen}; {why}" if is_chosen else why
    return ParameterOutcome(outcome="mapped", asked=upscale, used=f"{name} and lanczos", why=why)


def _open(config: SdCppConfig) -> Backend:
    if config.url:
        from imagen.backends.sdcpp.server import SdServer

        return SdServer(config)
    return SdCpp(config)


def _detect(address: str) -> Detection:
    from imagen.backends.sdcpp.binary import detect

    return detect(address)


adapter = Adapter(
    SdCppConfig,
    _open,
    summary="Runs stable-diffusion.cpp: its program on this machine, or its server.",
    detect=_detect,
)
