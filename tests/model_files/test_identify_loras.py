"""The family of a LoRA follows from its layers, or from its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagen.model_files.headers import ModelHeader
from imagen.model_files.identify import classify

if TYPE_CHECKING:
    from collections.abc import Mapping


def _seen(tensors: Mapping[str, tuple[int, ...]], notes: Mapping[str, str] | None = None) -> str:
    weights = ModelHeader(format="safetensors", tensors=tensors, notes=notes or {}, size_bytes=1)
    return " ".join(classify(weights))


@pytest.mark.parametrize(
    ("name", "shape", "family"),
    [
        pytest.param(
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            (16, 768),
            "sd1",
            id="kohya's SD 1",
        ),
        pytest.param(
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
            (16, 2048),
            "sdxl",
            id="kohya's SDXL",
        ),
        pytest.param(
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
            (16, 1024),
            "sd2",
            id="peft's SD 2",
        ),
        pytest.param(
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora.down.weight",
            (16, 2048),
            "sdxl",
            id="diffusers' SDXL",
        ),
        pytest.param(
            "lora_unet_single_blocks_0_linear1.lora_up.weight", (21504, 16), "flux1", id="FLUX.1"
        ),
        pytest.param(
            "diffusion_model.single_blocks.0.linear1.lora_B.weight",
            (27648, 16),
            "flux2",
            id="FLUX.2 klein",
        ),
        pytest.param(
            "transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight",
            (16, 3072),
            "flux1",
            id="diffusers' FLUX.1",
        ),
        pytest.param(
            "transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj.lora_A.weight",
            (16, 3072),
            "flux2",
            id="diffusers' FLUX.2",
        ),
        pytest.param(
            "transformer.transformer_blocks.0.attn.to_k.lora_A.weight", (4, 1536), "sd3", id="SD 3"
        ),
        pytest.param(
            "lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight",
            (4, 1536),
            "sd3",
            id="joint",
        ),
        pytest.param(
            "transformer_blocks.0.attn.to_k.lora_A.default.weight",
            (4, 3072),
            "qwen-image",
            id="Qwen-Image",
        ),
        pytest.param(
            "transformer.transformer_blocks.0.img_mlp.net.2.lora_A.weight",
            (4, 12288),
            "qwen-image",
            id="Qwen-Image's other layers",
        ),
        pytest.param(
            "diffusion_model.layers.0.attention.to_k.lora_A.weight", (4, 3840), "z-image", id="Z"
        ),
        pytest.param("lora_te1_text_model_encoder.lora_down.weight", (4, 768), "", id="unknown"),
    ],
)
def test_lora_family_is_known_by_its_layers(name: str, shape: tuple[int, ...], family: str) -> None:
    assert _seen({name: shape}) == f"lora {family} "


@pytest.mark.parametrize(
    ("notes", "family"),
    [
        pytest.param({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl", id="a trainer's note"),
        pytest.param({"ss_base_model_version": "sd_v1"}, "sd1", id="an older note"),
        pytest.param(
            {"modelspec.architecture": "flux-1-dev/lora"}, "flux1", id="a standard's note"
        ),
        pytest.param({"ss_base_model_version": "flux2-klein"}, "flux2", id="the newer one"),
        pytest.param({"title": "flux-like"}, "", id="a title proves nothing"),
    ],
)
def test_lora_with_unknown_layers_is_identified_by_metadata(
    notes: dict[str, str], family: str
) -> None:
    assert _seen({"lora_unet_x.lora_down.weight": (4, 4)}, notes) == f"lora {family} "
