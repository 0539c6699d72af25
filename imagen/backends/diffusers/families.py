"""What diffusers has for each family of models: its pipelines, sizes and usual values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.request import Task

Job = Literal[
    "text", "image", "inpaint", "edit", "control text", "control image", "control inpaint"
]
"""What a pipeline begins with, and whether control pictures steer it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family, as diffusers runs it."""

    name: str
    pipelines: Mapping[Job, str]
    """The class of diffusers that does each job."""
    multiple_of: int = 16
    side: int = 1024
    """Pixels of its usual square."""
    steps: int = 28
    cfg: float = 7.0
    cfg_key: str = "guidance_scale"
    """What diffusers calls the classifier-free guidance of this family."""
    guidance: float | None = None
    """The guidance distilled into it, where there is one."""
    is_flow: bool = True
    dtype: str = "bfloat16"
    """The kind of numbers it is at ease with on a graphics card."""
    network: str = "SD3Transformer2DModel"
    """The class of its diffusion model."""
    control_network: str = "ControlNetModel"
    """The class of its control nets."""
    without_cfg: tuple[Job, ...] = ()
    """Jobs whose pipelines take neither a cfg nor a negative prompt."""
    has_second_prompt: bool = True
    has_negative: bool = True
    has_variations: bool = True
    """Whether it is known how its noise is laid out."""
    latents: str = ""
    """Whose linear approximation shows its unfinished pictures."""

    def job(self, task: Task, *, is_steered: bool) -> Job | None:
        """What is to be done for this task; None where the family can't."""
        job = _JOBS.get(task)
        if job is not None and (is_steered or task == "control"):
            job = _STEERED.get(job)
        is_lacking = task == "variation" and not self.has_variations
        return job if job in self.pipelines and not is_lacking else None

    def tasks(self, *, has_controls: bool) -> tuple[Task, ...]:
        """All that it can do."""
        return tuple(
            task
            for task in _JOBS
            if self.job(task, is_steered=False) and (task != "control" or has_controls)
        )


_JOBS: Mapping[Task, Job] = {
    "text-to-image": "text",
    "image-to-image": "image",
    "inpaint": "inpaint",
    "outpaint": "inpaint",
    "edit": "edit",
    "control": "text",
    "variation": "text",
}
_STEERED: Mapping[Job, Job] = {
    "text": "control text",
    "image": "control image",
    "inpaint": "control inpaint",
}


def _pipelines(stem: str, *jobs: Job) -> Mapping[Job, str]:
    return {job: f"{stem}{_SUFFIXES[job]}Pipeline" for job in jobs}


_SUFFIXES: Mapping[Job, str] = {
    "text": "",
    "image": "Img2Img",
    "inpaint": "Inpaint",
    "control text": "ControlNet",
    "control image": "ControlNetImg2Img",
    "control inpaint": "ControlNetInpaint",
}
_UNET = Family(
    name="sd1",
    pipelines=_pipelines("StableDiffusion", *_SUFFIXES),
    multiple_of=8,
    side=512,
    steps=25,
    cfg=7.5,
    is_flow=False,
    dtype="float16",
    network="UNet2DConditionModel",
    has_second_prompt=False,
    latents="sd1",
)
_SDXL = _pipelines("StableDiffusionXL", *_SUFFIXES)
_SD3 = _pipelines("StableDiffusion3", "text", "image", "inpaint", "control text")
_FLUX_1 = Family(
    name="flux1",
    pipelines=_pipelines("Flux", *_SUFFIXES),
    cfg=1.0,
    cfg_key="true_cfg_scale",
    guidance=3.5,
    network="FluxTransformer2DModel",
    control_network="FluxControlNetModel",
    without_cfg=("control image", "control inpaint"),
    latents="flux1",
)
_KLEIN = Family(
    name="flux2",
    pipelines={
        "text": "Flux2KleinPipeline",
        "inpaint": "Flux2KleinInpaintPipeline",
        "edit": "Flux2KleinPipeline",
    },
    steps=4,
    cfg=1.0,
    network="Flux2Transformer2DModel",
    without_cfg=("text", "inpaint", "edit"),
    has_second_prompt=False,
    has_negative=False,
    has_variations=False,
)
_ONLY_INPAINT: tuple[Job, ...] = ("inpaint",)
_FAMILIES: Mapping[tuple[str, str], Family] = {
    ("sd1", ""): _UNET,
    ("sd1", "inpaint"): replace(_UNET, pipelines=_pipelines("StableDiffusion", *_ONLY_INPAINT)),
    ("sd2", ""): replace(_UNET, name="sd2", side=768),
    ("sd2", "inpaint"): replace(
        _UNET, name="sd2", pipelines=_pipelines("StableDiffusion", *_ONLY_INPAINT), side=512
    ),
    ("sdxl", ""): replace(
        _UNET,
        name="sdxl",
        pipelines=_SDXL,
        side=1024,
        steps=30,
        cfg=5.0,
        has_second_prompt=True,
        latents="sdxl",
    ),
    ("sdxl", "inpaint"): replace(
        _UNET,
        name="sdxl",
        pipelines=_pipelines("StableDiffusionXL", *_ONLY_INPAINT),
        side=1024,
        steps=30,
        cfg=7.5,
        has_second_prompt=True,
        latents="sdxl",
    ),
    ("sd3", ""): Family(
        name="sd3", pipelines=_SD3, control_network="SD3ControlNetModel", latents="sd3"
    ),
    ("flux1", ""): _FLUX_1,
    ("flux1", "schnell"): replace(_FLUX_1, steps=4, guidance=None),
    ("flux1", "fill"): replace(
        _FLUX_1,
        pipelines={"inpaint": "FluxFillPipeline"},
        steps=50,
        guidance=30.0,
        without_cfg=("inpaint",),
    ),
    ("flux2", "klein"): _KLEIN,
    ("flux2", "klein-base"): replace(_KLEIN, steps=50, cfg=4.0, without_cfg=()),
}
_CANNOT = ("edit", "control")
"""Variants whose pipelines want what no request names."""


def known(family: str, variant: str = "") -> Family | None:
    """What diffusers has for a family, in a variant of it; None where this adapter has nothing."""
    if variant in _CANNOT:
        return None
    return _FAMILIES.get((family, variant)) or _FAMILIES.get((family, ""))


NAMES = tuple(dict.fromkeys(name for name, _ in _FAMILIES))
PIPELINES: Mapping[str, str] = {
    "StableDiffusionPipeline": "sd1",
    "StableDiffusionImg2ImgPipeline": "sd1",
    "StableDiffusionInpaintPipeline": "sd1",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "StableDiffusionXLInpaintPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "StableDiffusion3Img2ImgPipeline": "sd3",
    "StableDiffusion3InpaintPipeline": "sd3",
    "FluxPipeline": "flux1",
    "FluxImg2ImgPipeline": "flux1",
    "FluxInpaintPipeline": "flux1",
    "FluxFillPipeline": "flux1",
    "Flux2KleinPipeline": "flux2",
}
"""The family of each pipeline that a folder's model_index.json may name."""
