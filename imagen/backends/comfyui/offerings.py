"""What a server has on offer: files of weights, samplers and schedules, out of its catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.base import Model
from imagen.backends.comfyui.answers import mapping
from imagen.backends.comfyui.models import families
from imagen.errors import BackendError
from imagen.graphs.model_names import base_name, spellings
from imagen.graphs.node_catalog import read_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imagen.backends.base import ModelKind
    from imagen.backends.comfyui.client import ComfyClient

_OFFERED: tuple[tuple[ModelKind, str, str, str], ...] = (
    ("checkpoint", "CheckpointLoaderSimple", "ckpt_name", "checkpoints"),
    ("diffusion_model", "UNETLoader", "unet_name", "diffusion_models"),
    ("diffusion_model", "UnetLoaderGGUF", "unet_name", ""),
    ("lora", "LoraLoader", "lora_name", "loras"),
    ("controlnet", "ControlNetLoader", "control_net_name", "controlnet"),
    ("controlnet", "ModelPatchLoader", "name", "model_patches"),
    ("upscaler", "UpscaleModelLoader", "model_name", "upscale_models"),
    ("vae", "VAELoader", "vae_name", "vae"),
    ("text_encoder", "CLIPLoader", "clip_name", "text_encoders"),
    ("sampler", "KSampler", "sampler_name", ""),
    ("scheduler", "KSampler", "scheduler", ""),
)
"""For each kind: the class and the input that list it, and the folder it lies in."""


_MAIN = ("checkpoint", "diffusion_model")


def models_of(client: ComfyClient, dirs: tuple[Path, ...], default: str) -> tuple[Model, ...]:
    """Everything that the server's own loaders and samplers list; `default` is the block's model.

    A size comes where the server tells it of a whole folder at once; a family where a workflow
    loads the file. Raises BackendError where the server can't be asked.
    """
    catalogue = read_catalog(client.catalogue())
    known = families(dirs)
    found = (
        Model(
            kind=kind,
            name=name,
            family=known.get(base_name(name), ""),
            size_bytes=sizes.get(name),
            is_default=kind in _MAIN and spellings(default, names) == [name],
        )
        for kind, node, input_name, folder in _OFFERED
        if (names := _choices(catalogue, node, input_name))
        for sizes in (_sizes(client, folder),)
        for name in names
    )
    return tuple(dict.fromkeys(found))


def _choices(catalogue: Mapping[str, Any], node: str, input_name: str) -> list[str]:
    spec = catalogue.get(node)
    wanted = spec.inputs.get(input_name) if spec else None
    choices = (wanted.choices or ()) if wanted else ()
    return [choice for choice in choices if isinstance(choice, str)]


def _sizes(client: ComfyClient, folder: str) -> dict[str, int]:
    """The bytes of each file of a folder; none from a server that doesn't tell."""
    if not folder:
        return {}
    try:
        said = client.folder(folder)
    except BackendError:
        return {}
    return dict(_sized(map(mapping, said)))


def _sized(about: Iterator[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    for file in about:
        name, size = file.get("name"), file.get("size")
        if isinstance(name, str) and type(size) is int and size >= 0:
            yield name, size
