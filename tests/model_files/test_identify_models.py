"""Role, family and variant of a model follow from the names and shapes in its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.model_file_samples import SD1, VAE, gguf, safetensors, write_file

from imagen.model_files.headers import ModelHeader
from imagen.model_files.identify import ModelFile, classify, identify_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WHOLE = "model.diffusion_model."
_ATTENDS = "transformer_blocks.0.attn2.to_k.weight"
_FLUX: dict[str, tuple[int, ...]] = {
    "vector_in.in_layer.weight": (3072, 768),
    "img_in.weight": (3072, 64),
}
_GUIDED: dict[str, tuple[int, ...]] = {"guidance_in.in_layer.weight": (3072, 256)}
_DIFFUSERS_FLUX: dict[str, tuple[int, ...]] = {
    "single_transformer_blocks.0.proj_mlp.weight": (12288, 3072)
}
_SD3: dict[str, tuple[int, ...]] = {"joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536)}
_UNET: dict[str, tuple[int, ...]] = {
    "conv_in.weight": (320, 4, 3, 3),
    "down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3),
}
_DOWN = f"down_blocks.1.attentions.0.{_ATTENDS}"


def _seen(tensors: Mapping[str, tuple[int, ...]]) -> str:
    weights = ModelHeader(format="safetensors", tensors=tensors, notes={}, size_bytes=1)
    return " ".join(classify(weights))


def test_identified_model_has_its_size(tmp_path: Path) -> None:
    path = write_file(tmp_path / "dream.safetensors", safetensors(SD1 | VAE))
    assert identify_model(path) == ModelFile(
        path=path, role="checkpoint", family="sd1", variant="", size_bytes=path.stat().st_size
    )


def test_gguf_file_is_identified_by_the_same_names(tmp_path: Path) -> None:
    path = write_file(tmp_path / "flux.gguf", gguf(_FLUX | _GUIDED))
    checkpoint = identify_model(path)
    assert (checkpoint.role, checkpoint.family, checkpoint.variant) == (
        "diffusion_model",
        "flux1",
        "dev",
    )


def test_pytorch_file_is_unknown(tmp_path: Path) -> None:
    path = write_file(tmp_path / "upscaler.pth", b"\x80\x02}q\x00.")
    assert identify_model(path).role == "unknown"


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        pytest.param(SD1 | VAE, "checkpoint sd1 ", id="SD 1"),
        pytest.param(SD1, "diffusion_model sd1 ", id="SD 1 without companions"),
        pytest.param(
            {
                f"{_WHOLE}input_blocks.0.0.weight": (320, 9, 3, 3),
                f"{_WHOLE}input_blocks.1.1.{_ATTENDS}": (320, 768),
            },
            "diffusion_model sd1 inpaint",
            id="SD 1 for inpainting",
        ),
        pytest.param(
            {"input_blocks.0.0.weight": (1, 8, 3, 3), f"input_blocks.1.1.{_ATTENDS}": (1, 768)},
            "diffusion_model sd1 edit",
            id="InstructPix2Pix",
        ),
        pytest.param(
            {"input_blocks.0.0.weight": (1, 4, 3, 3), f"input_blocks.2.1.{_ATTENDS}": (1, 1024)},
            "diffusion_model sd2 ",
            id="SD 2",
        ),
        pytest.param(
            {
                f"{_WHOLE}input_blocks.0.0.weight": (1, 4, 3, 3),
                f"{_WHOLE}input_blocks.4.1.{_ATTENDS}": (1, 2048),
                "conditioner.embedders.1.model.ln_final.weight": (1,),
            },
            "checkpoint sdxl ",
            id="SDXL",
        ),
        pytest.param(
            {
                "input_blocks.0.0.weight": (1, 4, 3, 3),
                f"input_blocks.4.1.{_ATTENDS}": (1, 1280),
                "label_emb.0.0.weight": (1, 2560),
            },
            "diffusion_model sdxl-refiner ",
            id="SDXL's refiner",
        ),
        pytest.param(
            {"input_blocks.0.0.weight": (1, 4, 3, 3), "label_emb.0.0.weight": (1, 2816)},
            "diffusion_model sdxl ",
            id="SDXL by its labels",
        ),
        pytest.param(_UNET | {_DOWN: (1, 768)}, "diffusion_model sd1 ", id="SD 1, diffusers"),
        pytest.param(
            _UNET | {_DOWN: (1, 2048), "add_embedding.linear_1.weight": (1, 2816)},
            "diffusion_model sdxl ",
            id="SDXL, diffusers",
        ),
        pytest.param(
            _UNET | {_DOWN: (1, 32)}, "diffusion_model  ", id="a U-Net of no known family"
        ),
        pytest.param(_FLUX, "diffusion_model flux1 schnell", id="FLUX.1 schnell"),
        pytest.param(_FLUX | _GUIDED, "diffusion_model flux1 dev", id="FLUX.1 dev"),
        pytest.param(
            _FLUX | {"img_in.weight": (3072, 384)}, "diffusion_model flux1 fill", id="FLUX.1 Fill"
        ),
        pytest.param(
            _FLUX | {"img_in.weight": (3072, 128)},
            "diffusion_model flux1 control",
            id="FLUX.1 Canny and Depth",
        ),
        pytest.param(
            {f"{_WHOLE}{n}": s for n, s in _FLUX.items()}
            | {"vae.decoder.conv_in.weight": (512, 16, 3, 3)},
            "checkpoint flux1 schnell",
            id="FLUX.1 with its companions",
        ),
        pytest.param(
            _DIFFUSERS_FLUX | {"x_embedder.weight": (3072, 64)},
            "diffusion_model flux1 schnell",
            id="FLUX.1 schnell, diffusers",
        ),
        pytest.param(
            _DIFFUSERS_FLUX
            | {"time_text_embed.guidance_embedder.linear_1.weight": (3072, 256)}
            | {"x_embedder.weight": (3072, 64)},
            "diffusion_model flux1 dev",
            id="FLUX.1 dev, diffusers",
        ),
        pytest.param(
            {"double_stream_modulation_img.lin.weight": (1, 1), "img_in.weight": (3072, 128)},
            "diffusion_model flux2 klein",
            id="FLUX.2 klein",
        ),
        pytest.param(
            {"double_stream_modulation_img.lin.weight": (1, 1)} | _GUIDED,
            "diffusion_model flux2 dev",
            id="FLUX.2 dev",
        ),
        pytest.param(
            {"double_stream_modulation_img.linear.weight": (1, 1)},
            "diffusion_model flux2 klein",
            id="FLUX.2 klein, diffusers",
        ),
        pytest.param(
            _SD3 | {"pos_embed": (1, 36864, 1536)}, "diffusion_model sd3 3-medium", id="SD 3"
        ),
        pytest.param(
            _SD3 | {"pos_embed": (1, 147456, 1536)},
            "diffusion_model sd3 3.5-medium",
            id="SD 3.5 medium",
        ),
        pytest.param(
            _SD3
            | {"joint_blocks.37.x_block.attn.qkv.weight": (7296, 2432)}
            | {"pos_embed": (1, 36864, 2432)},
            "diffusion_model sd3 3.5-large",
            id="SD 3.5 large",
        ),
        pytest.param(
            {"pos_embed.proj.weight": (1, 16, 2, 2), "context_embedder.bias": (1,)}
            | {"pos_embed.pos_embed": (1, 36864, 1536)},
            "diffusion_model sd3 3-medium",
            id="SD 3, diffusers",
        ),
        pytest.param(
            {"cap_embedder.1.weight": (3840, 2560)}, "diffusion_model z-image ", id="Z-Image"
        ),
        pytest.param(
            {"cap_embedder.1.weight": (2304, 2304)}, "diffusion_model  lumina-2", id="Lumina 2"
        ),
        pytest.param(
            {"transformer_blocks.0.img_mod.1.weight": (18432, 3072)},
            "diffusion_model qwen-image ",
            id="Qwen-Image",
        ),
        pytest.param(VAE, "vae  ", id="a VAE inside nothing"),
        pytest.param({"decoder.conv_in.weight": (512, 16, 3, 3)}, "vae  ", id="a VAE"),
        pytest.param(
            {"decoder.conv_in.weight": (512, 32, 3, 3)}, "vae flux2 ", id="the VAE of FLUX.2"
        ),
        pytest.param(
            {"decoder.middle.0.residual.0.gamma": (384, 1, 1, 1)},
            "vae qwen-image ",
            id="the VAE of Qwen-Image",
        ),
        pytest.param({"decoder.layers.1.weight": (64, 64, 3, 3)}, "taesd  ", id="TAESD"),
        pytest.param({"1.weight": (64, 4, 3, 3), "3.conv.0.weight": (1, 1)}, "taesd  ", id="TAE"),
        pytest.param(
            {"encoder.block.0.layer.0.SelfAttention.k.weight": (1, 1)}, "text_encoder  ", id="T5"
        ),
        pytest.param(
            {"text_model.embeddings.token_embedding.weight": (49408, 768)},
            "text_encoder  ",
            id="CLIP",
        ),
        pytest.param(
            {"embeddings.token_embedding.weight": (49408, 768)}, "text_encoder  ", id="newer CLIP"
        ),
        pytest.param(
            {"model.layers.0.self_attn.k_proj.weight": (1024, 2560)}, "text_encoder  ", id="Qwen"
        ),
        pytest.param(
            {"model.language_model.layers.0.self_attn.k_proj.weight": (1, 1)},
            "text_encoder  ",
            id="Qwen with sight",
        ),
        pytest.param({"enc.blk.0.attn_k.weight": (1, 1)}, "text_encoder  ", id="T5 as GGUF"),
        pytest.param({"conv_first.weight": (64, 3, 3, 3)}, "upscaler  ", id="Real-ESRGAN"),
        pytest.param(
            {"model.0.weight": (1,), "model.1.sub.0.RDB1.conv1.0.weight": (32, 64, 3, 3)},
            "upscaler  ",
            id="ESRGAN",
        ),
        pytest.param(
            {"body.0.weight": (64, 3, 3, 3), "body.1.weight": (64,)}, "upscaler  ", id="c"
        ),
        pytest.param(
            {"control_model.input_blocks.0.0.weight": (1, 4, 3, 3)}
            | {f"control_model.input_blocks.1.1.{_ATTENDS}": (1, 768)},
            "controlnet sd1 ",
            id="control net of SD 1",
        ),
        pytest.param(
            {"controlnet_cond_embedding.conv_in.weight": (1,), _DOWN: (1, 2048)},
            "controlnet sdxl ",
            id="control net of SDXL",
        ),
        pytest.param(
            {"controlnet_blocks.0.weight": (1, 1), "controlnet_x_embedder.weight": (1, 64)},
            "controlnet flux1 ",
            id="control net of FLUX.1",
        ),
        pytest.param(
            {"controlnet_blocks.0.weight": (1, 1), "pos_embed.proj.weight": (1, 16, 2, 2)},
            "controlnet sd3 ",
            id="control net of SD 3",
        ),
        pytest.param({"something.else": (1,)}, "unknown  ", id="something else"),
        pytest.param({}, "unknown  ", id="nothing"),
    ],
)
def test_model_is_identified_by_its_tensors(tensors: dict[str, tuple[int, ...]], said: str) -> None:
    assert _seen(tensors) == said
