"""Which of a model's inputs mean which fields of a request, and which tasks follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagen.backends.replicate import names
from imagen.backends.replicate.size import Size, read_size
from imagen.core.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends.replicate.schema import Input
    from imagen.core.request import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """One model's inputs, by what they mean."""

    model: str
    """`owner/name`."""
    inputs: Mapping[str, Input]
    fields: Mapping[str, Input]
    """The input that a field of a request becomes; two fields may become the same."""
    size: Size
    loras: tuple[tuple[str, str], ...] = ()
    """The input for each low-rank adapter, and the one for its weight."""
    lora_list: tuple[str, str] | None = None
    """The inputs for all of them, where those are lists."""
    kinds: tuple[str, ...] = ()
    """The kinds of control picture."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the model can do, the most usual first."""
        return tuple(task for task, can in _abilities(self) if can)

    @property
    def own(self) -> dict[str, Input]:
        """The inputs that no field of a request means, by the name under which they are asked for:
        their own, unless a field is called so too."""
        taken = {found.name for found in self.fields.values()} | set(self.size.sides)
        left = {name: found for name, found in self.inputs.items() if name not in taken}
        return {_free(name): found for name, found in left.items()}

    @property
    def lora_inputs(self) -> frozenset[str]:
        """The inputs that low-rank adapters go into, and those for their weights."""
        slots = (*self.loras, *([self.lora_list] if self.lora_list else ()))
        return frozenset(name for slot in slots for name in slot)


def read_vocabulary(model: str, inputs: Mapping[str, Input]) -> Vocabulary:
    """What the inputs of this model mean."""
    kinds = _kinds(model)
    fields = _without_strangers(dict(_claims(inputs)), kinds)
    many = [pair for pair in names.LORA_LISTS if pair[0] in inputs]
    return Vocabulary(
        model=model,
        inputs=inputs,
        fields=_with_one_scale(fields),
        size=read_size(inputs),
        loras=tuple(pair for pair in names.LORA_SLOTS if pair[0] in inputs),
        lora_list=many[0] if many else None,
        kinds=kinds if "controls" in fields else (),
    )


def _claims(inputs: Mapping[str, Input]) -> Iterator[tuple[str, Input]]:
    for field, candidates in names.NAMES.items():
        types = names.TYPES.get(field, ("string",))
        known = (inputs[name] for name in candidates if name in inputs)
        found = next((one for one in known if one.type in types), None)
        if found is not None:
            yield field, found


def _with_one_scale(fields: dict[str, Input]) -> dict[str, Input]:
    """Where there is one input for guidance, both of our words lead to it."""
    scales = [fields[name] for name in names.ONE_SCALE if name in fields]
    if len(scales) == 1:
        return fields | dict.fromkeys(names.ONE_SCALE, scales[0])
    return fields


def _without_strangers(fields: dict[str, Input], kinds: tuple[str, ...]) -> dict[str, Input]:
    """Without inputs that are called like ours, and mean something else."""
    image = fields.get("image")
    lone = image is not None and image.is_required and not _needs_prompt(fields)
    wrong = {
        "mask": image is None,
        "controls": not kinds,
        "references": "references" in fields and not fields["references"].is_file,
        "upscale": not lone,
        "restore": not lone,
    }
    kept = {name: found for name, found in fields.items() if not wrong.get(name)}
    references = kept.get("references")
    if "image" not in kept and references is not None:
        kept["image"] = references  # its first picture
    return kept


def _needs_prompt(fields: Mapping[str, Input]) -> bool:
    return "prompt" in fields and fields["prompt"].is_required


def _abilities(known: Vocabulary) -> Iterator[tuple[Task, bool]]:
    has = known.fields.keys()
    needed = [found for found in known.inputs.values() if found.is_required and found.is_picture]
    upscales, restores = "upscale" in has, "restore" in has
    yield "text-to-image", "prompt" in has and not needed
    yield "image-to-image", "image" in has and not (upscales or restores)
    yield "inpaint", {"image", "mask"} <= has
    yield "outpaint", {"image", "mask"} <= has
    yield "edit", {"prompt", "references"} <= has
    yield "control", "controls" in has
    yield "upscale", upscales
    yield "restore", restores


def _kinds(model: str) -> tuple[str, ...]:
    name = model.rpartition("/")[2]
    return tuple(dict.fromkeys(kind for word, kind in names.CONTROL_KINDS.items() if word in name))


def _free(name: str) -> str:
    return f"input_{name}" if name in Request.model_fields else name
