"""Small graphs of each kind, for tests of edits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagen.graphs.graph import Node


def node(kind: str, **inputs: Any) -> Node:
    """A node of this class."""
    return {"class_type": kind, "inputs": inputs}


def titled(kind: str, title: str, **inputs: Any) -> Node:
    """A node with a title."""
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}


CHECKPOINT: dict[str, Node] = {
    "1": node("CheckpointLoaderSimple", ckpt_name="base.safetensors"),
    "5": node("CLIPTextEncode", text="a fox", clip=["1", 1]),
    "6": node("CLIPTextEncode", text="", clip=["1", 1]),
    "7": node("EmptyLatentImage", width=64, height=64, batch_size=1),
    "8": node(
        "KSampler",
        model=["1", 0],
        positive=["5", 0],
        negative=["6", 0],
        latent_image=["7", 0],
        seed=1,
        denoise=1.0,
    ),
    "9": node("VAEDecode", samples=["8", 0], vae=["1", 2]),
    "10": node("SaveImage", images=["9", 0]),
}
"""Stable Diffusion: one file of model, text encoder and VAE."""

SPLIT: dict[str, Node] = {
    "1": node("UNETLoader", unet_name="flux.safetensors"),
    "2": node("DualCLIPLoader", clip_name1="l.safetensors", clip_name2="t5.safetensors"),
    "3": node("VAELoader", vae_name="ae.safetensors"),
    "4": node("ModelSamplingFlux", model=["1", 0], max_shift=1.15),
    "5": node("CLIPTextEncode", text="a fox", clip=["2", 0]),
    "6": node("BasicGuider", model=["4", 0], conditioning=["5", 0]),
    "7": node("BasicScheduler", model=["4", 0], steps=4),
    "8": node("SamplerCustomAdvanced", guider=["6", 0], sigmas=["7", 0]),
    "9": node("VAEDecode", samples=["8", 0], vae=["3", 0]),
    "10": node("SaveImage", images=["9", 0]),
}
"""FLUX.1 with a custom sampler: separate files, a patched model, no negative prompt."""

EDIT: dict[str, Node] = {
    "1": node("UNETLoader", unet_name="klein.safetensors"),
    "2": node("VAELoader", vae_name="vae.safetensors"),
    "3": node("CLIPLoader", clip_name="qwen.safetensors"),
    "4": node("CLIPTextEncode", text="a fox", clip=["3", 0]),
    "5": node("ConditioningZeroOut", conditioning=["4", 0]),
    "6": node("LoadImage", image="a.png"),
    "7": node("ImageScaleToTotalPixels", image=["6", 0], megapixels=1.0),
    "8": node("VAEEncode", pixels=["7", 0], vae=["2", 0]),
    "9": node("ReferenceLatent", conditioning=["4", 0], latent=["8", 0]),
    "10": node("ReferenceLatent", conditioning=["5", 0], latent=["8", 0]),
    "11": node("CFGGuider", model=["1", 0], positive=["9", 0], negative=["10", 0]),
    "12": node("SaveImage", images=["11", 0]),
}
"""FLUX.2 that edits one image."""

INPAINT: dict[str, Node] = CHECKPOINT | {
    "11": node("LoadImage", image="a.png"),
    "12": node("LoadImageMask", image="m.png", channel="red"),
    "7": node("VAEEncodeForInpaint", pixels=["11", 0], mask=["12", 0], vae=["1", 2]),
}
"""Stable Diffusion that repaints a masked area."""
