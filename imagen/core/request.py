"""Request: what picture is wanted, in no engine's vocabulary."""

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
"""Pixels, where neither the request nor a workflow nor the engine's model has a size."""

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
"""Ways to enlarge that need no engine."""
Pixels = Annotated[int, Field(ge=0, le=LARGEST_SIDE)]
Seed = Annotated[int, Field(ge=-1, le=LARGEST_SEED)]
"""-1 asks for one that is drawn, whatever a style says; 0 is a seed like any other."""
Steps = Annotated[int, Field(ge=0, le=10000)]
"""0 asks for the backend's default, whatever a style says."""
Side = Annotated[int, Field(ge=16, le=LARGEST_SIDE)]
_SIZE = re.compile(r"(\d{1,6})(?:\s*[x×X*]\s*(\d{1,6}))?")
_ASPECT = re.compile(r"(\d{1,5}(?:\.\d{1,5})?)\s*:\s*(\d{1,5}(?:\.\d{1,5})?)")
_NARROWEST = 64
_ADDITIONS = ("aspect", "model", "latent_batch", "max_compute")
Unit = Annotated[float, Field(ge=0, le=1)]


def read_size(text: str) -> tuple[int, int]:
    """`1024x768` as (1024, 768), and `768` as a square; raises RequestError for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise RequestError(f"{text!r} is not a size. Write it as 1024x768, or as 768 for a square.")
    return int(match[1]), int(match[2] or match[1])


def size_values(text: str) -> dict[str, Any]:
    """The fields of a request that a size sets: width and height, or the aspect of `16:9`.

    Raises RequestError for what is neither.
    """
    if _ASPECT.fullmatch(text.strip()):
        return {"aspect": text.strip()}
    if _SIZE.fullmatch(text.strip()):
        return dict(zip(("width", "height"), read_size(text), strict=True))
    raise RequestError(f"{text!r} is not a size. Write it as 1024x768, 768 or 16:9.")


def read_aspect(text: str) -> float:
    """`16:9` as width divided by height; raises ValueError for what is not an aspect ratio."""
    match = _ASPECT.fullmatch(text.strip())
    sides = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    if not min(sides) or max(sides) / min(sides) > _NARROWEST:
        raise ValueError(f"must be an aspect ratio such as 16:9, at most {_NARROWEST}:1")
    return sides[0] / sides[1]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """Half of a surrogate pair is text to Python, and to no file or engine."""
        try:
            if isinstance(value, str | dict):
                json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            raise ValueError(f"must hold whole characters ({half} is half of one)") from error
        return value


class Lora(_Value):
    """One low-rank adapter to put on the model."""

    name: str = Field(min_length=1, description="The file's name, as the engine lists it.")
    strength: float = Field(1.0, ge=-10, le=10, description="Its weight; 0 is none.")


class Control(_Value):
    """One picture that steers the composition."""

    kind: str = Field(min_length=1, description="canny, depth, pose, scribble, …")
    image: str = Field(min_length=1, description="A file.")
    strength: float = Field(1.0, ge=0, le=10, description="Its weight; 0 is none.")
    start: Unit = Field(0.0, description="From this share of the steps on.")
    end: Unit = Field(1.0, description="To this share of the steps.")
    preprocess: bool = Field(False, description="Make the control picture out of the file first.")

    @model_validator(mode="after")
    def _some_time(self) -> Control:
        if self.end <= self.start:
            raise ValueError("must end after it starts")
        return self


class Upscale(_Value):
    """How to enlarge the initial image."""

    factor: float = Field(2.0, ge=1, le=16, description="Times the width and the height.")
    method: str | None = Field(
        None,
        min_length=1,
        description="lanczos, bicubic, bilinear, nearest, area, an upscaler's file, or a family of "
        "upscalers: realesrgan, esrgan.",
    )


class Outpaint(_Value):
    """How far to go on beyond each side of the initial image, in pixels."""

    left: Pixels = 0
    top: Pixels = 0
    right: Pixels = 0
    bottom: Pixels = 0

    @model_validator(mode="after")
    def _somewhere(self) -> Outpaint:
        if not (self.left or self.top or self.right or self.bottom):
            raise ValueError("must name at least one side: left, top, right or bottom")
        return self


class Restore(_Value):
    """How to mend the faces of the initial image."""

    model: str | None = Field(None, min_length=1, description="The restorer's file.")
    fidelity: Unit = Field(0.5, description="From 0, the finest face, to 1, the likest one.")


class Request(_Value):
    """What picture is wanted. `None` means "not asked"; 0, "" and False are values.

    Frozen, and the same in YAML, JSON, a sidecar and a queue. A value out of range raises
    pydantic's ValidationError; `Request.of` turns that into a RequestError with a sentence.
    """

    prompt: str | None = Field(None, description='What to show; "" is an empty prompt.')
    negative: str | None = Field(None, description="What not to show.")
    prompt_2: str | None = Field(None, description="The prompt of a second text encoder.")
    negative_2: str | None = Field(None, description="The negative of a second text encoder.")
    width: Side | None = Field(None, description="Pixels.")
    height: Side | None = Field(None, description="Pixels.")
    aspect: str | None = Field(
        None,
        description="Width to height, such as 16:9, at the area of the backend's default size; "
        "with a width or a height, that side is kept.",
    )
    seed: Seed | None = Field(
        None, description="Where the noise starts, from 0; without it, and with -1, it is drawn."
    )
    steps: Steps | None = Field(
        None, description="Sampling steps; without them, and with 0, the backend's default."
    )
    cfg: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Classifier-free guidance scale."
    )
    guidance: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="Distilled guidance (FLUX.1-dev)."
    )
    sampler: str | None = Field(None, min_length=1, description="The sampler's name.")
    scheduler: str | None = Field(None, min_length=1, description="The noise schedule's name.")
    count: int | None = Field(
        None,
        ge=1,
        le=LARGEST_COUNT,
        description="How many images, each with the seed that follows.",
    )
    latent_batch: bool | None = Field(
        None, description="Make the images together, in a batch of the engine."
    )
    style: str | None = Field(None, min_length=1, description="A style of the configuration.")
    model: str | None = Field(
        None, min_length=1, description="The checkpoint, as `imagen models` lists it, or a path."
    )
    max_compute: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="At most this many width × height × steps / 10^6 of one image, "
        "below what the configuration allows.",
    )
    loras: tuple[Lora, ...] = Field((), description="Low-rank adapters, in order.")
    image: str | None = Field(None, min_length=1, description="The initial image: a file.")
    strength: Unit | None = Field(None, description="How far to leave the initial image (denoise).")
    mask: str | None = Field(None, min_length=1, description="What to repaint: a file.")
    feather: Pixels | None = Field(None, description="Pixels over which the mask's edge fades.")
    outpaint: Outpaint | None = Field(None, description="How far to go on beyond each side.")
    references: tuple[str, ...] = Field((), description="Files that the prompt speaks of (edit).")
    controls: tuple[Control, ...] = Field((), description="Pictures that steer, in order.")
    variation_seed: Seed | None = Field(
        None, description="Where a second noise starts; without it, and with -1, it is drawn."
    )
    variation_strength: Unit | None = Field(
        None, description="The second noise's share: 0 is none, 1 is all."
    )
    upscale: Upscale | None = Field(None, description="How to enlarge the initial image.")
    restore: Restore | None = Field(None, description="How to mend its faces.")
    preprocess: str | None = Field(
        None, min_length=1, description="The control picture to make of it: canny, depth, …"
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Further parameters, for tokens only one workflow knows."
    )

    @field_validator("aspect")
    @classmethod
    def _is_aspect(cls, aspect: str | None) -> str | None:
        if aspect is not None:
            read_aspect(aspect)
        return aspect

    @model_validator(mode="after")
    def _one_size(self) -> Request:
        if self.aspect is not None and self.width is not None and self.height is not None:
            raise ValueError("aspect goes with a width or a height, not with both")
        return self

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Request:
        """The request with these values, by the names of its fields, as people give them.

        Raises RequestError with a sentence for each value that is off.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RequestError(sentences(error, model=cls)) from error

    @property
    def unset_additions(self) -> set[str]:
        """The fields that older versions did not have, where they are not given.

        A hash leaves these out, so that it is the same in every version.
        """
        return {name for name in _ADDITIONS if getattr(self, name) is None}

    @property
    def draws_seed(self) -> bool:
        """Whether its seed is to be drawn."""
        return self.seed is None or self.seed == -1

    @property
    def compute(self) -> float | None:
        """Width × height × steps / 10^6 of one image; None where one of them is not known."""
        if self.width is None or self.height is None or self.steps is None:
            return None
        return self.width * self.height * self.steps / 1e6

    @property
    def task(self) -> Task:
        """What kind of work this is, from what is given."""
        return next((task for task, given in self._signs() if given), "text-to-image")

    def _signs(self) -> tuple[tuple[Task, bool], ...]:
        """What each task is known by; the first that is given counts."""
        is_redrawn = bool(self.prompt) or self.strength is not None
        only_enlarged = self.upscale is not None and not is_redrawn
        return (
            ("preprocess", self.preprocess is not None),
            ("restore", self.restore is not None),
            ("upscale", only_enlarged),
            ("outpaint", self.outpaint is not None),
            ("inpaint", self.mask is not None),
            ("edit", bool(self.references)),
            ("image-to-image", self.image is not None),
            ("control", bool(self.controls)),
            ("variation", self.variation_strength is not None),
        )

    def asked(self) -> dict[str, Any]:
        """Every parameter that was asked for, by name; those of `extra` among the others."""
        named = {name: getattr(self, name) for name in Request.model_fields if name != "extra"}
        return {k: v for k, v in named.items() if v is not None and v != ()} | self.extra

    def with_values(self, values: dict[str, Any]) -> Request:
        """A copy in which these parameters have these values; a name of no field goes to `extra`.

        An aspect replaces a width and a height, and both of these an aspect. Raises RequestError
        for a value out of a field's range.
        """
        sides = {name for name in ("width", "height") if values.get(name) is not None}
        if values.get("aspect") is not None and not sides:
            values = {"width": None, "height": None} | values
        elif len(sides) == 2:
            values = {"aspect": None} | values
        mine = {k: v for k, v in values.items() if k in Request.model_fields}
        other = {k: v for k, v in values.items() if k not in Request.model_fields}
        extra = mine.pop("extra", {})
        if isinstance(extra, dict):
            extra = self.extra | extra | other
        return Request.of(dict(self) | mine | {"extra": extra})

    @classmethod
    def exactly(cls, values: dict[str, Any]) -> Request:
        """The request of these values and no others: what a backend will really use."""
        return cls().with_values(values)
