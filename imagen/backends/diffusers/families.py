"""Model families: which pipelines diffusers has for each, and their usual sizes and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.request import Task

PipelineKind = Literal[
    "text", "image", "inpaint", "edit", "control text", "control image", "control inpaint"
]
"""What a pipeline starts from, and whether control images guide it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusersFamily:
    """One model family, as diffusers runs it."""

    name: str
    pipelines: Mapping[PipelineKind, str]
    """The class in diffusers for each kind of pipeline."""
    multiple_of: int = 16
    side: int = 1024
    """Width and height in pixels of the usual square image."""
    steps: int = 28
    cfg: float = 7.0
    cfg_key: str = "guidance_scale"
    """What the pipelines call classifier-free guidance."""
    guidance: float | None = None
    """The usual distilled guidance; None for a model without it."""
    is_flow: bool = True
    dtype: str = "bfloat16"
    """The number format to use on a GPU."""
    network: str = "SD3Transformer2DModel"
    """The class of the diffusion model."""
    control_network: str = "ControlNetModel"
    """The class of its ControlNets."""
    without_cfg: tuple[PipelineKind, ...] = ()
    """Pipelines that take neither cfg nor a negative prompt."""
    has_second_prompt: bool = True
    has_negative: bool = True
    has_variations: bool = True
    """Whether the layout of its noise is known."""
    latents: str = ""
    """The key of its linear latent-to-RGB approximation, for previews."""

    def pipeline_kind(self, task: Task, *, has_controls: bool) -> PipelineKind | None:
        """The kind of pipeline for this task; None where the family has none."""
        kind = _KIND_OF_TASK.get(task)
        if kind is not None and (has_controls or task == "control"):
            kind = _WITH_CONTROLS.get(kind)
        if task == "variation" and not self.has_variations:
            return None
        return kind if kind in self.pipelines else None

    def tasks(self, *, has_controls: bool) -> tuple[Task, ...]:
        return tuple(
            task
            for task in _KIND_OF_TASK
            if self.pipeline_kind(task, has_controls=False) and (task != "control" or has_controls)
        )


_KIND_OF_TASK: Mapping[Task, PipelineKind] = {
    "text-to-image": "text",
    "image-to-image": "image",
    "inpaint": "inpaint",
    "outpaint": "inpaint",
    "edit": "edit",
    "control": "text",
    "variation": "text",
}
_WITH_CONTROLS: Mapping[PipelineKind, PipelineKind] = {
    "text": "control text",
    "image": "control image",
    "inpaint": "control inpaint",
}


_SUFFIXES: Mapping[PipelineKind, str] = {
    "text": "",
    "image": "Img2Img",
    "inpaint": "Inpaint",
    "control text": "ControlNet",
    "control image": "ControlNetImg2Img",
    "control inpaint": "ControlNetInpaint",
}


def _pipelines(stem: str, *kinds: PipelineKind) -> Mapping[PipelineKind, str]:
    return {kind: f"{stem}{_SUFFIXES[kind]}Pipeline" for kind in kinds}


_UNET = DiffusersFamily(
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
_SDXL = replace(
    _UNET,
    name="sdxl",
    pipelines=_pipelines("StableDiffusionXL", *_SUFFIXES),
    side=1024,
    steps=30,
    cfg=5.0,
    has_second_prompt=True,
    latents="sdxl",
)
_FLUX_1 = DiffusersFamily(
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
_KLEIN = DiffusersFamily(
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
_FAMILIES: Mapping[tuple[str, str], DiffusersFamily] = {
    ("sd1", ""): _UNET,
    ("sd1", "inpaint"): replace(_UNET, pipelines=_pipelines("StableDiffusion", "inpaint")),
    ("sd2", ""): replace(_UNET, name="sd2", side=768),
    ("sd2", "inpaint"): replace(
        _UNET, name="sd2", pipelines=_pipelines("StableDiffusion", "inpaint"), side=512
    ),
    ("sdxl", ""): _SDXL,
    ("sdxl", "inpaint"): replace(
        _SDXL, pipelines=_pipelines("StableDiffusionXL", "inpaint"), cfg=7.5
    ),
    ("sd3", ""): DiffusersFamily(
        name="sd3",
        pipelines=_pipelines("StableDiffusion3", "text", "image", "inpaint", "control text"),
        control_network="SD3ControlNetModel",
        latents="sd3",
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
_UNSUPPORTED_VARIANTS = ("edit", "control")
"""Their pipelines need inputs that a request cannot carry."""


def find_family(family: str, variant: str = "") -> DiffusersFamily | None:
    """The family in a variant; None where this adapter does not support it."""
    if variant in _UNSUPPORTED_VARIANTS:
        return None
    return _FAMILIES.get((family, variant)) or _FAMILIES.get((family, ""))


FAMILY_NAMES = tuple(dict.fromkeys(name for name, _ in _FAMILIES))
FAMILY_OF_PIPELINE: Mapping[str, str] = {
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
"""The family of each pipeline class that a model_index.json may name."""
