"""Checkpoint: which part of which family of models a file of weights is, from its header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
_Tensors = Mapping[str, tuple[int, ...]]
_Found = tuple[Family, str] | None

_PREFIXES = ("model.diffusion_model.", "diffusion_model.")
_COMPANIONS = (
    *("first_stage_model.", "vae.", "cond_stage_model.", "conditioner."),
    *("text_encoder.", "text_encoders."),
)
_CONTROLNETS = ("control_model.", "controlnet_", "zero_convs.", "input_hint_block.")
_ATTENDS = re.compile(r"transformer_blocks\.0\.attn2\.to_k\.weight$")
_CONTEXTS: Mapping[int, Family] = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
"""How wide the text is that a U-Net attends to."""
_UNET_VARIANTS = {9: "inpaint", 8: "edit"}
"""By the channels that go in: 4 of noise, 4 of a picture, 1 of a mask."""
_FLUX_VARIANTS = {384: "fill", 128: "control"}
_SD3_VARIANTS = {36864: "3-medium", 147456: "3.5-medium"}
"""By how many places a picture has at most."""
_SD3_LARGE = ("joint_blocks.37.x_block.attn.qkv.weight", "transformer_blocks.37.attn.to_q.weight")
_FLUX_1 = ("vector_in.in_layer.weight", "single_transformer_blocks.0.proj_mlp.weight")
_FLUX_1_GUIDANCE = "time_text_embed.guidance_embedder.linear_1.weight"
_FLUX_2 = (
    "double_stream_modulation_img.lin.weight",
    "double_stream_modulation_img.linear.weight",
)
_FLUX_2_GUIDANCE = "time_guidance_embed.guidance_embedder.linear_1.weight"
_LUMINA_2 = 2304
"""As wide as Lumina 2 is, whose tensors are called as Z-Image's."""
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
_INNER_DECODERS = ("first_stage_model.decoder.conv_in.weight", "vae.decoder.conv_in.weight")
_UPSCALER = re.compile(r"conv_first\.weight$|model\.1\.sub\.0\.|body\.0\.rdb1\.")
_FLUX_2_CHANNELS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """What one file of weights is."""

    path: Path
    role: Role
    family: Family
    """`""` where the header doesn't tell."""
    variant: str = ""
    """inpaint, edit, fill, control, dev, schnell, klein, 3-medium, 3.5-medium, 3.5-large."""
    size_bytes: int = 0


def identify_model(path: Path) -> ModelFile:
    """What a safetensors, GGUF or PyTorch file is; reads only its header, in milliseconds.

    PyTorch's own files (.ckpt, .pth) can't be looked into without running them: role `unknown`.
    Raises ConfigError with a sentence where there is no such file, and where it isn't whole.
    """
    weights = read_model_header(path)
    role, family, variant = classify(weights)
    return ModelFile(
        path=path, role=role, family=family, variant=variant, size_bytes=weights.size_bytes
    )


def classify(weights: ModelHeader) -> tuple[Role, Family, str]:
    """The role, the family and the variant of what a header lists."""
    tensors = weights.tensors
    if is_lora(tensors):
        return "lora", family_of_lora(weights), ""
    if _any_begins(tensors, _CONTROLNETS):
        return "controlnet", _of_controlnet(tensors), ""
    network = _without_prefix(tensors)
    for known in (_flux2, _flux1, _sd3, _lumina, _qwen_image, _unet):
        if found := known(network):
            is_whole = _any_begins(tensors, _COMPANIONS)
            return "checkpoint" if is_whole else "diffusion_model", *found
    return _part(tensors)


def _without_prefix(tensors: _Tensors) -> _Tensors:
    """The diffusion model's own tensors, where they stand among those of its companions."""
    for prefix in _PREFIXES:
        inner = {n[len(prefix) :]: s for n, s in tensors.items() if n.startswith(prefix)}
        if inner:
            return inner
    return tensors


def _flux2(network: _Tensors) -> _Found:
    if not _has(network, *_FLUX_2):
        return None
    has_guidance = _has(network, "guidance_in.in_layer.weight", _FLUX_2_GUIDANCE)
    return "flux2", "dev" if has_guidance else "klein"


def _flux1(network: _Tensors) -> _Found:
    if not _has(network, *_FLUX_1):
        return None
    channels = _inputs(network, "img_in.weight", "x_embedder.weight")
    has_guidance = _has(network, "guidance_in.in_layer.weight", _FLUX_1_GUIDANCE)
    return "flux1", _FLUX_VARIANTS.get(channels) or ("dev" if has_guidance else "schnell")


def _sd3(network: _Tensors) -> _Found:
    is_diffusers = _has(network, "pos_embed.proj.weight") and _has(network, "context_embedder.bias")
    if not is_diffusers and not _has(network, "joint_blocks.0.x_block.attn.qkv.weight"):
        return None
    if _has(network, *_SD3_LARGE):
        return "sd3", "3.5-large"
    return "sd3", _SD3_VARIANTS.get(_inputs(network, "pos_embed", "pos_embed.pos_embed"), "")


def _lumina(network: _Tensors) -> _Found:
    shape = network.get("cap_embedder.1.weight")
    if shape is None:
        return None
    return ("", "lumina-2") if shape[:1] == (_LUMINA_2,) else ("z-image", "")


def _qwen_image(network: _Tensors) -> _Found:
    return ("qwen-image", "") if _has(network, "transformer_blocks.0.img_mod.1.weight") else None


def _unet(network: _Tensors) -> _Found:
    if not _has(network, "input_blocks.0.0.weight", "down_blocks.0.resnets.0.conv1.weight"):
        return None
    channels = _inputs(network, "input_blocks.0.0.weight", "conv_in.weight")
    return _family_of_unet(network), _UNET_VARIANTS.get(channels, "")


def _family_of_unet(network: _Tensors) -> Family:
    has_labels = _has(network, "label_emb.0.0.weight", "add_embedding.linear_1.weight")
    return _CONTEXTS.get(_context(network)) or ("sdxl" if has_labels else "")


def _of_controlnet(tensors: _Tensors) -> Family:
    network = {name.removeprefix("control_model."): shape for name, shape in tensors.items()}
    if _has(network, "transformer_blocks.0.img_mod.1.weight"):
        return "qwen-image"
    if _has(network, "controlnet_x_embedder.weight", "double_blocks.0.img_attn.qkv.weight"):
        return "flux1"
    if _has(network, "pos_embed.proj.weight", "joint_blocks.0.x_block.attn.qkv.weight"):
        return "sd3"
    return _family_of_unet(network)


def _part(tensors: _Tensors) -> tuple[Role, Family, str]:
    """What stands beside a diffusion model."""
    if _has(tensors, *_TEXT_ENCODERS) or any(map(_LANGUAGE_MODEL.match, tensors)):
        return "text_encoder", "", ""
    if _has(tensors, *_TAESD):
        return "taesd", "", ""
    if _has(
        tensors, "decoder.middle.0.residual.0.gamma", "decoder.mid_block.resnets.0.norm1.gamma"
    ):
        return "vae", "qwen-image", ""
    if channels := _inputs(tensors, "decoder.conv_in.weight", *_INNER_DECODERS):
        return "vae", "flux2" if channels == _FLUX_2_CHANNELS else "", ""
    if _is_upscaler(tensors):
        return "upscaler", "", ""
    return "unknown", "", ""


def _is_upscaler(tensors: _Tensors) -> bool:
    is_compact = bool(tensors) and all(name.startswith("body.") for name in tensors)
    return is_compact or any(map(_UPSCALER.match, tensors))


def _any_begins(tensors: _Tensors, prefixes: tuple[str, ...]) -> bool:
    return any(name.startswith(prefixes) for name in tensors)


def _has(tensors: _Tensors, *names: str) -> bool:
    """Whether any of them is there."""
    return any(name in tensors for name in names)


def _inputs(tensors: _Tensors, *names: str) -> int:
    """The second side of the first of these that is there, as a rule what goes in; else 0."""
    shape = next((tensors[name] for name in names if name in tensors), ())
    return shape[1] if len(shape) > 1 else 0


def _context(network: _Tensors) -> int:
    name = next(filter(_ATTENDS.search, network), "")
    return _inputs(network, name)


_LORA = re.compile(
    r"(^|\.)lora_(A|B|down|up|linear_layer|unet|te\d?)[._]|\.lora\.(down|up)\.|\.(lokr|hada)_w\d",
    re.MULTILINE,
)
_WORDS = ("lora", "lokr", "hada")
_DOWN = r"\.(lora_A|lora_down|lora\.down)\b"
_UP = r"\.(lora_B|lora_up|lora\.up)\b"
_DOT = r"[._]"
_ANY = r".{0,100}"

_UNET = re.compile(rf"attn2{_DOT}to_k{_ANY}{_DOWN}")
_FLUX_2_loras = re.compile(
    rf"double_stream_modulation|single_transformer_blocks{_DOT}{_ANY}to_qkv_mlp_proj"
)
_FLUX_SINGLE = re.compile(rf"single_blocks{_DOT}\d+{_DOT}linear1{_UP}")
_FLUX = re.compile(rf"(single_transformer|single|double)_blocks{_DOT}")
_LUMINA = re.compile(rf"(^|{_DOT})layers{_DOT}\d+{_DOT}attention{_DOT}{_ANY}{_DOWN}")
_QWEN = re.compile(rf"transformer_blocks{_DOT}\d+{_DOT}(img|txt)_(mod|mlp){_DOT}")
_ATTENDS_loras = re.compile(rf"transformer_blocks{_DOT}\d+{_DOT}attn{_DOT}to_[qkv]{_DOWN}")

_CONTEXTS_loras: Mapping[int, Family] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
_FLUX_1_LINEAR = 21504
"""The outputs of a single block's first layer: 3 x 3072 + 12288; FLUX.2 has other sums."""
_Z_IMAGE_WIDTH = 3840
_WIDTHS: Mapping[int, Family] = {1536: "sd3", 2432: "sd3", 3072: "qwen-image"}
_SAID: tuple[tuple[str, Family], ...] = (
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
_NOTES = ("modelspec.architecture", "ss_base_model_version")


def is_lora(names: Iterable[str]) -> bool:
    """Whether these are names of a low-rank adapter's tensors."""
    text = "\n".join(names)  # at once, and words first: there are thousands
    return any(word in text for word in _WORDS) and _LORA.search(text) is not None


def family_of_lora(weights: ModelHeader) -> Family:
    """By the names and shapes of its tensors, else by what it says of itself; "" is unknown."""
    return _by_tensors(weights.tensors) or _by_notes(weights.notes)


def _by_tensors(tensors: Mapping[str, tuple[int, ...]]) -> Family:
    if shape := _shape(tensors, _UNET):
        return _CONTEXTS_loras.get(_side(shape, 1), "")
    if any(map(_FLUX_2_loras.search, tensors)):
        return "flux2"
    if any(map(_FLUX.search, tensors)):
        return _flux(tensors)
    if shape := _shape(tensors, _LUMINA):
        return "z-image" if _side(shape, 1) == _Z_IMAGE_WIDTH else ""
    if any(map(_QWEN.search, tensors)):
        return "qwen-image"
    return _WIDTHS.get(_side(_shape(tensors, _ATTENDS_loras), 1), "") or _joint(tensors)


def _flux(tensors: Mapping[str, tuple[int, ...]]) -> Family:
    if shape := _shape(tensors, _FLUX_SINGLE):
        return "flux1" if _side(shape, 0) == _FLUX_1_LINEAR else "flux2"
    return "flux1"


def _joint(tensors: Mapping[str, tuple[int, ...]]) -> Family:
    return "sd3" if any("joint_blocks" in name for name in tensors) else ""


def _shape(tensors: Mapping[str, tuple[int, ...]], pattern: re.Pattern[str]) -> tuple[int, ...]:
    return next((shape for name, shape in tensors.items() if pattern.search(name)), ())


def _side(shape: tuple[int, ...], index: int) -> int:
    return shape[index] if len(shape) > index else 0


def _by_notes(notes: Mapping[str, str]) -> Family:
    said = " ".join(notes.get(name, "") for name in _NOTES).lower()
    return next((family for word, family in _SAID if word in said), "")
