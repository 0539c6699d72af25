"""Images with the metadata of other tools, built from their published formats with Pillow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagen.graphs import bind, find_workflow

A1111 = """a cat, (masterpiece:1.2) <lora:ink:0.8>
Negative prompt: blurry, lowres
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1234, Size: 512x768, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 2, Version: v1.10.1"""
SDCPP = """A sunflower field
Negative prompt: Blue sky
Steps: 30, CFG scale: 5.000000, Guidance: 3.500000, Seed: 1375127038, Size: 512x512, \
Model: v1-5-pruned-emaonly.safetensors, RNG: cuda, Sampler: dpm++2mv2 karras, \
Version: stable-diffusion.cpp"""
INVOKEAI: dict[str, Any] = {
    "generation_mode": "sdxl_txt2img",
    "positive_prompt": "a castle",
    "negative_prompt": "blurry",
    "width": 1024,
    "height": 768,
    "seed": 42,
    "rand_device": "cpu",
    "cfg_scale": 7.0,
    "steps": 30,
    "scheduler": "dpmpp_2m_k",
    "model": {"key": "k", "hash": "blake3:0", "name": "sd_xl_base", "type": "main"},
    "loras": [{"model": {"key": "l", "name": "ink"}, "weight": 0.6}],
    "app_version": "5.0.0",
}


def graph(workflow: str = "sdxl", **values: Any) -> dict[str, Any]:
    """The graph of a bundled workflow, with these values."""
    found = find_workflow(workflow, ())
    defaults = {name: known.default for name, known in found.parameters.items()}
    return bind(found.graph, defaults | {"prompt": "a glass fox", "seed": 99} | values)


def noise(side: int = 64) -> Image.Image:
    """An image of random noise."""
    return Image.effect_noise((side, 48), 60).convert("RGB")


def png(path: str | Path, **texts: str) -> Path:
    """A PNG with these text chunks."""
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    return _saved(path, pnginfo=info)


def comfyui(path: str | Path, **values: Any) -> Path:
    """A PNG as ComfyUI saves it, of the bundled sdxl workflow."""
    return png(path, prompt=json.dumps(graph(**values)))


def webp(path: str | Path, exif: Image.Exif) -> Path:
    """A WebP with this EXIF block."""
    return _saved(path, exif=exif)


def _saved(path: str | Path, **options: Any) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise().save(path, **options)
    return path
