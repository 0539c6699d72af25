"""Complete pipelines of each family with random weights, a few megabytes each."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    ControlNetModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxControlNetModel,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

if TYPE_CHECKING:
    from pathlib import Path

_WIDTH = 32
_SD3 = {
    "sample_size": 32,
    "patch_size": 1,
    "in_channels": 16,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": _WIDTH,
    "caption_projection_dim": _WIDTH,
    "pooled_projection_dim": 2 * _WIDTH,
    "out_channels": 16,
}


def saved(family: str, folder: Path) -> Path:
    """The folder, with a pipeline of this family in it."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _MAKERS[family]().save_pretrained(folder)
    return folder


def saved_controlnet(family: str, pipeline: Path, folder: Path) -> Path:
    """The folder, with a control net for the pipeline's U-Net or transformer in it."""
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _CONTROLNETS[family](pipeline).save_pretrained(folder)
    return folder


def _of_unet(pipeline: Path) -> Any:
    unet = UNet2DConditionModel.from_pretrained(pipeline, subfolder="unet")
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16))
    read = net.controlnet_cond_embedding.conv_out
    return _awakened(net, *net.controlnet_down_blocks, net.controlnet_mid_block, read)


def _of_sd3(_: Path) -> Any:
    net = SD3ControlNetModel(**_SD3, num_layers=1)
    return _awakened(net, *net.controlnet_blocks, net.pos_embed_input.proj)


def _of_flux1(pipeline: Path) -> Any:
    transformer = FluxTransformer2DModel.from_pretrained(pipeline, subfolder="transformer")
    net = FluxControlNetModel.from_transformer(
        transformer, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2
    )
    return _awakened(net, *net.controlnet_blocks, net.controlnet_x_embedder)


def _awakened(net: Any, *layers: Any) -> Any:
    """A new control net is all zeros, and without effect."""
    for layer in layers:
        torch.nn.init.normal_(layer.weight, std=0.5)
    return net


_CONTROLNETS = {"sd1": _of_unet, "sdxl": _of_unet, "sd3": _of_sd3, "flux1": _of_flux1}


def saved_lora(pipeline: Path, file: Path) -> Path:
    """The file, with an adapter for the pipeline's U-Net or transformer in it."""
    from diffusers import DiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(2)
    pipe = DiffusionPipeline.from_pretrained(pipeline)
    name = "unet" if hasattr(pipe, "unet") else "transformer"
    net = getattr(pipe, name)
    net.add_adapter(
        LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False)
    )
    layers = {f"{name}_lora_layers": get_peft_model_state_dict(net)}
    pipe.save_lora_weights(file.parent, weight_name=file.name, **layers)
    return file


def _sd1() -> Any:
    return StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        unet=_unet(cross_attention_dim=_WIDTH),
        scheduler=_euler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _broken() -> Any:
    """A VAE that can't read what the U-Net writes."""
    pipe = _sd1()
    pipe.register_modules(vae=_vae(8))
    return pipe


def _sdxl() -> Any:
    second = CLIPTextModelWithProjection(_clip_config())
    unet = _unet(
        cross_attention_dim=2 * _WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + _WIDTH,
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(4),
        text_encoder=CLIPTextModel(_clip_config()),
        text_encoder_2=second,
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=unet,
        scheduler=_euler(),
    )


def _sd3() -> Any:
    transformer = SD3Transformer2DModel(**_SD3, num_layers=2)  # the last takes no control
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(16, shift_factor=0.0609, scaling_factor=1.5305),
        text_encoder=CLIPTextModelWithProjection(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config()),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=T5EncoderModel(_t5_config()),
        tokenizer_3=_t5_tokenizer(),
    )


def _flux1() -> Any:
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_WIDTH,
        pooled_projection_dim=_WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_vae(16, shift_factor=0.1159, scaling_factor=0.3611),
        text_encoder=CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=T5EncoderModel(_t5_config()),
        tokenizer_2=_t5_tokenizer(),
        transformer=transformer,
    )


def _flux2() -> Any:
    """The base, whose cfg counts; its text encoder gives three of its 28 layers."""
    transformer = Flux2Transformer2DModel(
        in_channels=32,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    vae = AutoencoderKLFlux2(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=8,
        norm_num_groups=8,
    )
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=Qwen3ForCausalLM(_qwen_config()),
        tokenizer=_qwen_tokenizer(),
        transformer=transformer,
        is_distilled=False,
    )


def _qwen_config() -> Any:
    return Qwen3Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=260,
    )


def _qwen_tokenizer() -> Any:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    words = [*bytes_to_unicode().values(), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2Tokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        model_max_length=512,
        pad_token="<|endoftext|>",
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    return tokenizer


def _vae(channels: int, **numbers: float) -> Any:
    is_flow = "shift_factor" in numbers
    return AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=channels,
        norm_num_groups=8,
        use_quant_conv=not is_flow,
        use_post_quant_conv=not is_flow,
        **numbers,
    )


def _unet(**more: Any) -> Any:
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=32,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        **more,
    )


def _euler() -> Any:
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )


def _clip_config() -> Any:
    return CLIPTextConfig(
        hidden_size=_WIDTH,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        projection_dim=_WIDTH,
        vocab_size=514,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )


def _t5_config() -> Any:
    return T5Config(vocab_size=128, d_model=_WIDTH, d_ff=37, d_kv=8, num_layers=2, num_heads=4)


def _clip_tokenizer() -> Any:
    """Letter by letter: each byte, and each byte that ends a word."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(chr(code), -3.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=77)


_MAKERS = {
    "sd1": _sd1,
    "broken": _broken,
    "sdxl": _sdxl,
    "sd3": _sd3,
    "flux1": _flux1,
    "flux2": _flux2,
}
