"""What blocks of a script can do: the methods of a backend, their slots and parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from imagen.views.base import View
from imagen.views.parameters import ParameterView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.views.backends import BackendCapabilitiesView

SlotType = Literal["block", "string", "number", "boolean"]


class BlockSlotView(View):
    """What can be plugged into a block by position."""

    name: str
    type: SlotType
    default: str | int | float | bool | None


class BlockParameterView(ParameterView):
    """A named argument of a block."""

    name: str
    optional: bool


class BlockView(View):
    """A block: one method of a backend."""

    opcode: str = Field(description="Its name in a script, such as imagen.inpaint.")
    task: str
    label: str
    category: Literal["image"] = "image"
    description: str
    layout: Literal["standard"] = "standard"
    slots: tuple[BlockSlotView, ...] = Field(description="What it cannot do without.")
    parameters: tuple[BlockParameterView, ...]
    return_type: Literal["image"] = "image"
    lazy: bool = Field(False, description="Whether it evaluates its arguments itself.")


class BlocksView(View):
    """The blocks of a backend."""

    backend: str
    blocks: tuple[BlockView, ...]

    @classmethod
    def of(cls, capabilities: BackendCapabilitiesView) -> BlocksView:
        return cls(
            backend=capabilities.name,
            blocks=tuple(
                _describe_block(one.task, one.parameters)
                for one in capabilities.tasks
                if one.task in _METHODS
            ),
        )


class _Method(NamedTuple):
    opcode: str
    label: str
    description: str
    slots: tuple[str, ...]


_METHODS: Mapping[str, _Method] = {
    "text-to-image": _Method(
        "imagen.generate", "Generate", "Generate images from a prompt.", ("prompt",)
    ),
    "image-to-image": _Method(
        "imagen.transform", "Transform", "Redraw an image.", ("image", "prompt")
    ),
    "inpaint": _Method(
        "imagen.inpaint", "Inpaint", "Repaint a part of an image.", ("image", "mask", "prompt")
    ),
    "outpaint": _Method(
        "imagen.outpaint", "Outpaint", "Extend an image.", ("image", "outpaint", "prompt")
    ),
    "edit": _Method(
        "imagen.edit", "Edit", "Edit images by an instruction.", ("references", "prompt")
    ),
    "control": _Method(
        "imagen.control",
        "Generate with control",
        "Generate images whose composition follows control images.",
        ("controls", "prompt"),
    ),
    "variation": _Method(
        "imagen.vary",
        "Vary",
        "Generate variations of a seed.",
        ("prompt", "variation_strength"),
    ),
    "upscale": _Method("imagen.upscale", "Upscale", "Enlarge an image.", ("image", "upscale")),
    "restore": _Method("imagen.restore", "Restore faces", "Restore faces.", ("image", "restore")),
    "preprocess": _Method(
        "imagen.preprocess",
        "Preprocess",
        "Make a control image of an image.",
        ("image", "preprocess"),
    ),
}
"""The method of each task."""
_SLOT_TYPES: Mapping[str, SlotType] = {
    "int": "number",
    "float": "number",
    "bool": "boolean",
    "string": "string",
}


def _describe_block(task: str, parameters: Mapping[str, ParameterView]) -> BlockView:
    method = _METHODS[task]
    slots = []
    for name in method.slots:
        known = parameters.get(name)
        default = known.default if known else None
        slots.append(
            BlockSlotView(
                name=name,
                type=_SLOT_TYPES.get(known.type, "block") if known else "block",
                default=default if isinstance(default, str | int | float) else None,
            )
        )
    return BlockView(
        opcode=method.opcode,
        task=task,
        label=method.label,
        description=method.description,
        slots=tuple(slots),
        parameters=tuple(
            BlockParameterView(name=name, optional=name not in method.slots, **dict(parameter))
            for name, parameter in parameters.items()
        ),
    )
