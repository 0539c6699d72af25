"""What A1111's clients are answered: images in base64, and `info`, a JSON object in a text."""

from __future__ import annotations

import base64
import json
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from imagen import __version__
from imagen.jobs.image_files import find_image_file
from imagen.library.detail import load_record
from imagen.outputs.convert import convert_image
from imagen.outputs.metadata.a1111 import format_parameters
from imagen.outputs.provenance import find_provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.library import LibraryImage
    from imagen.runtime import Runtime
    from imagen.server.a1111.bodies import Txt2ImgBody
    from imagen.server.a1111.pixels import RepaintedPart
    from imagen.server.a1111.runs import A1111Outcome


def describe_generation(
    body: Txt2ImgBody, outcome: A1111Outcome, part: RepaintedPart | None, runtime: Runtime
) -> dict[str, Any]:
    """The answer of `txt2img` and `img2img`."""
    used = [_read_values(image, runtime) for image in outcome.drawn]
    infotexts = [
        _infotext(values, image) for values, image in zip(used, outcome.images, strict=True)
    ]
    files: list[str] = []
    if body.send_images:
        for image, text in zip(outcome.images, infotexts, strict=True):
            data = read_png(image, runtime)
            files.append(encode(data if part is None else part.paste(data, text)))
    info = _describe_info(body, outcome, used, infotexts)
    return {"images": files, "parameters": body.echo(), "info": json.dumps(info)}


def read_png(image: LibraryImage, runtime: Runtime) -> bytes:
    """The file of an image as a PNG with its metadata. Raises OutputError."""
    file = find_image_file(image, runtime.library, runtime.settings)
    return convert_image(file.read_bytes(), "png").data


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _read_values(image: LibraryImage, runtime: Runtime) -> dict[str, Any]:
    """The values that were used for an image, by imagen's names."""
    record = load_record(runtime.library, image)
    found = find_provenance(record)
    used = {name: value for name, value in record.facts.items() if value is not None}
    wanted = ("steps", "cfg", "sampler", "scheduler")
    facts = {name: used[name] for name in wanted if name in used}
    model = PureWindowsPath(next(iter(found.models), image.model)).stem
    return {**found.values, **facts, "model": model, "seed": image.seed, "backend": image.backend}


def _infotext(values: dict[str, Any], image: LibraryImage) -> str:
    size = f"{image.width}x{image.height}" if image.width else None
    more = {"size": size, "version": "imagen"}
    prompt, negative = str(values.get("prompt") or ""), str(values.get("negative") or "")
    return format_parameters(prompt, negative, {**values, **more})


def _describe_info(
    body: Txt2ImgBody,
    outcome: A1111Outcome,
    used: Sequence[dict[str, Any]],
    infotexts: Sequence[str],
) -> dict[str, Any]:
    """What A1111 says about its images; `warnings` is imagen's own."""
    images = outcome.images
    first = used[0] if used else {}
    seeds = [-1 if values["seed"] is None else values["seed"] for values in used]
    prompts = [str(values.get("prompt") or "") for values in used]
    negatives = [str(values.get("negative") or "") for values in used]
    subseed = first.get("variation_seed")
    subseed = body.subseed if subseed is None else subseed
    model = str(first.get("model") or "")
    return {
        "prompt": prompts[0] if prompts else body.prompt,
        "all_prompts": prompts,
        "negative_prompt": negatives[0] if negatives else body.negative_prompt,
        "all_negative_prompts": negatives,
        "seed": seeds[0] if seeds else body.seed,
        "all_seeds": seeds,
        "subseed": subseed,
        "all_subseeds": [subseed for _ in images],
        "subseed_strength": first.get("variation_strength") or 0,
        "width": (images[0].width if images else body.width) or 0,
        "height": (images[0].height if images else body.height) or 0,
        "sampler_name": first.get("sampler") or "",
        "scheduler": first.get("scheduler") or "",
        "cfg_scale": first.get("cfg") or first.get("guidance") or 0,
        "steps": first.get("steps") or 0,
        "batch_size": body.batch_size,
        "restore_faces": body.restore_faces,
        "face_restoration_model": None,
        "sd_model_name": model,
        "sd_model_hash": "",
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": first.get("strength"),
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [*infotexts],
        "styles": [*body.styles],
        "job_timestamp": images[0].created.strftime("%Y%m%d%H%M%S") if images else "0",
        "clip_skip": body.clip_skip or 1,
        "is_using_inpainting_conditioning": False,
        "version": f"imagen {__version__}",
        "warnings": [*outcome.notes],
    }
