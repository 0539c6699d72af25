"""Identify a model file by the names and shapes of its tensors: its role, family and variant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from imagen.model_files.headers import read_model_header

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imagen.model_files.headers import ModelHeader

Family = Literal[
    "sd1", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux1", "flux2", "z-image", "qwen-image", ""
]
Role = Literal[
    "checkpoint",
    "diffusion_model",
    "lora",
    "vae",
    "taesd",
    "text_encoder",
    "controlnet",
    "upscaler",
    "unknown",
]
"""`checkpoint` is a diffusion model with its text encoders or VAE; the others are one part."""
_Tensors: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """What a model file is."""

    path: Path
    role: Role
    family: Family
    """"" if the header does not say."""
    variant: str = ""
    """inpaint, edit, fill, control, dev, schnell, klein, 3-medium, 3.5-medium, 3.5-large."""
    size_bytes: int = 0


def identify_model(path: Path) -> ModelFile:
    """Identify a safetensors, GGUF or PyTorch file; reads only its header, in milliseconds.

    PyTorch's own files (.ckpt, .pth) cannot be read without running them: role `unknown`.
    Raises ConfigError if the file does not exist or is incomplete.
    """
    header = read_model_header(path)
    role, family, variant = classify(header)
    return ModelFile(
        path=path, role=role, family=family, variant=variant, size_bytes=header.size_bytes
    )


def classify(header: ModelHeader) -> tuple[Role, Family, str]:
    """The role, the family and the variant of a file with this header."""
    tensors = header.tensors
    if is_lora(tensors):
        return "lora", _lora_family(header), ""
    if _any_starts_with(tensors, _CONTROLNET_PREFIXES):
        return "controlnet", _controlnet_family(tensors), ""
    network = tensors
    for prefix in _DIFFUSION_PREFIXES:
        inner = {n[len(prefix) :]: s for n, s in tensors.items() if n.startswith(prefix)}
        if inner:
            network = inner
            break
    found = _diffusion_model(network)
    if found is not None:
        is_whole = _any_starts_with(tensors, _COMPANION_PREFIXES)
        return "checkpoint" if is_whole else "diffusion_model", *found
    if _has(tensors, *_TEXT_ENCODERS) or any(map(_LANGUAGE_MODEL.match, tensors)):
        return "text_encoder", "", ""
    if _has(tensors, *_TAESD):
        return "taesd", "", ""
    if _has(tensors, *_QWEN_VAE):
        return "vae", "qwen-image", ""
    if channels := _input_size(tensors, *_VAE_DECODERS):
        return "vae", "flux2" if channels == _FLUX2_CHANNELS else "", ""
    is_compact = bool(tensors) and all(name.startswith("body.") for name in tensors)
    if is_compact or any(map(_UPSCALER.match, tensors)):
        return "upscaler", "", ""
    return "unknown", "", ""


# -- Diffusion models ------------------------------------------------------------------------------

_DIFFUSION_PREFIXES = ("model.diffusion_model.", "diffusion_model.")
_COMPANION_PREFIXES = (
    *("first_stage_model.", "vae.", "cond_stage_model.", "conditioner."),
    *("text_encoder.", "text_encoders."),
)
_FLUX1 = ("vector_in.in_layer.weight", "single_transformer_blocks.0.proj_mlp.weight")
_FLUX2 = (
    "double_stream_modulation_img.lin.weight",
    "double_stream_modulation_img.linear.weight",
)
_GUIDANCE = (
    "guidance_in.in_layer.weight",
    "time_text_embed.guidance_embedder.linear_1.weight",
    "time_guidance_embed.guidance_embedder.linear_1.weight",
)
"""Only models with distilled guidance have one of these: FLUX.1 [dev], FLUX.2 [dev]."""
_FLUX1_VARIANTS = {384: "fill", 128: "control"}
"""By the channels that go in."""
_SD3 = "joint_blocks.0.x_block.attn.qkv.weight"
_SD3_DIFFUSERS = ("pos_embed.proj.weight", "context_embedder.bias")
_SD3_LARGE = ("joint_blocks.37.x_block.attn.qkv.weight", "transformer_blocks.37.attn.to_q.weight")
_SD3_VARIANTS = {36864: "3-medium", 147456: "3.5-medium"}
"""By the number of positions in an image."""
_LUMINA = "cap_embedder.1.weight"
_LUMINA_2_WIDTH = 2304
"""Lumina 2's tensors have the same names as Z-Image's."""
_QWEN_IMAGE = "transformer_blocks.0.img_mod.1.weight"
_UNET = ("input_blocks.0.0.weight", "down_blocks.0.resnets.0.conv1.weight")
_UNET_VARIANTS = {9: "inpaint", 8: "edit"}
"""By the channels that go in: 4 of noise, 4 of an image, 1 of a mask."""
_UNET_LABELS = ("label_emb.0.0.weight", "add_embedding.linear_1.weight")
_UNET_CONTEXT = re.compile(r"transformer_blocks\.0\.attn2\.to_k\.weight$")
_CONTEXT_WIDTHS: Mapping[int, Family] = {
    768: "sd1",
    1024: "sd2",
    2048: "sdxl",
    1280: "sdxl-refiner",
}
"""The width of the text that a U-Net attends to."""


def _diffusion_model(network: _Tensors) -> tuple[Family, str] | None:
    """The family and the variant of a diffusion model; None for another file."""
    has_guidance = _has(network, *_GUIDANCE)
    if _has(network, *_FLUX2):
        return "flux2", "dev" if has_guidance else "klein"
    if _has(network, *_FLUX1):
        channels = _input_size(network, "img_in.weight", "x_embedder.weight")
        return "flux1", _FLUX1_VARIANTS.get(channels) or ("dev" if has_guidance else "schnell")
    if _SD3 in network or all(name in network for name in _SD3_DIFFUSERS):
        positions = _input_size(network, "pos_embed", "pos_embed.pos_embed")
        is_large = _has(network, *_SD3_LARGE)
        return "sd3", "3.5-large" if is_large else _SD3_VARIANTS.get(positions, "")
    if _LUMINA in network:
        is_lumina_2 = network[_LUMINA][:1] == (_LUMINA_2_WIDTH,)
        return ("", "lumina-2") if is_lumina_2 else ("z-image", "")
    if _QWEN_IMAGE in network:
        return "qwen-image", ""
    if _has(network, *_UNET):
        channels = _input_size(network, "input_blocks.0.0.weight", "conv_in.weight")
        return _unet_family(network), _UNET_VARIANTS.get(channels, "")
    return None


def _unet_family(network: _Tensors) -> Family:
    context = next(filter(_UNET_CONTEXT.search, network), "")
    usual: Family = "sdxl" if _has(network, *_UNET_LABELS) else ""
    return _CONTEXT_WIDTHS.get(_input_size(network, context), usual)


# -- Other parts -----------------------------------------------------------------------------------

_CONTROLNET_PREFIXES = ("control_model.", "controlnet_", "zero_convs.", "input_hint_block.")
_TEXT_ENCODERS = (
    "encoder.block.0.layer.0.SelfAttention.k.weight",
    "text_model.embeddings.token_embedding.weight",
    "embeddings.token_embedding.weight",
    "transformer.resblocks.0.attn.in_proj_weight",
    "enc.blk.0.attn_k.weight",
    "blk.0.attn_k.weight",
)
_LANGUAGE_MODEL = re.compile(
    r"(model\.)?((language|text)_model\.)*(model\.)?layers\.0\.self_attn\.k_proj\.weight$"
)
_TAESD = (
    "decoder.layers.0.weight",
    "decoder.layers.1.weight",
    "decoder.1.weight",
    "3.conv.0.weight",
)
_QWEN_VAE = ("decoder.middle.0.residual.0.gamma", "decoder.mid_block.resnets.0.norm1.gamma")
_VAE_DECODERS = (
    "decoder.conv_in.weight",
    "first_stage_model.decoder.conv_in.weight",
    "vae.decoder.conv_in.weight",
)
_FLUX2_CHANNELS = 32
_UPSCALER = re.compile(r"conv_first\.weight$|model\.1\.sub\.0\.|body\.0\.rdb1\.")


def _controlnet_family(tensors: _Tensors) -> Family:
    network = {name.removeprefix("control_model."): shape for name, shape in tensors.items()}
    if _QWEN_IMAGE in network:
        return "qwen-image"
    if _has(network, "controlnet_x_embedder.weight", "double_blocks.0.img_attn.qkv.weight"):
        return "flux1"
    if _has(network, "pos_embed.proj.weight", _SD3):
        return "sd3"
    return _unet_family(network)


# -- LoRAs -----------------------------------------------------------------------------------------

_LORA = re.compile(
    r"(^|\.)lora_(A|B|down|up|linear_layer|unet|te\d?)[._]|\.lora\.(down|up)\.|\.(lokr|hada)_w\d",
    re.MULTILINE,
)
_LORA_WORDS = ("lora", "lokr", "hada")
_DOWN = r"\.(lora_A|lora_down|lora\.down)\b"
_UP = r"\.(lora_B|lora_up|lora\.up)\b"
_DOT = r"[._]"
_ANY = r".{0,100}"
_LORA_UNET = re.compile(rf"attn2{_DOT}to_k{_ANY}{_DOWN}")
_LORA_FLUX2 = re.compile(
    rf"double_stream_modulation|single_transformer_blocks{_DOT}{_ANY}to_qkv_mlp_proj"
)
_LORA_FLUX = re.compile(rf"(single_transformer|single|double)_blocks{_DOT}")
_LORA_FLUX_SINGLE = re.compile(rf"single_blocks{_DOT}\d+{_DOT}linear1{_UP}")
_FLUX1_LINEAR = 21504
"""The outputs of a single block's first layer: 3 x 3072 + 12288; FLUX.2 has other sums."""
_LORA_LUMINA = re.compile(rf"(^|{_DOT})layers{_DOT}\d+{_DOT}attention{_DOT}{_ANY}{_DOWN}")
_Z_IMAGE_WIDTH = 3840
_LORA_QWEN = re.compile(rf"transformer_blocks{_DOT}\d+{_DOT}(img|txt)_(mod|mlp){_DOT}")
_LORA_ATTENTION = re.compile(rf"transformer_blocks{_DOT}\d+{_DOT}attn{_DOT}to_[qkv]{_DOWN}")
_ATTENTION_WIDTHS: Mapping[int, Family] = {1536: "sd3", 2432: "sd3", 3072: "qwen-image"}
_NOTES = ("modelspec.architecture", "ss_base_model_version")
_NOTE_WORDS: tuple[tuple[str, Family], ...] = (
    ("stable-diffusion-xl", "sdxl"),
    ("sdxl", "sdxl"),
    ("stable-diffusion-v1", "sd1"),
    ("sd_v1", "sd1"),
    ("stable-diffusion-v2", "sd2"),
    ("sd_v2", "sd2"),
    ("stable-diffusion-3", "sd3"),
    ("sd3", "sd3"),
    ("flux2", "flux2"),
    ("flux.2", "flux2"),
    ("flux-2", "flux2"),
    ("flux", "flux1"),
    ("z-image", "z-image"),
    ("zimage", "z-image"),
    ("qwen-image", "qwen-image"),
    ("qwen_image", "qwen-image"),
)


def is_lora(names: Iterable[str]) -> bool:
    """Whether these are the names of a LoRA's tensors."""
    text = "\n".join(names)  # all at once, and words first: there are thousands
    return any(word in text for word in _LORA_WORDS) and _LORA.search(text) is not None


def _lora_family(header: ModelHeader) -> Family:
    """The family by names and shapes, or else by the metadata; "" if it is unknown."""
    tensors = header.tensors
    family: Family = ""
    if shape := _find_shape(tensors, _LORA_UNET):
        width = _side(shape, 1)
        family = _CONTEXT_WIDTHS.get(width, "") if width != 1280 else ""
    elif any(map(_LORA_FLUX2.search, tensors)):
        family = "flux2"
    elif any(map(_LORA_FLUX.search, tensors)):
        shape = _find_shape(tensors, _LORA_FLUX_SINGLE)
        family = "flux2" if shape and _side(shape, 0) != _FLUX1_LINEAR else "flux1"
    elif shape := _find_shape(tensors, _LORA_LUMINA):
        family = "z-image" if _side(shape, 1) == _Z_IMAGE_WIDTH else ""
    elif any(map(_LORA_QWEN.search, tensors)):
        family = "qwen-image"
    else:
        width = _side(_find_shape(tensors, _LORA_ATTENTION), 1)
        is_joint = any("joint_blocks" in name for name in tensors)
        family = _ATTENTION_WIDTHS.get(width, "sd3" if is_joint else "")
    notes = " ".join(header.notes.get(name, "") for name in _NOTES).lower()
    return family or next((known for word, known in _NOTE_WORDS if word in notes), "")


# -- Names and shapes ------------------------------------------------------------------------------


def _any_starts_with(tensors: _Tensors, prefixes: tuple[str, ...]) -> bool:
    return any(name.startswith(prefixes) for name in tensors)


def _has(tensors: _Tensors, *names: str) -> bool:
    """Whether any of them is present."""
    return any(name in tensors for name in names)


def _input_size(tensors: _Tensors, *names: str) -> int:
    """The second side of the first of these that is present: usually its inputs; else 0."""
    return _side(next((tensors[name] for name in names if name in tensors), ()), 1)


def _find_shape(tensors: _Tensors, pattern: re.Pattern[str]) -> tuple[int, ...]:
    return next((shape for name, shape in tensors.items() if pattern.search(name)), ())


def _side(shape: tuple[int, ...], index: int) -> int:
    return shape[index] if len(shape) > index else 0
