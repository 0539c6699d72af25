"""From a request to the body of one job: what is used, and how the server spells it."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Any

from imagen.backends.a1111.capabilities import (
    IMAGE_TASKS,
    find_controlnet,
    find_preprocessor,
)
from imagen.backends.model_choice import find_name, model_not_found
from imagen.core.capabilities import ParameterOutcome, resolve_parameters
from imagen.core.image_file import read_image_file
from imagen.core.samplers import match_sampler, match_scheduler, parse_sampler, parse_scheduler
from imagen.core.text import did_you_mean, one_line
from imagen.errors import RequestError
from imagen.model_files.upscalers import choose_upscaler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.backends.a1111.client import A1111Info
    from imagen.backends.a1111.config import A1111Config
    from imagen.core.capabilities import Capabilities, Receipt
    from imagen.core.request import Control, Request, Task

_PATHS: Mapping[str, str] = {
    **dict.fromkeys(IMAGE_TASKS, "/sdapi/v1/img2img"),
    "upscale": "/sdapi/v1/extra-single-image",
    "restore": "/sdapi/v1/extra-single-image",
    "preprocess": "/controlnet/detect",
}
_HIRES_STRENGTH = 0.5
_LATENT = "Latent"
_R_ESRGAN = "R-ESRGAN"
"""How A1111 spells Real-ESRGAN in its names of upscalers."""


def path_of(task: Task) -> str:
    """The route of a task."""
    return _PATHS.get(task, "/sdapi/v1/txt2img")


def plan_request(request: Request, capabilities: Capabilities) -> tuple[dict[str, Any], Receipt]:
    """The values that will be used, and the receipt.

    Raises RequestError for a request that this server cannot run.
    """
    if request.task in ("inpaint", "upscale", "restore", "preprocess") and request.image is None:
        raise RequestError(f"{request.task} needs an image.")
    requested, receipt = resolve_parameters(request, capabilities)
    parameters = capabilities.parameters
    values = {n: one.default for n, one in parameters.items() if one.default is not None}
    values |= requested
    sides = [side for side in ("width", "height") if side in parameters and side not in values]
    if sides and request.image is not None:  # an initial image keeps its size
        image = read_image_file(request.image)
        values |= {side: parameters[side].fit(side, getattr(image, side)) for side in sides}
    for control in values.get("controls") or ():
        _require_control(control, capabilities)
    if "hires" not in values:
        for name in [name for name in values if name.startswith("hires_")]:
            asked = values.pop(name)
            if name in receipt:
                receipt[name] = ParameterOutcome(
                    outcome="dropped", asked=asked, why="there is no second pass without hires"
                )
    return values, receipt


def _require_control(control: Control, capabilities: Capabilities) -> None:
    if control.kind not in capabilities.controls:
        raise RequestError(
            f"There is no ControlNet for {control.kind!r}."
            f"{did_you_mean(control.kind, capabilities.controls)}",
            remedy=f"Known: {', '.join(capabilities.controls)}.",
        )
    if control.preprocess and control.kind not in capabilities.preprocesses_in_run:
        raise RequestError(
            f"This server cannot make the {control.kind} control image itself.",
            remedy="Provide a finished control image.",
        )


def build_body(values: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a job that generates, without what only the server's lists can tell."""
    body = {
        "prompt": values.get("prompt", ""),
        "negative_prompt": values.get("negative"),
        "width": values.get("width"),
        "height": values.get("height"),
        "seed": values.get("seed"),
        "steps": values.get("steps"),
        "cfg_scale": values.get("cfg"),
        "distilled_cfg_scale": values.get("guidance"),
        "sampler_name": values.get("sampler"),
        "scheduler": values.get("scheduler"),
        "batch_size": values.get("count"),
        "n_iter": 1,
        "denoising_strength": values.get("strength"),
        "subseed": values.get("variation_seed"),
        "subseed_strength": values.get("variation_strength"),
        "send_images": True,
        "save_images": False,
    }
    return {name: value for name, value in body.items() if value is not None}


def complete_body(
    payload: Mapping[str, Any], request: Request, config: A1111Config, info: A1111Info, id: str
) -> dict[str, Any]:
    """The body as this server takes it: with images, LoRAs, its own names, and an id.

    Raises RequestError for a name that the server does not have.
    """
    if request.task == "preprocess":
        kind = request.preprocess or ""
        image = read_image_file(request.image or "")
        return {
            "controlnet_module": find_preprocessor(kind, info.preprocessors),
            "controlnet_input_images": [_encode(request.image or "", "image")],
            "controlnet_processor_res": min(image.width, image.height),
        }
    if request.task in ("upscale", "restore"):
        return _extras_body(request, info)
    body = dict(payload)
    model = find_model(request.model or config.model, config, info)
    if request.image is not None:
        body["init_images"] = [_encode(request.image, "image")]
    if request.mask is not None:
        # Fill 1 starts from the image itself, and imagen has feathered the mask.
        body["mask"] = _encode(request.mask, "mask", mode="L")
        body |= {"inpainting_fill": 1, "inpaint_full_res": False, "mask_blur": 0}
    if "hires" in request.extra:
        body |= _hires_values(request, info)
    if request.sampler is not None and info.samplers:
        body["sampler_name"] = match_sampler(parse_sampler(request.sampler), info.samplers)
    if request.scheduler is not None and info.schedulers:
        body["scheduler"] = match_scheduler(parse_scheduler(request.scheduler), info.schedulers)
    loras = [(_find_lora(lora.name, info), lora.strength) for lora in request.loras]
    clip_skip = request.extra.get("clip_skip")
    if clip_skip is not None and info.program in ("sd.cpp", "sdnext"):
        body["clip_skip"] = clip_skip
    if info.program == "sd.cpp":
        body["lora"] = [{"path": info.loras[n], "multiplier": strength} for n, strength in loras]
        body["prompt"] = body["prompt"] or " "  # it refuses an empty prompt
        return body
    body["prompt"] += "".join(f" <lora:{name}:{strength:g}>" for name, strength in loras)
    settings: dict[str, object] = {"sd_model_checkpoint": model} if model else {}
    if clip_skip is not None:
        settings["CLIP_stop_at_last_layers"] = clip_skip
    body |= {
        "override_settings": config.settings | settings,
        "override_settings_restore_afterwards": True,
        "force_task_id": id,
    }
    if request.controls:
        units = [_control_unit(one, config, info, model or info.model) for one in request.controls]
        body["alwayson_scripts"] = {"controlnet": {"args": units}}
    return body


def find_model(name: str, config: A1111Config, info: A1111Info) -> str:
    """The server's name of a checkpoint, "" for ""; raises RequestError where it has none."""
    if not name or not info.models:
        return name
    if (match := find_name(name, info.models)) is not None:
        return match
    remedy = f"See: imagen models --backend {config.name}."
    raise model_not_found(name, info.models, f"at {config.base_url}", remedy)


def _find_lora(name: str, info: A1111Info) -> str:
    match = find_name(name, tuple(info.loras)) if info.loras else None
    if match is None:
        raise RequestError(
            f"Unknown LoRA {one_line(name)!r}.{did_you_mean(name, info.loras)}",
            remedy=f"The server has {len(info.loras)}; imagen models --kind lora lists them.",
        )
    return match


def _hires_values(request: Request, info: A1111Info) -> dict[str, object]:
    values = request.extra
    method, names = values.get("hires_upscaler"), (*info.latent_upscalers, *info.upscalers)
    factor = values["hires"]
    steps_key = "hr_steps" if info.program == "sd.cpp" else "hr_second_pass_steps"
    return {
        "enable_hr": True,
        "hr_scale": factor,
        "hr_upscaler": _find_upscaler(method, factor, names) if method else _LATENT,
        "denoising_strength": values.get("hires_denoise", _HIRES_STRENGTH),
        **({steps_key: values["hires_steps"]} if "hires_steps" in values else {}),
    }


def _extras_body(request: Request, info: A1111Info) -> dict[str, object]:
    body: dict[str, object] = {
        "image": _encode(request.image or "", "image"),
        "resize_mode": 0,
        "upscaling_resize": 1,
        "upscaler_1": "None",
    }
    if request.upscale is not None:
        body["upscaling_resize"] = request.upscale.factor
        body["upscaler_1"] = _find_upscaler(
            request.upscale.method, request.upscale.factor, info.upscalers
        )
    if request.restore is not None:
        asked = request.restore.model or next(iter(info.restorers), "")
        name = find_name(asked, info.restorers) if info.restorers else asked
        if name is None:
            raise RequestError(
                f"Unknown face restorer {one_line(asked)!r}.",
                remedy=f"Known: {', '.join(info.restorers)}.",
            )
        if "codeformer" in name.lower():
            body |= {"codeformer_visibility": 1, "codeformer_weight": request.restore.fidelity}
        else:  # GFPGAN has no weight: it is mixed with the image
            body["gfpgan_visibility"] = 1 - request.restore.fidelity / 2
    return body


def _find_upscaler(method: str | None, factor: float, names: tuple[str, ...]) -> str:
    """The server's upscaler that a method means; by default the best known one it has."""
    spelled = {name.replace(_R_ESRGAN, "RealESRGAN"): name for name in names}
    if method is None:
        best = choose_upscaler("realesrgan", spelled, factor)
        return spelled[best] if best else next(iter(names), "Lanczos")
    lower = method.casefold()
    exact = next((name for name in names if name.casefold() == lower), None)
    if exact or not names:
        return exact or method
    family = choose_upscaler(method, spelled, factor)
    match = spelled.get(family or "") or find_name(method, names)
    if match is None:
        raise RequestError(
            f"Unknown upscaler {one_line(method)!r}.{did_you_mean(method, names)}",
            remedy=f"Known: {', '.join(names)}.",
        )
    return match


def _control_unit(
    control: Control, config: A1111Config, info: A1111Info, model: str
) -> dict[str, object]:
    module = find_preprocessor(control.kind, info.preprocessors) if control.preprocess else None
    return {
        "enabled": True,
        "image": _encode(control.image, "controls"),
        "module": module or "None",
        "model": find_controlnet(control.kind, config, info, model),
        "weight": control.strength,
        "guidance_start": control.start,
        "guidance_end": control.end,
        "resize_mode": "Crop and Resize",
        "control_mode": "Balanced",
        "pixel_perfect": True,
    }


def _encode(path: str, what: str, mode: str = "RGB") -> str:
    """An input image as the API takes it: PNG in base64."""
    file = BytesIO()
    read_image_file(path, what).decode().convert(mode).save(file, "PNG", compress_level=1)
    return b64encode(file.getvalue()).decode()
