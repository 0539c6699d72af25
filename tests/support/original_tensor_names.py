"""Write a tiny SD 1 as one file with the tensor names of its original authors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from pathlib import Path

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET = (
    (r"conv_in\.", "input_blocks.0.0."),
    (r"time_embedding\.linear_1\.", "time_embed.0."),
    (r"time_embedding\.linear_2\.", "time_embed.2."),
    (r"conv_norm_out\.", "out.0."),
    (r"conv_out\.", "out.2."),
    (r"down_blocks\.0\.resnets\.0\.", "input_blocks.1.0."),
    (r"down_blocks\.0\.downsamplers\.0\.conv\.", "input_blocks.2.0.op."),
    (r"down_blocks\.1\.resnets\.0\.", "input_blocks.3.0."),
    (r"down_blocks\.1\.attentions\.0\.", "input_blocks.3.1."),
    (r"mid_block\.resnets\.0\.", "middle_block.0."),
    (r"mid_block\.attentions\.0\.", "middle_block.1."),
    (r"mid_block\.resnets\.1\.", "middle_block.2."),
    (r"up_blocks\.0\.resnets\.(\d)\.", r"output_blocks.\1.0."),
    (r"up_blocks\.0\.attentions\.(\d)\.", r"output_blocks.\1.1."),
    (r"up_blocks\.0\.upsamplers\.0\.", "output_blocks.1.2."),
    (r"up_blocks\.1\.resnets\.0\.", "output_blocks.2.0."),
    (r"up_blocks\.1\.resnets\.1\.", "output_blocks.3.0."),
)
_VAE = (
    (r"down_blocks\.(\d)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.0\.resnets\.", "up.1.block."),
    (r"up_blocks\.1\.resnets\.", "up.0.block."),
    (r"up_blocks\.0\.upsamplers\.0\.", "up.1.upsample."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"conv_norm_out\.", "norm_out."),
    (r"conv_shortcut\.", "nin_shortcut."),
    (r"group_norm\.", "norm."),
    (r"to_q\.", "q."),
    (r"to_k\.", "k."),
    (r"to_v\.", "v."),
    (r"to_out\.0\.", "proj_out."),
)


def save_as_one_file(pipeline: Path, file: Path) -> Path:
    """The file, with the U-Net, the VAE and the text encoder of a pipeline's folder in it."""
    unet = load_file(pipeline / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(pipeline / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(pipeline / "text_encoder" / "model.safetensors")
    inner = "cond_stage_model.transformer.text_model."
    whole = {f"model.diffusion_model.{_of_unet(name)}": value for name, value in unet.items()}
    whole |= {f"first_stage_model.{_renamed(name, _VAE)}": value for name, value in vae.items()}
    whole |= {inner + name.removeprefix("text_model."): value for name, value in text.items()}
    save_file(whole, file)
    return file


def _of_unet(name: str) -> str:
    found = _renamed(name, _UNET)
    if ".resnets." not in name:
        return found
    return re.sub(r"\.(\w+)\.(weight|bias)$", lambda m: f".{_RESNET[m[1]]}.{m[2]}", found)


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in table:
        name = re.sub(pattern, ours, name)
    return name
