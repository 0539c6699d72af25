"""Axes of a comparison: the parameters that change, and their values."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from imagen.core.request import Request, size_values
from imagen.core.text import did_you_mean, one_line
from imagen.core.typed_values import parse_lora
from imagen.errors import RequestError
from imagen.outputs import strip_folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MOST_CELLS = 1000
BACKEND_AXIS = "backend"
"""The name under which backends are skipped like the values of an axis."""
NO_LORA = "none"
"""The value of the axis `lora` that adds none."""
_SEVERAL_VALUES = (*("extra", "loras", "controls", "references", "upscale", "outpaint", "restore"),)
_FIELDS = {
    "size": ("width", "height", "aspect"),
    "aspect": ("width", "height", "aspect"),
}
"""The fields of a request that an axis sets, where it is not the one of its name."""
_FILES = ("image", "mask")
_COSTLIEST = {
    **dict.fromkeys(("model", "checkpoint", "unet", "transformer", "text_encoder", "vae"), 0),
    **dict.fromkeys(("lora", "lora_strength"), 1),
}
"""A lower number is a change that takes an engine longer: it loads files."""


class Axis(BaseModel):
    """One axis of a comparison: a parameter, or several that change together; and its values."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(description="The parameter; several are joined by +, such as size+steps.")
    values: tuple[Any, ...] = Field(
        description="Of several parameters, each value is an object with a value for each of them."
    )

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(self.name.split("+"))

    @property
    def rank(self) -> int:
        """How costly a change is for an engine: 0 is the costliest."""
        return min(_COSTLIEST.get(name, 2) for name in self.parameters)

    def without_folders(self) -> Axis:
        """The axis as it is recorded, with file names in place of paths.

        Raises RequestError if two files share a name.
        """
        values = []
        for value in self.values:
            single = _split_value(self.name, value)
            files = {name: str(file) for name, file in single.items() if name in _FILES}
            values.append(strip_folders(value, Request.of(files)))
        for key, count in Counter(map(repr, values)).items():
            if count > 1:
                raise RequestError(
                    f"--vary {self.name} has {count} files named {key}.",
                    remedy="Rename them: a comparison identifies a file by its name.",
                )
        return Axis(name=self.name, values=tuple(values))


def describe_value(name: str, value: object) -> str:
    """`steps 4`; for parameters that change together `size 512x512, steps 4`."""
    parts = value.items() if "+" in name and isinstance(value, dict) else [(name, value)]
    return ", ".join(f"{one} {one_line(str(own))}" for one, own in parts)


def values_key(values: Mapping[str, object]) -> str:
    """A dictionary key for the values of all axes; 1, 1.0 and true differ.

    The ids of jobs are derived from it, so it never changes: one axis has the key of its value, as
    in records of format 1.
    """
    if len(values) < 2:
        return repr(next(iter(values.values()), None))
    return repr(sorted(values.items()))


def combine(axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Every combination of values, by the names of the axes; the last axis changes first."""
    for values in product(*(axis.values for axis in axes)):
        yield {axis.name: value for axis, value in zip(axes, values, strict=True)}


def sort_by_cost(axes: Iterable[Axis]) -> list[Axis]:
    """The axes with the costliest change first, so that it happens least often."""
    return sorted(axes, key=lambda axis: axis.rank)


def apply_values(request: Request, values: Mapping[str, object]) -> Request:
    """The request with these values, by the names of their axes. Raises RequestError."""
    single: dict[str, object] = {}
    for name, value in values.items():
        single |= _split_value(name, value)
    if single.get("lora") == NO_LORA:
        single = {name: v for name, v in single.items() if name not in ("lora", "lora_strength")}
    for name in sorted(single, key=lambda name: name == "lora_strength"):  # after its LoRA
        request = _apply(request, name, single[name])
    return request


def _split_value(name: str, value: object) -> dict[str, object]:
    """The value of each parameter of an axis."""
    names = name.split("+")
    if len(names) == 1:
        return {name: value}
    if not isinstance(value, dict) or {*value} != {*names}:
        raise RequestError(
            f"--vary {name}: {one_line(str(value), limit=80)} does not set exactly "
            f"{' and '.join(names)}."
        )
    return value


def _apply(request: Request, name: str, value: object) -> Request:
    if name == "size":
        return request.with_values(size_values(str(value)))
    if name == "lora":
        lora = parse_lora(str(value), "lora")
        others = [known for known in request.loras if known.name != lora["name"]]
        return request.with_values({"loras": (*others, lora)})
    if name == "lora_strength":
        if not request.loras:
            raise RequestError(
                "lora_strength changes the strength of a LoRA, and there is none.",
                remedy="Add one with --lora NAME, or several with --vary lora=NAME1,NAME2.",
            )
        *others, last = request.loras
        return request.with_values({"loras": (*others, {"name": last.name, "strength": value})})
    if name == "prompt" and not isinstance(value, str):
        value = str(value)
    return request.with_values({name: value})


def check_axes(axes: Sequence[Axis], request: Request, models: int, known: Iterable[str]) -> None:
    """Raise RequestError for axes and values that no backend could take, and for too many cells.

    `known` are the parameters of the backends, beside those of every request.
    """
    setters: dict[str, str] = {}
    names = {*known, *Request.model_fields, "size", "lora", "lora_strength"} - {*_SEVERAL_VALUES}
    cells = models
    for axis in axes:
        if not axis.values:
            raise RequestError(f"--vary {axis.name} has no values.")
        cells *= len(axis.values)
        for name in axis.parameters:
            if name in _SEVERAL_VALUES:
                also = " Use lora." if name == "loras" else ""
                raise RequestError(f"{name} cannot be varied: it is not a single value.{also}")
            if name not in names:
                raise RequestError(
                    f"None of these backends has a parameter {name!r} to vary."
                    + did_you_mean(name, names)
                )
            for field in _FIELDS.get(name, (name,)):
                if field in setters:
                    raise RequestError(
                        f"--vary {setters[field]} and --vary {axis.name} both set {field}.",
                        remedy="Use one of them, or let them change together: "
                        "--vary '{size=512x512,steps=4},{size=1024x1024,steps=8}'.",
                    )
                setters[field] = axis.name
    if cells > MOST_CELLS:
        raise RequestError(
            f"This comparison has {cells:,} cells; at most {MOST_CELLS:,} are possible.",
            remedy="Use fewer values, or make several comparisons with --output.",
        )
    first = {axis.name: axis.values[0] for axis in axes}
    for axis in axes:
        for number, value in enumerate(axis.values, start=1):
            try:
                apply_values(request, first | {axis.name: value})
            except RequestError as error:
                shown = one_line(str(value), limit=40)
                place = f"--vary {axis.name}, value {number} ({shown}): {error.message}"
                raise error.replace(message=place) from error
