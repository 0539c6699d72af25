"""What the mock takes for each task, and what it has on offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.backends.base import Model
from imagen.core.capabilities import Capabilities, Parameter
from imagen.core.request import TASKS, USUAL_SIDE

if TYPE_CHECKING:
    from imagen.core.request import Task

UPSCALERS = {"mock-x2": 2, "mock-x4": 4}
"""How many times each enlarges by itself."""
RESTORERS = ("mock-mender",)
CHECKPOINTS = ("mock", "mock-dusk")
"""The first is used where none is asked for."""
STRENGTH, MASKED_STRENGTH = 0.6, 1.0
"""How much of a picture is painted over by default: of all of it, and within a mask."""
CONTROLS = ("canny", "depth", "pose", "scribble")

_SIDE = Parameter(type="int", default=USUAL_SIDE, min=16, max=4096, description="Pixels.")
_PAINTING = {
    "prompt": Parameter(type="string", description="Chooses the colours."),
    "negative": Parameter(type="string", default="", description="Turns them; wanes the sun."),
    "width": _SIDE,
    "height": _SIDE,
    "seed": Parameter(type="int", min=0, max=2**64 - 1, description="The course of the land."),
    "steps": Parameter(type="int", default=8, min=1, max=200, description="Ridges, up to 12."),
    "count": Parameter(type="int", default=1, min=1, max=64, description="How many."),
    "model": Parameter(
        type="string", choices=CHECKPOINTS, description="Each paints other images of a prompt."
    ),
    "loras": Parameter(description="Each tints the picture, in a colour of its name."),
    "controls": Parameter(description="Pictures whose bright lines are drawn over."),
    "variation_seed": Parameter(
        type="int", min=0, max=2**64 - 1, description="The course of a second land."
    ),
    "variation_strength": Parameter(
        type="float", min=0, max=1, description="How much of the second land is seen."
    ),
}
_IMAGE = Parameter(type="image", description="The picture to begin with.")
_STRENGTH = Parameter(
    type="float",
    default=STRENGTH,
    min=0,
    max=1,
    description="How much is painted over the picture.",
)
_MASK = Parameter(type="image", description="Where it is painted over: white.")
_OF_TASK: dict[str, dict[str, Parameter]] = {
    "image-to-image": {**_PAINTING, "image": _IMAGE, "strength": _STRENGTH},
    "inpaint": {
        **_PAINTING,
        "image": _IMAGE,
        "mask": _MASK,
        "strength": _STRENGTH.model_copy(update={"default": MASKED_STRENGTH}),
    },
    "edit": {
        **_PAINTING,
        "image": _IMAGE,
        "references": Parameter(description="Pictures to mix in, each as much as all before it."),
    },
    "upscale": {
        "image": _IMAGE,
        "upscale": Parameter(description=f"How: {', '.join(UPSCALERS)}; and how many times."),
    },
    "restore": {"image": _IMAGE, "restore": Parameter(description="How much to smooth.")},
    "preprocess": {
        "image": _IMAGE,
        "preprocess": Parameter(
            type="string", choices=CONTROLS, description="The control picture to make of it."
        ),
    },
}
_OF_TASK["outpaint"] = _OF_TASK["inpaint"]
_NO_MODEL = ("cfg", "guidance", "prompt_2", "negative_2")
_NO_SAMPLING = ("sampler", "scheduler")
_WITHOUT = dict.fromkeys(_NO_MODEL, "the mock paints without a model") | dict.fromkeys(
    _NO_SAMPLING, "the mock paints without sampling"
)
_UNPAINTED = {"model": "this task needs no checkpoint"}

MODELS = (
    *(
        Model(kind="checkpoint", name=name, family="mock", is_default=name == CHECKPOINTS[0])
        for name in CHECKPOINTS
    ),
    Model(kind="lora", name="sepia", family="mock"),
    Model(kind="lora", name="moonlight", family="mock"),
    *(Model(kind="controlnet", name=f"mock-{kind}", family="mock") for kind in CONTROLS),
    *(Model(kind="upscaler", name=name) for name in UPSCALERS),
)


def capabilities(task: Task) -> Capabilities:
    """All ten tasks; what the parameters of this one are."""
    parameters = _OF_TASK.get(task, _PAINTING)
    return Capabilities(
        tasks=TASKS,
        parameters=parameters,
        controls=CONTROLS,
        preprocessors=CONTROLS,
        without=_WITHOUT if "model" in parameters else _WITHOUT | _UNPAINTED,
        prompt_syntax=(),
    )
