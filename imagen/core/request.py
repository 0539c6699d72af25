"""Request: what the user wants, in the vocabulary of no engine."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from imagen.core.validation import sentences
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_SEED = 2**64 - 1
LARGEST_SIDE = 16384
LARGEST_COUNT = 1024
USUAL_SIDE = 1024
"""Pixels, if neither the request nor a workflow nor the engine's model has a size."""

Task = Literal[
    "text-to-image",
    "image-to-image",
    "inpaint",
    "outpaint",
    "edit",
    "control",
    "variation",
    "upscale",
    "restore",
    "preprocess",
]
TASKS: tuple[Task, ...] = get_args(Task)
INTERPOLATIONS = ("lanczos", "bicubic", "bilinear", "nearest", "area")
"""Upscaling methods that need no engine."""
Pixels = Annotated[int, Field(ge=0, le=LARGEST_SIDE)]
Seed = Annotated[int, Field(ge=-1, le=LARGEST_SEED)]
"""-1 stands for a random seed, whatever the style says; 0 is a seed like any other."""
Steps = Annotated[int, Field(ge=0, le=10000)]
"""0 stands for the backend's default, whatever the style says."""
Side = Annotated[int, Field(ge=16, le=LARGEST_SIDE)]
Unit = Annotated[float, Field(ge=0, le=1)]

# Sampling fields, which a style has too.
CfgScale = Annotated[
    float | None,
    Field(ge=0, le=100, allow_inf_nan=False, description="Classifier-free guidance scale."),
]
Guidance = Annotated[
    float | None,
    Field(ge=0, le=100, allow_inf_nan=False, description="Distilled guidance (FLUX.1-dev)."),
]
SamplerName = Annotated[str | None, Field(min_length=1, description="The sampler's name.")]
SchedulerName = Annotated[str | None, Field(min_length=1, description="The scheduler's name.")]
Strength = Annotated[
    Unit | None, Field(description="Denoising strength: 0 keeps the image, 1 ignores it.")
]

_SIZE = re.compile(r"(\d{1,6})(?:\s*[x×X*]\s*(\d{1,6}))?")
_ASPECT = re.compile(r"(\d{1,5}(?:\.\d{1,5})?)\s*:\s*(\d{1,5}(?:\.\d{1,5})?)")
_NARROWEST_ASPECT = 64
_NEWER_FIELDS = ("aspect", "model", "latent_batch", "max_compute", "template")
_NOT_PARAMETERS = ("extra", "template")
"""Fields that are not parameters of an engine."""


def read_size(text: str) -> tuple[int, int]:
    """Parse `1024x768`, and `768` for a square; raises RequestError for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise RequestError(
            f"{text!r} is not a valid size. Write it as 1024x768, or as 768 for a square."
        )
    return int(match[1]), int(match[2] or match[1])


def size_values(text: str) -> dict[str, Any]:
    """The request fields that a size sets: width and height, or the aspect for `16:9`.

    Raises RequestError for anything else.
    """
    if _ASPECT.fullmatch(text.strip()):
        return {"aspect": text.strip()}
    if _SIZE.fullmatch(text.strip()):
        return dict(zip(("width", "height"), read_size(text), strict=True))
    raise RequestError(f"{text!r} is not a valid size. Write it as 1024x768, 768 or 16:9.")


def read_aspect(text: str) -> float:
    """Parse `16:9` to width divided by height; raises ValueError for anything else."""
    match = _ASPECT.fullmatch(text.strip())
    sides = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    if not min(sides) or max(sides) / min(sides) > _NARROWEST_ASPECT:
        raise ValueError(f"must be an aspect ratio such as 16:9, at most {_NARROWEST_ASPECT}:1")
    return sides[0] / sides[1]


class _RequestValue(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _refuse_surrogates(cls, value: Any) -> Any:
        """Python's text may contain half of a surrogate pair, which no file or engine can hold."""
        try:
            if isinstance(value, str | dict):
                json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            raise ValueError(f"must contain whole characters ({half} is half of one)") from error
        return value


class Lora(_RequestValue):
    """One low-rank adapter to apply to the model."""

    name: str = Field(min_length=1, description="The file's name, as the engine lists it.")
    strength: float = Field(1.0, ge=-10, le=10, description="Its weight; 0 turns it off.")


class Control(_RequestValue):
    """One control image, which steers the composition (ControlNet)."""

    kind: str = Field(min_length=1, description="canny, depth, pose, scribble, …")
    image: str = Field(min_length=1, description="A file.")
    strength: float = Field(1.0, ge=0, le=10, description="Its weight; 0 turns it off.")
    start: Unit = Field(0.0, description="The share of the steps after which it starts.")
    end: Unit = Field(1.0, description="The share of the steps after which it ends.")
    preprocess: bool = Field(False, description="Make the control image from the file first.")

    @model_validator(mode="after")
    def _require_duration(self) -> Control:
        if self.end <= self.start:
            raise ValueError("must end after it starts")
        return self


class Upscale(_RequestValue):
    """How to upscale the initial image."""

    factor: float = Field(2.0, ge=1, le=16, description="Multiplies the width and the height.")
    method: str | None = Field(
        None,
        min_length=1,
        description="lanczos, bicubic, bilinear, nearest, area, an upscaler's file, or a family of "
        "upscalers: realesrgan, esrgan.",
    )


class Outpaint(_RequestValue):
    """How many pixels to add on each side of the initial image."""

    left: Pixels = 0
    top: Pixels = 0
    right: Pixels = 0
    bottom: Pixels = 0

    @model_validator(mode="after")
    def _require_a_side(self) -> Outpaint:
        if not (self.left or self.top or self.right or self.bottom):
            raise ValueError("must name at least one side: left, top, right or bottom")
        return self


class Restore(_RequestValue):
    """How to restore the faces of the initial image."""

    model: str | None = Field(None, min_length=1, description="The restorer's file.")
    fidelity: Unit = Field(
        0.5, description="0 favours quality, 1 favours likeness to the original."
    )


class Request(_RequestValue):
    """What the user wants. `None` means "not set"; 0, "" and False are values.

    Frozen, and the same in YAML, JSON, sidecars and job files. A value out of range raises
    pydantic's ValidationError; `Request.of` raises a RequestError with a sentence instead.
    """

    prompt: str | None = Field(None, description='What to show; "" is an empty prompt.')
    negative: str | None = Field(None, description="What not to show.")
    prompt_2: str | None = Field(None, description="The prompt of a second text encoder.")
    negative_2: str | None = Field(
        None, description="The negative prompt of a second text encoder."
    )
    template: str | None = Field(
        None, description="The prompt before its wildcards were expanded, for the record."
    )
    width: Side | None = Field(None, description="Pixels.")
    height: Side | None = Field(None, description="Pixels.")
    aspect: str | None = Field(
        None,
        description="Width to height, such as 16:9, at the area of the backend's default size; "
        "with a width or a height, that side is kept.",
    )
    seed: Seed | None = Field(
        None, description="The seed of the noise, from 0; -1, or no value, draws a random one."
    )
    steps: Steps | None = Field(
        None, description="Sampling steps; 0, or no value, is the backend's default."
    )
    cfg: CfgScale = None
    guidance: Guidance = None
    sampler: SamplerName = None
    scheduler: SchedulerName = None
    count: int | None = Field(
        None,
        ge=1,
        le=LARGEST_COUNT,
        description="How many images, each with the next seed.",
    )
    latent_batch: bool | None = Field(
        None, description="Generate the images together, in one batch of the engine."
    )
    style: str | None = Field(None, min_length=1, description="A style of the configuration.")
    model: str | None = Field(
        None, min_length=1, description="The checkpoint, as `imagen models` lists it, or a path."
    )
    max_compute: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="The most width × height × steps / 10^6 of one image, if that is below the "
        "configured limit.",
    )
    loras: tuple[Lora, ...] = Field((), description="Low-rank adapters, in order.")
    image: str | None = Field(None, min_length=1, description="The initial image: a file.")
    strength: Strength = None
    mask: str | None = Field(
        None, min_length=1, description="Mask image, a file; white areas are repainted."
    )
    feather: Pixels | None = Field(
        None, description="Pixels over which the edge of the mask fades."
    )
    outpaint: Outpaint | None = Field(None, description="How many pixels to add on each side.")
    references: tuple[str, ...] = Field((), description="Reference images, files (edit).")
    controls: tuple[Control, ...] = Field((), description="Control images, in order.")
    variation_seed: Seed | None = Field(
        None, description="The seed of a second noise; -1, or no value, draws a random one."
    )
    variation_strength: Unit | None = Field(
        None, description="The share of the second noise, from 0 to 1."
    )
    upscale: Upscale | None = Field(None, description="How to upscale the initial image.")
    restore: Restore | None = Field(
        None, description="How to restore the faces of the initial image."
    )
    preprocess: str | None = Field(
        None, min_length=1, description="The control image to make of it: canny, depth, …"
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Other parameters, such as tokens of one workflow."
    )

    @field_validator("aspect")
    @classmethod
    def _check_aspect(cls, aspect: str | None) -> str | None:
        if aspect is not None:
            read_aspect(aspect)
        return aspect

    @model_validator(mode="after")
    def _refuse_aspect_and_size(self) -> Request:
        if self.aspect is not None and self.width is not None and self.height is not None:
            raise ValueError("aspect can be combined with a width or a height, not with both")
        return self

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Request:
        """The request with these values, by field name.

        Raises RequestError with a sentence for each invalid value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RequestError(sentences(error, model=cls)) from error

    @property
    def unset_additions(self) -> set[str]:
        """Fields without a value that older versions did not have.

        A hash leaves them out, so that it is the same in every version.
        """
        return {name for name in _NEWER_FIELDS if getattr(self, name) is None}

    @property
    def draws_seed(self) -> bool:
        """Whether a random seed is to be drawn."""
        return self.seed is None or self.seed == -1

    @property
    def compute(self) -> float | None:
        """Width × height × steps / 10^6 of one image; None if one of them is unknown."""
        if self.width is None or self.height is None or self.steps is None:
            return None
        return self.width * self.height * self.steps / 1e6

    @property
    def task(self) -> Task:
        """What kind of work this is, from the fields that are set: the first that applies."""
        is_redrawn = bool(self.prompt) or self.strength is not None
        signs: tuple[tuple[Task, bool], ...] = (
            ("preprocess", self.preprocess is not None),
            ("restore", self.restore is not None),
            ("upscale", self.upscale is not None and not is_redrawn),
            ("outpaint", self.outpaint is not None),
            ("inpaint", self.mask is not None),
            ("edit", bool(self.references)),
            ("image-to-image", self.image is not None),
            ("control", bool(self.controls)),
            ("variation", self.variation_strength is not None),
        )
        return next((task for task, applies in signs if applies), "text-to-image")

    def asked(self) -> dict[str, Any]:
        """Every parameter that is set, by name; those of `extra` among the others.

        The template of the prompt is not one.
        """
        names = (name for name in Request.model_fields if name not in _NOT_PARAMETERS)
        named = {name: getattr(self, name) for name in names}
        return {k: v for k, v in named.items() if v is not None and v != ()} | self.extra

    def with_values(self, values: dict[str, Any]) -> Request:
        """A copy with these values; parameters that are not fields go to `extra`.

        An aspect replaces a width and a height, and these together replace an aspect; a prompt
        replaces a template. Raises RequestError for a value out of range.
        """
        sides = {name for name in ("width", "height") if values.get(name) is not None}
        if values.get("aspect") is not None and not sides:
            values = {"width": None, "height": None} | values
        elif len(sides) == 2:
            values = {"aspect": None} | values
        if "prompt" in values:
            values = {"template": None} | values
        mine = {k: v for k, v in values.items() if k in Request.model_fields}
        other = {k: v for k, v in values.items() if k not in Request.model_fields}
        extra = mine.pop("extra", {})
        if isinstance(extra, dict):
            extra = self.extra | extra | other
        return Request.of(dict(self) | mine | {"extra": extra})

    @classmethod
    def exactly(cls, values: dict[str, Any]) -> Request:
        """The request with these values and no others: what a backend will really use."""
        return cls().with_values(values)
