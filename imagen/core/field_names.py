"""Other tools' names for the fields of a request, in one table."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from imagen.core.request import Request, read_size
from imagen.core.text import did_you_mean
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("positive_prompt", "positive", "text_prompt"),
    "negative": ("negative_prompt",),
    "negative_2": ("negative_prompt_2",),
    "seed": ("noise_seed", "random_seed"),
    "steps": ("num_inference_steps", "inference_steps", "sampling_steps", "sample_steps"),
    "cfg": ("cfg_scale", "true_cfg_scale"),
    "guidance": ("distilled_cfg_scale", "distilled_guidance_scale", "flux_guidance_scale"),
    "sampler": ("sampler_name", "sampling_method", "sample_method"),
    "scheduler": ("schedule", "schedule_type", "scheduler_name", "noise_schedule"),
    "count": (
        *("batch_size", "n", "num_images", "num_outputs", "number_of_images", "batch_count"),
        "num_images_per_prompt",
    ),
    "model": ("model_name", "base_model", "ckpt_name", "sd_model_checkpoint"),
    "image": ("init_image", "initial_image", "input_image", "init_img"),
    "mask": ("mask_image", "mask_img"),
    "feather": ("mask_blur",),
    "strength": ("denoising_strength", "denoise", "prompt_strength"),
    "references": ("reference_images", "ref_images"),
    "variation_seed": ("subseed",),
    "variation_strength": ("subseed_strength", "variation_seed_strength"),
}
"""Case, `_`, `-` and spaces do not matter."""
OF_EITHER_SCALE = "guidance_scale"
"""Used by diffusers and Replicate for distilled guidance (FLUX.1-dev) and for classifier-free
guidance; only the backend knows which it is."""


_OTHER_FIELDS = {other: field for field, names in OTHER_NAMES.items() for other in names}


def field_named(name: str) -> str | None:
    """The field of a request that some tool calls by this name."""
    return _fields().get(_squash(name))


def with_own_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under the names of a request's fields.

    Raises RequestError for an unknown name, and for two names of one field with different values.
    """
    known = (*Request.model_fields, *_OTHER_FIELDS, OF_EITHER_SCALE, "size")
    squashed = {*map(_squash, known)}
    if unknown := [name for name in values if _squash(name) not in squashed]:
        lines = (f"{name}: unknown key.{did_you_mean(name, known)}" for name in unknown)
        raise RequestError("\n".join(lines))
    own: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, value in values.items():
        for field, inner in _own_values(name, value):
            if field in own and own[field] != inner:
                raise RequestError(
                    f"{sources[field]} and {name} mean the same and have different values: "
                    f"{own[field]!r} and {inner!r}.",
                    remedy="Keep one of them.",
                )
            own[field], sources[field] = inner, name
    scale = own.pop(OF_EITHER_SCALE, None)
    extra = own.get("extra") or {}
    if scale is not None and isinstance(extra, dict):
        own["extra"] = {OF_EITHER_SCALE: scale, **extra}
    return own


def _own_values(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if name in Request.model_fields:
        yield name, value
    elif _squash(name) == "size" and isinstance(value, str):
        yield from zip(("width", "height"), read_size(value), strict=True)
    elif _squash(name) == _squash(OF_EITHER_SCALE):
        yield OF_EITHER_SCALE, value
    elif value is not None:
        yield field_named(name) or name, value


def _squash(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


@cache
def _fields() -> dict[str, str]:
    """The field of each name without punctuation."""
    own = {field: field for field in (*OTHER_NAMES, "width", "height")}
    return {_squash(name): field for name, field in (_OTHER_FIELDS | own).items()}
