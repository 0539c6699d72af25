"""The bodies that A1111's clients send: numbers as texts, null for defaults, keys of their own.

Keys that are not listed here are ignored, and neither answered nor logged: some clients send their
credentials along.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

_NOT_ECHOED = frozenset(
    ("init_images", "mask", "alwayson_scripts", "script_args", "override_settings", "extra_images")
)
"""Large, or of a form that is not known."""


class A1111Body(BaseModel):
    """What all bodies share."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_unset(cls, data: object) -> object:
        """Null and an empty text are as good as nothing."""
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None and value != ""}


class Txt2ImgBody(A1111Body):
    """A request for images."""

    prompt: str = ""
    negative_prompt: str = ""
    styles: tuple[str, ...] = ()
    infotext: str = Field("", description="Values for what the body leaves out.")
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0.0
    sampler_name: str = ""
    sampler_index: str = Field("", description="Another name of `sampler_name`.")
    scheduler: str = ""
    batch_size: int = Field(1, ge=1)
    n_iter: int = Field(1, ge=1)
    steps: int | None = None
    cfg_scale: float | None = None
    distilled_cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    denoising_strength: float | None = None
    clip_skip: int | None = None
    restore_faces: bool = False
    enable_hr: bool = False
    hr_scale: float = 2.0
    hr_upscaler: str = ""
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    override_settings: dict[str, Any] = Field(default_factory=dict)
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict)
    script_name: str = ""
    send_images: bool = True

    def echo(self) -> dict[str, Any]:
        """The body as answers repeat it."""
        return self.model_dump(mode="json", exclude=set(_NOT_ECHOED))


class Img2ImgBody(Txt2ImgBody):
    """A request to redraw an image, or the masked part of it."""

    init_images: tuple[str, ...] = Field((), description="In base64; the first one is used.")
    extra_images: tuple[str, ...] = Field((), description="Reference images, in base64.")
    mask: str = Field("", description="In base64; white areas are repainted.")
    mask_blur: int = 4
    mask_blur_x: int | None = None
    mask_blur_y: int | None = None
    inpainting_fill: int = 0
    inpaint_full_res: bool = Field(True, description="Whether only the masked part is redrawn.")
    inpaint_full_res_padding: int = Field(0, ge=0, le=4096)
    inpainting_mask_invert: int = 0
    resize_mode: int = Field(0, description="0 stretches, 1 crops, 2 fills.")


class ExtrasBody(A1111Body):
    """How to upscale images and restore faces."""

    resize_mode: int = Field(0, description="0 by a factor, 1 to a size.")
    upscaling_resize: float = 2.0
    upscaling_resize_w: int = Field(512, ge=1, le=16384)
    upscaling_resize_h: int = Field(512, ge=1, le=16384)
    upscaling_crop: bool = True
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: float = 0.0
    gfpgan_visibility: float = 0.0
    codeformer_visibility: float = 0.0
    codeformer_weight: float = Field(0.0, ge=0, le=1)
    upscale_first: bool = False


class ExtraSingleBody(ExtrasBody):
    """One image to upscale."""

    image: str = Field(min_length=1, description="In base64.")


class ExtraImageBody(A1111Body):
    """One of several images."""

    data: str = Field(min_length=1, description="In base64.")
    name: str = ""


class ExtraBatchBody(ExtrasBody):
    """Several images to upscale."""

    imageList: tuple[ExtraImageBody, ...] = Field(min_length=1, max_length=64)


class PngInfoBody(A1111Body):
    """An image whose metadata is read."""

    image: str = Field(min_length=1, description="In base64.")


class OptionsBody(A1111Body):
    """Options to change; all others are ignored."""

    sd_model_checkpoint: str = ""


class ControlUnit(A1111Body):
    """One unit of the ControlNet extension."""

    enabled: bool = True
    image: str | dict[str, Any] | None = None
    input_image: str = Field("", description="Another name of `image`.")
    module: str = "none"
    model: str = ""
    weight: float = 1.0
    guidance_start: float = 0.0
    guidance_end: float = 1.0


class DetectBody(A1111Body):
    """Images of which control images are made."""

    controlnet_module: str = "none"
    controlnet_input_images: tuple[str, ...] = Field((), max_length=16)
    controlnet_images: tuple[str, ...] = Field((), max_length=16)
