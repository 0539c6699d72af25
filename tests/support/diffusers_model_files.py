"""diffusers folders and files with real headers and zero weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imagen.backends import validate_block
from imagen.backends.diffusers import Diffusers, adapter
from support.model_file_samples import SD1, VAE, safetensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LORA_SD1 = (
    "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
    (4, 768),
)
LORA_SDXL = (LORA_SD1[0], (4, 2048))


def write_pipeline_folder(place: Path, pipeline: str, **parts: Mapping[str, Any]) -> Path:
    """A pipeline's folder; `parts` are the configs of its parts, each with a file of weights."""
    place.mkdir(parents=True)
    (place / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    for name, config in parts.items():
        (place / name).mkdir()
        (place / name / "config.json").write_text(json.dumps(config))
        weights = place / name / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(safetensors({"weight": (100,)}))
    return place


def write_sd1_file(place: Path) -> Path:
    """A whole SD 1 in one file."""
    path = place / "dream.safetensors"
    path.write_bytes(safetensors(SD1 | VAE))
    return path


def write_flux_file(place: Path) -> Path:
    """The diffusion model of FLUX.1 schnell alone."""
    path = place / "flux.safetensors"
    path.write_bytes(safetensors({"vector_in.in_layer.weight": (1, 768), "img_in.weight": (1, 64)}))
    return path


def open_diffusers(model: Path | str, **block: Any) -> Diffusers:
    """A backend called `here`."""
    config = validate_block("here", {"model": str(model), **block}, adapter.config)
    return Diffusers(config, new_id=lambda: "00000000-0000-4000-8000-000000000000")
