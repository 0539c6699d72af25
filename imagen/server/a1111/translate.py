"""What A1111's clients ask for, as requests of imagen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from imagen.core.capabilities import Capabilities, translate_words
from imagen.core.request import INTERPOLATIONS
from imagen.core.samplers import is_sampler, is_scheduler, parse_scheduler
from imagen.core.text import did_you_mean, one_line
from imagen.core.validation import sentences
from imagen.errors import RequestError
from imagen.inputs.init_image import HYBRID_STRENGTH
from imagen.outputs.metadata.a1111 import parse_parameters
from imagen.pipeline.pools import open_named
from imagen.runtime.client_requests import store_image
from imagen.server.a1111.bodies import ControlUnit, Img2ImgBody
from imagen.server.a1111.pixels import decode_base64, decode_pixels, store_inputs

if TYPE_CHECKING:
    from imagen.core.request import Task
    from imagen.runtime import Runtime
    from imagen.runtime.model_directory import ModelChoice
    from imagen.server.a1111.bodies import ExtrasBody, Txt2ImgBody
    from imagen.server.a1111.pixels import RepaintedPart

    Values = dict[str, Any]

_HASH = re.compile(r" \[[0-9a-f]{6,64}\]")
"""What may follow the name in the title of a model."""
_IMG2IMG_STRENGTH = 0.75
_MOST_IMAGES = 100
"""They are all in one answer."""
_FAMILIES = (("resrgan", "realesrgan"), ("realesrgan", "realesrgan"), ("esrgan", "esrgan"))
"""The families of the upscalers that every A1111 has, by the beginnings of their names."""
_KINDS: Mapping[str, str] = {
    **{kind: kind for kind in ("canny", "depth", "pose", "scribble", "lineart", "softedge")},
    **{kind: kind for kind in ("mlsd", "normal", "seg", "tile", "shuffle", "inpaint")},
    **dict.fromkeys(("hed", "pidi"), "softedge"),
    **dict.fromkeys(("midas", "zoe", "leres"), "depth"),
}
"""The kinds of control images, by what the names of ControlNet's models and modules contain."""
NO_MODULE = "none"
NO_UPSCALER = "None"


@dataclass
class A1111Plan:
    """The requests that one call needs, and what is to be said about them."""

    backend: str
    first: Values
    later: list[Values] = field(default_factory=list)
    """Each is done to every image of the one before."""
    notes: list[str] = field(default_factory=list)
    part: RepaintedPart | None = None


def plan_generation(body: Txt2ImgBody, default_model: str, runtime: Runtime) -> A1111Plan:
    """The plan of `txt2img` and `img2img`. Raises RequestError and NotFound."""
    choice = choose_model(str(body.override_settings.get("sd_model_checkpoint") or ""), runtime)
    choice = choice or choose_model(default_model, runtime)
    backend, model = (choice.backend, choice.model) if choice else (runtime.backend, None)
    values = _parse_infotext(body) | _plain_values(body)
    if model is not None:
        values["model"] = model
    plan = A1111Plan(backend, values)
    if isinstance(body, Img2ImgBody):
        _add_images(body, plan, runtime)
    _add_styles(body, plan, runtime)
    controls = _control_units(body, plan)
    tasks: tuple[tuple[str, Task], ...] = (("mask", "inpaint"), ("image", "image-to-image"))
    plain: Task = "text-to-image"
    task = next((task for name, task in tasks if name in values), plain)
    capabilities = read_capabilities(backend, task, model, runtime)
    if controls:
        values["controls"] = [_control(one, body, capabilities, runtime) for one in controls]
    _fit_sampling(plan, capabilities, runtime)
    if body.enable_hr and not isinstance(body, Img2ImgBody):
        _add_second_pass(body, plan, runtime)
    if body.restore_faces:
        if "restore" in capabilities.tasks:
            plan.later.append({"restore": {}})
        else:
            plan.notes.append("restore_faces: this backend cannot restore faces.")
    return plan


def choose_model(title: str, runtime: Runtime) -> ModelChoice | None:
    """The model of this title; None if there is no title. Raises NotFound."""
    name, space, rest = title.strip().rpartition(" ")
    if not _HASH.fullmatch(space + rest):
        name = title.strip()
    return runtime.models.find(name) if name else None


def read_capabilities(
    backend: str, task: Task, model: str | None, runtime: Runtime
) -> Capabilities:
    """What a backend takes, or the first of a pool."""
    with closing(open_named(backend, runtime.settings)) as engine:
        return engine.capabilities(task, model)


def find_upscaler(name: str, backend: str, runtime: Runtime) -> str | None:
    """The upscaling method of this name; None if there is none. An empty name is the default."""
    if name.lower() in INTERPOLATIONS:
        return name.lower()
    listed = [one.name for one in runtime.models.models_of(backend) if one.kind == "upscaler"]
    same = [one for one in listed if one.lower() == name.lower()]
    plain = re.sub(r"[^a-z]", "", name.lower())
    family = next((family for start, family in _FAMILIES if plain.startswith(start)), None)
    return same[0] if same else family if listed else None


def _parse_infotext(body: Txt2ImgBody) -> Values:
    if not body.infotext:
        return {}
    parsed, _ = parse_parameters(body.infotext)
    known = ("prompt", "negative", "seed", "steps", "cfg", "guidance", "sampler", "scheduler")
    return {name: parsed[name] for name in (*known, "width", "height", "loras") if name in parsed}


def _plain_values(body: Txt2ImgBody) -> Values:
    """What a request has a field for; without what is as good as the default."""
    count = body.batch_size * body.n_iter
    if count > _MOST_IMAGES:
        raise RequestError(f"n_iter × batch_size: at most {_MOST_IMAGES} images in one call.")
    given: Values = {
        "prompt": body.prompt or (None if body.infotext else ""),
        "negative": body.negative_prompt or None,
        "seed": body.seed if body.seed >= 0 else None,
        "steps": body.steps,
        "cfg": body.cfg_scale,
        "guidance": body.distilled_cfg_scale,
        "width": body.width,
        "height": body.height,
        "sampler": _unless_automatic(body.sampler_name or body.sampler_index),
        "scheduler": _unless_automatic(body.scheduler),
        "count": count,
    }
    values: Values = {name: value for name, value in given.items() if value is not None}
    if body.subseed_strength:
        values["variation_seed"] = max(-1, body.subseed)
        values["variation_strength"] = body.subseed_strength
    skipped = body.clip_skip or body.override_settings.get("CLIP_stop_at_last_layers") or 1
    try:
        layers = int(float(str(skipped)))
    except (ValueError, OverflowError) as error:
        raise RequestError("CLIP_stop_at_last_layers: expected a whole number.") from error
    if layers > 1:
        values["extra"] = {"clip_skip": layers}
    return values


def _unless_automatic(name: str) -> str | None:
    return name if name and parse_scheduler(name) else None


def _add_images(body: Img2ImgBody, plan: A1111Plan, runtime: Runtime) -> None:
    values = plan.first
    if not body.init_images:
        raise RequestError("init_images: expected an image in base64.")
    if len(body.init_images) > 1:
        plan.notes.append("init_images: the first one is used.")
    blurs = [one for one in (body.mask_blur_x, body.mask_blur_y) if one is not None]
    blur = max(blurs, default=body.mask_blur) if body.mask else 0
    has_size = body.width is not None and body.height is not None
    size = (body.width or 0, body.height or 0) if has_size else None
    if size is not None and not all(16 <= side <= 16384 for side in size):
        raise RequestError("width and height: expected 16 to 16384 pixels.")
    images = store_inputs(
        body.init_images[0],
        body.mask,
        runtime,
        size=size,
        resize_mode=body.resize_mode,
        is_inverted=bool(body.inpainting_mask_invert),
        blur=min(max(0, blur), 256),
        padding=body.inpaint_full_res_padding if body.inpaint_full_res else None,
    )
    plan.part = images.part
    strength = body.denoising_strength
    values["image"] = images.image
    values["strength"] = _IMG2IMG_STRENGTH if strength is None else strength
    if images.mask is not None:
        values |= {"mask": images.mask, "feather": min(max(0, blur), 256)}
        if "inpainting_fill" in body.model_fields_set and body.inpainting_fill != 1:
            plan.notes.append("inpainting_fill: the masked area starts from the image.")
    if body.extra_images:
        sent = [decode_base64(image, "extra_images") for image in body.extra_images]
        values["references"] = [store_image(data, "extra_images", runtime) for data in sent]


def _add_styles(body: Txt2ImgBody, plan: A1111Plan, runtime: Runtime) -> None:
    """The first style in the request; the texts of the others around its prompts."""
    known = runtime.settings.styles
    for name in body.styles:
        style = known.get(name)
        if style is None:
            near = did_you_mean(name, known)
            plan.notes.append(f"styles: there is no style {one_line(name, limit=60)!r}.{near}")
        elif "style" not in plan.first:
            plan.first["style"] = name
        else:
            prompt, negative = plan.first.get("prompt", ""), plan.first.get("negative")
            plan.first["prompt"] = style.prompt.replace("{prompt}", prompt)
            if style.negative:
                plan.first["negative"] = ", ".join(filter(None, [style.negative, negative]))


def _control_units(body: Txt2ImgBody, plan: A1111Plan) -> list[ControlUnit]:
    """The units of ControlNet that are switched on; notes about scripts that are not supported."""
    units: list[ControlUnit] = []
    for name, script in body.alwayson_scripts.items():
        args = script.get("args") if isinstance(script, dict) else None
        given = args if isinstance(args, list) else []
        if name.lower() == "controlnet":
            try:
                found = [ControlUnit.model_validate(one) for one in given if isinstance(one, dict)]
            except ValidationError as error:
                raise RequestError(sentences(error, model=ControlUnit)) from error
            units += [one for one in found if one.enabled]
        elif any(given):
            plan.notes.append(f"alwayson_scripts: {one_line(name, limit=60)!r} is not supported.")
    if body.script_name:
        name = one_line(body.script_name, limit=60)
        plan.notes.append(f"script_name: {name!r} is not supported.")
    return units


def control_kind(module: str, model: str, known: tuple[str, ...]) -> str | None:
    """The kind of control image that ControlNet's names for a module and a model mean."""
    names = [name.lower() for name in (model, module) if name and name.lower() != NO_MODULE]
    for name in names:
        exact = [kind for kind in known if kind.lower() == name]
        parts = [kind for kind in known if kind.lower() in name]
        usual = [kind for part, kind in _KINDS.items() if part in name]
        for kind in (*exact, *parts, *usual):
            return kind
    return None


def _control(
    unit: ControlUnit, body: Txt2ImgBody, capabilities: Capabilities, runtime: Runtime
) -> Values:
    kind = control_kind(unit.module, unit.model, capabilities.controls)
    if kind is None:
        raise RequestError(
            "controlnet: its model and module do not say which kind of control image it is.",
            remedy=f"This backend has: {', '.join(capabilities.controls) or 'none'}.",
        )
    image = unit.image.get("image") if isinstance(unit.image, dict) else unit.image
    if not isinstance(image, str) or not image:
        image = unit.input_image
    if not image and isinstance(body, Img2ImgBody) and body.init_images:
        image = body.init_images[0]
    if not image:
        raise RequestError("controlnet: a unit has no image.")
    return {
        "kind": kind,
        "image": store_image(decode_base64(image, "controlnet"), "controlnet", runtime),
        "strength": unit.weight,
        "start": unit.guidance_start,
        "end": unit.guidance_end,
        "preprocess": unit.module.lower() != NO_MODULE,
    }


def _fit_sampling(plan: A1111Plan, capabilities: Capabilities, runtime: Runtime) -> None:
    """Leave a sampler or scheduler that the backend has nothing similar to, with a note."""
    values = plan.first
    asked: Values = {name: values[name] for name in ("sampler", "scheduler") if name in values}
    translated, _ = translate_words(asked, capabilities.parameters)
    tests = {"sampler": is_sampler, "scheduler": is_scheduler}
    refused: set[str] = set()
    for name, used in translated.items():
        parameter = capabilities.parameters.get(name)
        if parameter is None:
            continue
        if parameter.choices is not None:
            is_usable = used in parameter.choices
        else:
            models = runtime.models.models_of(plan.backend)
            listed = {one.name for one in models if one.kind == name}
            is_usable = used in listed or (tests[name](used) and not listed)
        if not is_usable:
            refused.add(name)
            word = one_line(str(asked.get(name, used)), limit=60)
            plan.notes.append(f"{name}: this backend has no {word!r}; it used its default.")
    if refused:
        for name in asked:
            del values[name]
        values |= {name: used for name, used in translated.items() if name not in refused}


def _add_second_pass(body: Txt2ImgBody, plan: A1111Plan, runtime: Runtime) -> None:
    """Upscale each image, and redraw it at that size."""
    factor = body.hr_scale
    width, height = body.width or 0, body.height or 0
    if width and height and (body.hr_resize_x or body.hr_resize_y):
        factor = max(body.hr_resize_x / width, body.hr_resize_y / height)
    task_values = {
        name: value
        for name, value in plan.first.items()
        if name not in ("seed", "count", "width", "height", "variation_seed", "variation_strength")
    }
    method = find_upscaler(body.hr_upscaler, plan.backend, runtime) if body.hr_upscaler else None
    redrawn = read_capabilities(plan.backend, "image-to-image", plan.first.get("model"), runtime)
    if method not in (None, *INTERPOLATIONS) and "upscale" not in redrawn.parameters:
        plan.later.append({"upscale": {"factor": factor, "method": method}})
        factor = 1.0
    elif body.hr_upscaler and method is None:
        word = one_line(body.hr_upscaler, limit=60)
        plan.notes.append(f"hr_upscaler: there is no {word!r}; {INTERPOLATIONS[0]} was used.")
    strength = body.denoising_strength
    second = task_values | {
        "upscale": {"factor": factor, "method": method} if factor != 1.0 else None,
        "strength": HYBRID_STRENGTH if strength is None else strength,
    }
    if body.hr_second_pass_steps > 0:
        second["steps"] = body.hr_second_pass_steps
    if body.hr_prompt:
        second["prompt"] = body.hr_prompt
    if body.hr_negative_prompt:
        second["negative"] = body.hr_negative_prompt
    plan.later.append({name: value for name, value in second.items() if value is not None})


def plan_extras(body: ExtrasBody, sent: str, backend: str, runtime: Runtime) -> A1111Plan | None:
    """The plan of `extra-single-image` for one image; None if nothing is to be done."""
    image = decode_base64(sent, "image")
    stages: list[Values] = []
    notes: list[str] = []
    if body.upscaler_1 != NO_UPSCALER:
        method = find_upscaler(body.upscaler_1, backend, runtime)
        factor = body.upscaling_resize
        if body.resize_mode == 1:
            width, height = decode_pixels(image, "image", runtime).size
            wanted = (body.upscaling_resize_w / width, body.upscaling_resize_h / height)
            factor = max(1.0, *wanted)
        stages.append({"upscale": {"factor": factor, "method": method or body.upscaler_1}})
    if body.gfpgan_visibility > 0 or body.codeformer_visibility > 0:
        fidelity = {"fidelity": body.codeformer_weight} if body.codeformer_visibility > 0 else {}
        stages.insert(len(stages) if body.upscale_first else 0, {"restore": fidelity})
    if body.upscaler_2 != NO_UPSCALER and body.extras_upscaler_2_visibility > 0:
        notes.append("upscaler_2: only the first upscaler is used.")
    if not stages:
        return None
    first = stages[0] | {"image": store_image(image, "image", runtime)}
    return A1111Plan(backend, first, stages[1:], notes)
