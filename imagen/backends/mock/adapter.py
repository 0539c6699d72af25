"""The mock adapter: what it accepts, how it paints step by step, and how it fails on request."""

from __future__ import annotations

import time
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from imagen.backends.base import Adapter, BackendConfig, Health, Model
from imagen.core.capabilities import Capabilities, Parameter, resolve_parameters
from imagen.core.request import TASKS, USUAL_SIDE
from imagen.core.result import Facts, Output, Progress, Result
from imagen.core.text import did_you_mean
from imagen.core.ticket import Ticket, new_id
from imagen.errors import (
    BackendError,
    Failed,
    Lost,
    RateLimited,
    Rejected,
    RequestError,
    TimedOut,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.core.request import Request, Task
    from imagen.core.result import OnProgress

FailureCode = Literal[
    "unavailable", "rate_limited", "unauthorized", "rejected", "failed", "lost", "timed_out"
]

_REPORT_SECONDS = 0.5
_FAILURES: dict[str, type[BackendError]] = {
    "unavailable": Unavailable,
    "rate_limited": RateLimited,
    "unauthorized": Unauthorized,
    "rejected": Rejected,
    "failed": Failed,
    "lost": Lost,
    "timed_out": TimedOut,
}
_FAILS_BEFORE_SUBMISSION = ("unavailable", "rate_limited", "unauthorized", "rejected")

CHECKPOINTS = ("mock", "mock-dusk")
"""The first is the default."""
UPSCALERS = {"mock-x2": 2, "mock-x4": 4}
"""The factor of each upscaler."""
RESTORERS = ("mock-restorer",)
CONTROLS = ("canny", "depth", "pose", "scribble")
STRENGTH, MASKED_STRENGTH = 0.6, 1.0
"""The default denoising strength, without and with a mask."""

_SIDE = Parameter(type="int", default=USUAL_SIDE, min=16, max=4096, description="Pixels.")
_SEED = Parameter(type="int", min=0, max=2**64 - 1, description="Shape of the landscape.")
_PAINTING = {
    "prompt": Parameter(type="string", description="Chooses the colours."),
    "negative": Parameter(
        type="string", default="", description="Shifts the colours and makes the sun a crescent."
    ),
    "width": _SIDE,
    "height": _SIDE,
    "seed": _SEED,
    "steps": Parameter(type="int", default=8, min=1, max=200, description="Ridges, up to 12."),
    "count": Parameter(type="int", default=1, min=1, max=64, description="Images per batch."),
    "model": Parameter(
        type="string", choices=CHECKPOINTS, description="Each paints other images for a prompt."
    ),
    "loras": Parameter(description="Each tints the image in a colour derived from its name."),
    "controls": Parameter(description="Control images; their bright lines are drawn on top."),
    "variation_seed": _SEED.model_copy(update={"description": "Shape of a second landscape."}),
    "variation_strength": Parameter(
        type="float", min=0, max=1, description="Share of the second landscape."
    ),
}
_IMAGE = Parameter(type="image", description="Initial image.")
_STRENGTH = Parameter(
    type="float",
    default=STRENGTH,
    min=0,
    max=1,
    description="Denoising strength: the share of the painting.",
)
_INPAINT = {
    **_PAINTING,
    "image": _IMAGE,
    "mask": Parameter(type="image", description="Mask image; white areas are repainted."),
    "strength": _STRENGTH.model_copy(update={"default": MASKED_STRENGTH}),
}
_PARAMETERS: dict[str, dict[str, Parameter]] = {
    "image-to-image": {**_PAINTING, "image": _IMAGE, "strength": _STRENGTH},
    "inpaint": _INPAINT,
    "outpaint": _INPAINT,
    "edit": {
        **_PAINTING,
        "image": _IMAGE,
        "references": Parameter(description="Reference images; each is mixed in by half."),
    },
    "upscale": {
        "image": _IMAGE,
        "upscale": Parameter(description=f"Upscaler ({', '.join(UPSCALERS)}) and factor."),
    },
    "restore": {"image": _IMAGE, "restore": Parameter(description="How much to smooth.")},
    "preprocess": {
        "image": _IMAGE,
        "preprocess": Parameter(
            type="string", choices=CONTROLS, description="Kind of control image to make."
        ),
    },
}
_WITHOUT = dict.fromkeys(
    ("cfg", "guidance", "prompt_2", "negative_2"), "the mock paints without a model"
) | dict.fromkeys(("sampler", "scheduler"), "the mock paints without sampling")
_MODELS = (
    *(
        Model(kind="checkpoint", name=name, family="mock", is_default=name == CHECKPOINTS[0])
        for name in CHECKPOINTS
    ),
    Model(kind="lora", name="sepia", family="mock"),
    Model(kind="lora", name="moonlight", family="mock"),
    *(Model(kind="controlnet", name=f"mock-{kind}", family="mock") for kind in CONTROLS),
    *(Model(kind="upscaler", name=name) for name in UPSCALERS),
)


class MockConfig(BackendConfig):
    """The configuration block of a mock."""

    look: str = Field("", description="Any word; each gives other images for the same prompt.")
    step_seconds: float = Field(0.0, ge=0, le=60, description="Duration of each step.")
    fail: FailureCode | None = Field(None, description="Fail with the error of this `code`.")


class Mock:
    """Paints deterministic images, step by step."""

    def __init__(self, config: MockConfig) -> None:
        self._config = config

    @property
    def engine(self) -> str:
        return "mock"

    def capabilities(
        self,
        task: Task = "text-to-image",
        model: str | None = None,  # noqa: ARG002 - the same for all its models
    ) -> Capabilities:
        parameters = _PARAMETERS.get(task, _PAINTING)
        no_model = {} if "model" in parameters else {"model": "this task needs no checkpoint"}
        return Capabilities(
            tasks=TASKS,
            parameters=parameters,
            controls=CONTROLS,
            preprocessors=CONTROLS,
            without=_WITHOUT | no_model,
            prompt_syntax=(),
        )

    def check(self) -> Health:
        if self._config.fail in _FAILS_BEFORE_SUBMISSION:
            message = self._failure().message
            return Health(ok=False, summary=message, remedies=("Remove `fail` from its block.",))
        return Health(ok=True)

    def prepare(self, request: Request) -> Ticket:
        values, receipt = resolve_parameters(request, self.capabilities(request.task))
        if request.upscale is not None:
            _refuse_unknown("upscaler", request.upscale.method, tuple(UPSCALERS))
        if request.restore is not None:
            _refuse_unknown("restorer", request.restore.model, RESTORERS)
        return Ticket(
            id=new_id(),
            backend=self._config.name,
            request=request.exactly(values),
            receipt=receipt,
            payload={"look": self._config.look},
        )

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        from imagen.backends.mock import painting  # Pillow, which only painting needs

        started, request = time.monotonic(), ticket.request
        if self._config.fail in _FAILS_BEFORE_SUBMISSION:
            raise self._failure()
        on_progress(Progress(stage="submitted", ticket=ticket.sent()))
        steps, count = request.steps or 1, request.count or 1
        for step in range(1, steps + 1):
            self._wait(step, steps, on_progress)
            if self._config.fail and step * 2 >= steps:
                raise self._failure()
        outputs = []
        for index in range(count):
            on_progress(Progress(stage="fetching", fraction=0.9 + 0.1 * index / count))
            data = _PngBuffer()
            image = painting.render_image(request, str(ticket.payload.get("look", "")), index)
            image.save(data, compress_level=3)
            seed = None if request.seed is None else painting.image_seed(request, index)
            outputs.append(
                Output(data=data.getvalue(), media_type="image/png", seed=seed, index=index)
            )
        on_progress(Progress(stage="done", fraction=1.0))
        facts = Facts(
            model=request.model or CHECKPOINTS[0],
            seed=request.seed,
            steps=request.steps,
            width=request.width,
            height=request.height,
            latency_seconds=time.monotonic() - started,
            cost_usd=0.0,
            cached=False,
        )
        return Result(outputs=tuple(outputs), facts=facts)

    def models(self) -> tuple[Model, ...]:
        if self._config.fail in _FAILS_BEFORE_SUBMISSION:
            raise self._failure()
        return _MODELS

    def free(self) -> None:
        """The mock holds no memory."""

    def close(self) -> None:
        """The mock holds no connection."""

    def _wait(self, step: int, steps: int, on_progress: OnProgress) -> None:
        """Report the step, and again twice a second for as long as it takes."""
        end = time.monotonic() + self._config.step_seconds
        fraction = 0.9 * step / (steps + 1)
        while True:
            on_progress(Progress(stage="running", fraction=fraction, step=step, steps=steps))
            remaining = end - time.monotonic()
            if remaining <= 0:
                return
            time.sleep(min(remaining, _REPORT_SECONDS))

    def _failure(self) -> BackendError:
        code = str(self._config.fail)
        return _FAILURES[code](
            f"The mock fails as configured (`fail: {code}`).", backend=self._config.name
        )


class _PngBuffer(BytesIO):
    """A file in memory with a name, so that Pillow loads no other format."""

    name = "image.png"


def _refuse_unknown(what: str, name: str | None, known: Sequence[str]) -> None:
    if name is not None and name not in known:
        raise RequestError(
            f"Unknown {what} {name!r}.{did_you_mean(name, known)}",
            remedy=f"The mock has: {', '.join(known)}.",
        )


adapter = Adapter(MockConfig, Mock, summary="Paints images without an engine.", label="Mock")
