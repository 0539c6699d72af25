"""One run: loads in a thread of its own, tells of each step, stops when the caller says so."""

from __future__ import annotations

import time
from importlib.metadata import version
from io import BytesIO
from queue import Empty, Queue
from threading import TIMEOUT_MAX, Event
from typing import TYPE_CHECKING, Any, NamedTuple
from warnings import catch_warnings, simplefilter

from PIL import Image

from imagen.backends.diffusers import calls, noise
from imagen.backends.diffusers.devices import empty_cache
from imagen.backends.diffusers.errors import translated
from imagen.backends.diffusers.keeping import Shelf
from imagen.backends.diffusers.pipeline import Loaded, load, offline
from imagen.backends.diffusers.previews import preview
from imagen.core.result import Facts, Output, Progress, Result
from imagen.errors import Cancelled, Failed
from imagen.net.threads import TICK_SECONDS, Background

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from imagen.backends.diffusers.config import DiffusersConfig
    from imagen.backends.diffusers.model_source import Source
    from imagen.backends.diffusers.plan import Plan
    from imagen.core.result import OnProgress
    from imagen.core.ticket import Ticket

_LOADED = 0.1
_DRAWN = 0.95
"""Which share of the whole is done by then."""
_CLIP_WORDS = 77
_LONG = (
    "The prompt is longer than the text encoder reads: what comes after about"
    f" {_CLIP_WORDS - 2} words or parts of words was left out."
)


def _clean() -> None:
    import gc

    gc.collect()
    empty_cache()


KEPT: Shelf[Loaded] = Shelf(_clean)
"""What this process has loaded: between calls, whichever backend made them."""


class _Made(NamedTuple):
    """What the thread brings back."""

    images: list[Image.Image]
    loaded: Loaded
    seconds: float
    warnings: list[str]


class Run:
    """One ticket at work."""

    def __init__(self, ticket: Ticket, plan: Plan, source: Source, config: DiffusersConfig) -> None:
        self._ticket = ticket
        self._plan = plan
        self._source = source
        self._config = config
        self._told: Queue[Progress | None] = Queue()
        self._stop = Event()

    def result(self, on_progress: OnProgress) -> Result:
        """Its pictures; where `on_progress` raises, the work stops at its next step."""
        started = time.monotonic()
        last = Progress(stage="loading")
        on_progress(last)
        work = Background(self._work)
        try:
            while (told := self._next(last)) is not None:
                last = told
                on_progress(told)
        finally:
            self._stop.set()
            if last.stage not in ("queued", "loading"):  # loading can't be stopped, only left
                work.ready(TIMEOUT_MAX)
        made = work.result()
        outputs = self._outputs(made.images)
        on_progress(Progress(stage="done", fraction=1.0))
        facts = self._facts(made, time.monotonic() - started)
        return Result(outputs=outputs, facts=facts, warnings=tuple(made.warnings))

    def _next(self, last: Progress) -> Progress | None:
        """What the thread tells; after a while of silence the same again, None at its end."""
        try:
            return self._told.get(timeout=TICK_SECONDS)
        except Empty:
            return Progress(
                stage=last.stage, fraction=last.fraction, step=last.step, steps=last.steps
            )

    def _work(self) -> _Made:
        try:
            with translated(self._config):
                return self._drawn()
        finally:
            self._told.put(None)

    def _drawn(self) -> _Made:
        with self._loaded() as loaded, offline(self._config), catch_warnings():
            simplefilter("ignore")  # of the libraries to their own authors
            self._refuse_stopped()
            sent = self._ticket.sent(device=loaded.device)
            self._tell("submitted", _LOADED, ticket=sent)
            started = time.monotonic()
            pipe = loaded.pipeline(self._plan)
            images, warnings = self._called(pipe, loaded)
            seconds = time.monotonic() - started
        return _Made(images, loaded, seconds, warnings)

    def _loaded(self) -> AbstractContextManager[Loaded]:
        return KEPT.using(_key(self._config), self._load)

    def _load(self) -> Loaded:
        self._refuse_stopped()  # while it waited for another run to end
        with offline(self._config), catch_warnings():
            simplefilter("ignore")
            return load(self._source, self._config)

    def _called(self, pipe: Any, loaded: Loaded) -> tuple[list[Image.Image], list[str]]:
        family = self._source.family
        given = calls.arguments(self._plan, family, pipe, loaded.dtype)
        try:
            self._put_on(pipe)
            with noise.seeded(self._plan.request):
                made = pipe(**given, callback_on_step_end=self._step)
        finally:
            if self._plan.loras:
                pipe.unload_lora_weights()
        warnings = [*_too_long(pipe, self._plan, is_flow=family.is_flow), *_blackened(made)]
        return self._finished(made.images), warnings

    def _put_on(self, pipe: Any) -> None:
        for number, (path, _) in enumerate(self._plan.loras):
            _load_lora(pipe, path, f"lora{number}")
        if self._plan.loras:
            names = [f"lora{number}" for number in range(len(self._plan.loras))]
            pipe.set_adapters(names, [strength for _, strength in self._plan.loras])

    def _step(self, pipe: Any, step: int, _: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Called by diffusers after each step of its scheduler."""
        self._refuse_stopped()
        total = max(pipe.num_timesteps, step + 1)
        shown = preview(values["latents"], self._source.family, self._plan.request, pipe)
        share = _LOADED + (_DRAWN - _LOADED) * (step + 1) / total
        self._tell("running", share, step=step + 1, steps=total, preview=shown)
        return values

    def _tell(self, stage: Any, fraction: float, **more: Any) -> None:
        self._told.put(Progress(stage=stage, fraction=fraction, **more))

    def _refuse_stopped(self) -> None:
        if self._stop.is_set():
            raise Cancelled

    def _finished(self, images: list[Image.Image]) -> list[Image.Image]:
        """What the mask leaves is as it was: a VAE changes it a little."""
        image, mask = calls.initial(self._plan.request), calls.mask(self._plan.request)
        if image is None or mask is None:
            return images
        return [Image.composite(made.convert("RGB"), image, mask) for made in images]

    def _outputs(self, images: list[Image.Image]) -> tuple[Output, ...]:
        if not images:
            raise Failed("The pipeline ended without a picture.", backend=self._config.name)
        seeds = noise.seeds(self._plan.request)
        return tuple(
            Output(data=_png(image), media_type="image/png", seed=seed, index=index)
            for index, (image, seed) in enumerate(zip(images, seeds, strict=True))
        )

    def _facts(self, made: _Made, seconds: float) -> Facts:
        request, loaded = self._plan.request, made.loaded
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
            executing_seconds=made.seconds,
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


def _load_lora(pipe: Any, path: Path, name: str) -> None:
    try:
        pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
    except (RuntimeError, ValueError, KeyError) as error:
        raise _no_fit(path) from error
    if not any(name in there for there in pipe.get_list_adapters().values()):
        raise _no_fit(path)  # with layers of other names diffusers goes on without a word


def _no_fit(path: Path) -> Failed:
    return Failed(
        f"The LoRA {path.name} doesn't fit this model: its layers have other names or sizes.",
        remedy="Take one that was made for this very model.",
    )


def _key(config: DiffusersConfig) -> tuple[Any, ...]:
    """What makes two backends' pipelines the same."""
    same = ("model", "family", "config_dir", "variant", "device", "dtype", "offload", "offline")
    return (*(getattr(config, name) for name in same), *sorted(config.controlnets.items()))


def _too_long(pipe: Any, plan: Plan, *, is_flow: bool) -> list[str]:
    """CLIP reads 77 parts of words; the other models have a second encoder that reads on."""
    if is_flow:
        return []
    words = pipe.tokenizer(plan.request.prompt, truncation=False).input_ids
    return [_LONG] if len(words) > _CLIP_WORDS else []


def _blackened(made: Any) -> list[str]:
    flagged = getattr(made, "nsfw_content_detected", None) or []
    return [
        f"Picture {number} is black: the model's own safety checker did not want to show it."
        for number, is_flagged in enumerate(flagged, 1)
        if is_flagged
    ]


def _png(image: Image.Image) -> bytes:
    data = BytesIO()
    image.convert("RGB").save(data, format="PNG", compress_level=4)
    return data.getvalue()
