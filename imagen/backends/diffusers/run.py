"""Run one ticket: load in a thread, report each step with a preview, stop when asked."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.metadata import version
from io import BytesIO
from queue import Empty, Queue
from threading import TIMEOUT_MAX, Event
from typing import TYPE_CHECKING, NamedTuple
from warnings import catch_warnings, simplefilter

import torch
from PIL import Image

from imagen.backends.diffusers import call
from imagen.backends.diffusers.errors import translate_errors
from imagen.backends.diffusers.pipeline import (
    LoadedPipeline,
    hub_access,
    load_pipeline,
    release_memory,
)
from imagen.backends.diffusers.pipeline_cache import PipelineCache
from imagen.core.result import Facts, Output, Progress, Result
from imagen.errors import Cancelled, Failed
from imagen.net.threads import TICK_SECONDS, Background

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.families import DiffusersFamily
    from imagen.backends.diffusers.model_source import ModelSource
    from imagen.backends.diffusers.pipeline import Untyped
    from imagen.backends.diffusers.plan import DiffusersPlan
    from imagen.core.request import Request
    from imagen.core.result import OnProgress
    from imagen.core.ticket import Ticket

_LOADED_FRACTION = 0.1
_SAMPLED_FRACTION = 0.95
"""The share of the whole progress when the model is loaded, and when the last step is done."""
_CLIP_TOKENS = 77
_CACHE_KEYS = ("model", "family", "config_dir", "variant", "device", "dtype", "offload", "offline")
"""Config fields that make two backends load the same pipeline."""


LOADED_PIPELINE: PipelineCache[LoadedPipeline] = PipelineCache(release_memory)
"""The pipeline that this process keeps between jobs, shared by all backends."""


class _Finished(NamedTuple):
    """What the worker thread returns."""

    images: list[Image.Image]
    loaded: LoadedPipeline
    seconds: float
    warnings: list[str]


class DiffusersRun:
    """The run of one ticket."""

    def __init__(
        self, ticket: Ticket, plan: DiffusersPlan, source: ModelSource, config: DiffusersConfig
    ) -> None:
        self._ticket = ticket
        self._plan = plan
        self._source = source
        self._config = config
        self._progress: Queue[Progress | None] = Queue()
        self._stop = Event()

    def result(self, on_progress: OnProgress) -> Result:
        """The images; where `on_progress` raises, the run stops at its next step."""
        started = time.monotonic()
        last = Progress(stage="loading")
        on_progress(last)
        worker = Background(self._generate)
        try:
            while True:
                try:
                    progress = self._progress.get(timeout=TICK_SECONDS)
                except Empty:  # report that it still runs
                    progress = replace(last, ticket=None, preview=None)
                if progress is None:
                    break
                last = progress
                on_progress(progress)
        finally:
            self._stop.set()
            if last.stage not in ("queued", "loading"):  # loading cannot be stopped, only left
                worker.ready(TIMEOUT_MAX)
        finished = worker.result()
        if not finished.images:
            raise Failed("The pipeline returned no image.", backend=self._config.name)
        outputs = []
        seeds = call.image_seeds(self._plan.request)
        for index, (image, seed) in enumerate(zip(finished.images, seeds, strict=True)):
            data = BytesIO()
            image.convert("RGB").save(data, format="PNG", compress_level=4)
            outputs.append(
                Output(data=data.getvalue(), media_type="image/png", seed=seed, index=index)
            )
        on_progress(Progress(stage="done", fraction=1.0))
        facts = self._build_facts(finished, time.monotonic() - started)
        return Result(outputs=tuple(outputs), facts=facts, warnings=tuple(finished.warnings))

    def _generate(self) -> _Finished:
        """Load and run, in a thread of its own; None in the queue is the end of the progress."""
        key = (
            *(getattr(self._config, name) for name in _CACHE_KEYS),
            *sorted(self._config.controlnets.items()),
        )
        try:
            with (
                translate_errors(self._config),
                LOADED_PIPELINE.using(key, self._load) as loaded,
                hub_access(self._config),
                catch_warnings(),
            ):
                simplefilter("ignore")  # warnings of the libraries for their own developers
                self._raise_if_stopped()
                ticket = self._ticket.sent(device=loaded.device)
                self._progress.put(
                    Progress(stage="submitted", fraction=_LOADED_FRACTION, ticket=ticket)
                )
                started = time.monotonic()
                images, warnings = self._call_pipeline(loaded)
                return _Finished(images, loaded, time.monotonic() - started, warnings)
        finally:
            self._progress.put(None)

    def _load(self) -> LoadedPipeline:
        self._raise_if_stopped()  # while waiting for another run to end
        with hub_access(self._config), catch_warnings():
            simplefilter("ignore")
            return load_pipeline(self._source, self._config)

    def _call_pipeline(self, loaded: LoadedPipeline) -> tuple[list[Image.Image], list[str]]:
        plan, request, family = self._plan, self._plan.request, self._source.family
        pipe = loaded.pipeline_for(plan)
        arguments = call.build_arguments(plan, family, pipe, loaded.dtype)
        try:
            for number, (path, _) in enumerate(plan.loras):
                self._load_lora(pipe, path, f"lora{number}")
            if plan.loras:
                names = [f"lora{number}" for number in range(len(plan.loras))]
                pipe.set_adapters(names, [strength for _, strength in plan.loras])
            with call.global_seed(request):
                output = pipe(**arguments, callback_on_step_end=self._on_step)
        finally:
            if plan.loras:
                pipe.unload_lora_weights()
        images: list[Image.Image] = output.images
        initial, mask = call.read_initial_image(request), call.read_mask(request)
        if initial is not None and mask is not None:  # the VAE changes unmasked pixels a little
            images = [Image.composite(each.convert("RGB"), initial, mask) for each in images]
        warnings = []
        if not family.is_flow:  # the others have a second encoder that reads on
            tokens = pipe.tokenizer(request.prompt, truncation=False).input_ids
            if len(tokens) > _CLIP_TOKENS:
                warnings.append(
                    f"The text encoder ignored the end of the prompt: it reads {_CLIP_TOKENS - 2}"
                    " tokens, about 60 words."
                )
        flagged = getattr(output, "nsfw_content_detected", None) or []
        warnings += [
            f"Image {number} is black: the model's safety checker blocked it."
            for number, is_flagged in enumerate(flagged, 1)
            if is_flagged
        ]
        return images, warnings

    def _load_lora(self, pipe: Untyped, path: Path, name: str) -> None:
        misfit = Failed(
            f"The LoRA {path.name} does not fit this model: its layers have other names or sizes.",
            remedy="Use a LoRA made for this model.",
            backend=self._config.name,
        )
        try:
            pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
        except (RuntimeError, ValueError, KeyError) as error:
            raise misfit from error
        # diffusers ignores layers with other names without an error.
        if not any(name in adapters for adapters in pipe.get_list_adapters().values()):
            raise misfit

    def _on_step(
        self, pipe: Untyped, step: int, _: object, values: dict[str, Untyped]
    ) -> dict[str, Untyped]:
        """Called by diffusers after each step of its scheduler."""
        self._raise_if_stopped()
        total = max(pipe.num_timesteps, step + 1)
        self._progress.put(
            Progress(
                stage="running",
                fraction=_LOADED_FRACTION
                + (_SAMPLED_FRACTION - _LOADED_FRACTION) * (step + 1) / total,
                step=step + 1,
                steps=total,
                preview=draw_preview(
                    values["latents"], self._source.family, self._plan.request, pipe
                ),
            )
        )
        return values

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise Cancelled

    def _build_facts(self, finished: _Finished, seconds: float) -> Facts:
        request, loaded = self._plan.request, finished.loaded
        return Facts(
            model=self._source.name,
            models=(self._source.name, *(path.name for path, _ in self._plan.loras)),
            seed=request.seed or 0,
            steps=request.steps,
            cfg=request.cfg,
            sampler=request.sampler,
            scheduler=request.scheduler,
            width=request.width,
            height=request.height,
            latency_seconds=seconds,
            executing_seconds=finished.seconds,
            cached=False,
            engine={
                "device": loaded.device,
                "dtype": str(loaded.dtype).removeprefix("torch."),
                "offload": loaded.offload,
                "pipeline": self._plan.pipeline,
                "diffusers": version("diffusers"),
                "torch": version("torch"),
            },
        )


_Row = tuple[float, float, float]
# What each latent channel adds to red, green and blue; the last row is the bias. As fitted for
# ComfyUI's previews: https://github.com/comfyanonymous/ComfyUI/blob/v0.3.52/comfy/latent_formats.py
_LATENT_COLOURS: Mapping[str, tuple[_Row, ...]] = {
    "sd1": (
        (0.3512, 0.2297, 0.3227),
        (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721),
        (-0.2120, -0.2616, -0.7177),
        (0.0, 0.0, 0.0),
    ),
    "sdxl": (
        (0.3651, 0.4232, 0.4341),
        (-0.2533, -0.0042, 0.1068),
        (0.1076, 0.1111, -0.0362),
        (-0.3165, -0.2492, -0.2188),
        (0.1084, -0.0175, -0.0011),
    ),
    "sd3": (
        (-0.0922, -0.0175, 0.0749),
        (0.0311, 0.0633, 0.0954),
        (0.1994, 0.0927, 0.0458),
        (0.0856, 0.0339, 0.0902),
        (0.0587, 0.0272, -0.0496),
        (-0.0006, 0.1104, 0.0309),
        (0.0978, 0.0306, 0.0427),
        (-0.0042, 0.1038, 0.1358),
        (-0.0194, 0.0020, 0.0669),
        (-0.0488, 0.0130, -0.0268),
        (0.0922, 0.0988, 0.0951),
        (-0.0278, 0.0524, -0.0542),
        (0.0332, 0.0456, 0.0895),
        (-0.0069, -0.0030, -0.0810),
        (-0.0596, -0.0465, -0.0293),
        (-0.1448, -0.1463, -0.1189),
        (0.2394, 0.2135, 0.1925),
    ),
    "flux1": (
        (-0.0346, 0.0244, 0.0681),
        (0.0034, 0.0210, 0.0687),
        (0.0275, -0.0668, -0.0433),
        (-0.0174, 0.0160, 0.0617),
        (0.0859, 0.0721, 0.0329),
        (0.0004, 0.0383, 0.0115),
        (0.0405, 0.0861, 0.0915),
        (-0.0236, -0.0185, -0.0259),
        (-0.0245, 0.0250, 0.1180),
        (0.1008, 0.0755, -0.0421),
        (-0.0515, 0.0201, 0.0011),
        (0.0428, -0.0012, -0.0036),
        (0.0817, 0.0765, 0.0749),
        (-0.1264, -0.0522, -0.1103),
        (-0.0280, -0.0881, -0.0499),
        (-0.1262, -0.0982, -0.0778),
        (-0.0329, -0.0718, -0.0851),
    ),
}


def draw_preview(
    latents: Untyped, family: DiffusersFamily, request: Request, pipe: Untyped
) -> bytes | None:
    """A JPEG of the first unfinished image; None for latents without a known approximation."""
    rows = _LATENT_COLOURS.get(family.latents, ())
    if family.name == "flux1":
        sides = request.height, request.width
        latents = pipe._unpack_latents(latents[:1], *sides, pipe.vae_scale_factor)
    first = latents[0]
    if first.ndim != 3 or first.shape[0] + 1 != len(rows):
        return None
    channels = first.float().cpu()
    channels = channels / max(1.0, float(channels.std()))  # early steps are mostly noise
    *factors, bias = torch.tensor(rows)
    colours = torch.einsum("chw,cr->hwr", channels, torch.stack(factors)) + bias
    pixels = ((colours + 1) * 127.5).clamp(0, 255).to(torch.uint8).numpy()
    data = BytesIO()
    Image.fromarray(pixels).save(data, format="JPEG", quality=80)
    return data.getvalue()
