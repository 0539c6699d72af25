"""What one backend can do: its tasks, and what the workflow of each of them takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.capabilities import Capabilities, Parameter
from imagen.errors import WorkflowError
from imagen.graphs.edits import place_of_controls, place_of_loras, place_of_model
from imagen.graphs.graph import inputs_of
from imagen.graphs.tokens import nodes_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from imagen.backends.comfyui.workflows import WorkflowSet
    from imagen.core.prompt_syntax import Syntax
    from imagen.graphs import Workflow

UPSCALER = "upscale_model"
RESTORER = "face_model"
FIDELITY = "fidelity"
REFERENCE = "reference"
CONTROL = "control_image"
SIDES = ("left", "top", "right", "bottom")
"""The tokens by which a workflow takes the parts of what a request asks for as one."""

_MADE_OF: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "upscale": ((UPSCALER,), ("width", "height")),
    "restore": ((RESTORER,), (FIDELITY,)),
    "references": ((REFERENCE,),),
    "controls": ((CONTROL,),),
    "outpaint": (SIDES,),
}
"""Parameters of a request, and the tokens of which a workflow must have one set to take them."""
_OF_ONE_TASK = ("upscale", "restore", "outpaint")
_PARTS: Mapping[str, Parameter] = {
    "upscale": Parameter(description="How many times to enlarge, and with which upscaler's file."),
    "restore": Parameter(description="With which restorer's file, and how faithfully."),
    "references": Parameter(description="The pictures that the prompt speaks of."),
    "controls": Parameter(description="The picture that steers; the kind is the workflow's own."),
    "outpaint": Parameter(description="How far to go on beyond each side, in pixels."),
}
_LORAS = Parameter(description="Low-rank adapters, in order: the file of each, and its strength.")
_MODEL = Parameter(
    type="string", description="Another checkpoint of the server's, by name: see `imagen models`."
)
_CONTROLS = Parameter(
    description="Pictures that steer, in order: of each its kind, file, strength, start and end."
)
_DRAWING = (
    *("text-to-image", "image-to-image", "inpaint", "outpaint", "edit", "control", "variation"),
)
_ENCODERS = ("CLIPTextEncode", "TextEncodeQwenImageEdit")
"""How the classes of ComfyUI's own nodes that encode a prompt begin."""
_UNWEIGHTED = ("flux2", "qwen-image", "z-image")
_UNWEIGHTED_TYPES = ("flux2", "qwen_image")
"""Families, and types of CLIPLoader, whose tokenizers take `(fog:1.5)` as plain text
(`disable_weights` in comfy/text_encoders)."""
_NO_NETS = "no control net is known for this workflow; name one in the backend's controlnets"


def capabilities(repertoire: WorkflowSet, task: str) -> Capabilities:
    """What the backend takes for a task; for one that it can't do, what it takes for its first."""
    tasks = tasks_of(repertoire)
    task = task if task in tasks else tasks[0]
    if task == "preprocess":
        return _preprocessing(repertoire, tasks)
    return workflow_capabilities(repertoire, task, repertoire.of(task), tasks)


def workflow_capabilities(
    repertoire: WorkflowSet, task: str, workflow: Workflow, tasks: tuple[str, ...] = ()
) -> Capabilities:
    """What one workflow takes when it does a task."""
    known = workflow.capabilities(repertoire.overrides(workflow))
    parameters = known.parameters | _parts(workflow, task, repertoire)
    without = dict(known.without)
    _cut_in(parameters, without, "model", _MODEL, lambda: place_of_model(workflow.graph))
    if task in _DRAWING:
        _cut_in(parameters, without, "loras", _LORAS, lambda: place_of_loras(workflow.graph))
        _cut_in(parameters, without, "controls", _CONTROLS, lambda: _steer(workflow, repertoire))
    return Capabilities(
        tasks=tasks or tasks_of(repertoire),
        parameters=parameters,
        controls=tuple(repertoire.controls) if parameters.get("controls") is _CONTROLS else (),
        preprocessors=tuple(repertoire.preprocessors),
        without=without,
        prompt_syntax=_prompt_syntax(workflow),
    )


def _prompt_syntax(workflow: Workflow) -> tuple[Syntax, ...] | None:
    """What the nodes that encode the prompt read in it; None where another node takes it first.

    `{red|blue}` is the editor's: it never reaches a server.
    """
    graph = workflow.graph
    classes = {graph[node]["class_type"] for node in nodes_with(graph, "prompt")}
    if not classes or not all(name.startswith(_ENCODERS) for name in classes):
        return None
    loaders = (node for node in graph.values() if node.get("class_type") == "CLIPLoader")
    is_unweighted = workflow.manifest.family.startswith(_UNWEIGHTED) or any(
        inputs_of(loader).get("type") in _UNWEIGHTED_TYPES for loader in loaders
    )
    return () if is_unweighted else ("weights",)


def tasks_of(repertoire: WorkflowSet) -> tuple[str, ...]:
    """Every task that the backend can do, its base workflow's own first."""
    found = list(repertoire.by_task)
    if "text-to-image" in found and _can_steer(repertoire):
        found.append("control")
    if repertoire.preprocessors:
        found.append("preprocess")
    return tuple(dict.fromkeys(found))


def _can_steer(repertoire: WorkflowSet) -> bool:
    workflow = repertoire.of("text-to-image")
    if CONTROL in workflow.parameters or "controls" in workflow.parameters:
        return True
    if "controls" in workflow.manifest.without:
        return False
    try:
        _steer(workflow, repertoire)
    except WorkflowError:
        return False
    return True


def _cut_in(
    parameters: dict[str, Parameter],
    without: dict[str, str],
    name: str,
    parameter: Parameter,
    place: Callable[[], Any],
) -> None:
    """A parameter that needs no token, where its place in the graph is found; else why not."""
    if name in parameters or name in without:
        return
    try:
        place()
    except WorkflowError as error:
        without[name] = error.message
    else:
        parameters[name] = parameter


def _steer(workflow: Workflow, repertoire: WorkflowSet) -> None:
    if not repertoire.controls:
        raise WorkflowError(_NO_NETS)
    place_of_controls(workflow.graph)


def _parts(workflow: Workflow, task: str, repertoire: WorkflowSet) -> dict[str, Parameter]:
    """Parameters of a request that the workflow takes part by part."""
    known = workflow.parameters
    found = {
        name: _PARTS[name]
        for name, sets in _MADE_OF.items()
        if name not in known and _is_for(name, task, known)
        if any(all(token in known for token in tokens) for tokens in sets)
    }
    if task == "edit" and "image" in known:
        found.setdefault("references", _PARTS["references"])  # the first is the image
    if task == "preprocess":
        found["preprocess"] = _kinds(repertoire.preprocessors)
    return found


def _is_for(name: str, task: str, known: Mapping[str, Parameter]) -> bool:
    """A workflow may enlarge by a model what it then redraws."""
    if name == "upscale" and task == "image-to-image":
        return UPSCALER in known
    return name == task or name not in _OF_ONE_TASK


def _kinds(kinds: Iterable[str]) -> Parameter:
    return Parameter(
        type="string", choices=tuple(kinds), description="The kind of control picture to make."
    )


def _preprocessing(repertoire: WorkflowSet, tasks: tuple[str, ...]) -> Capabilities:
    """What any of the preprocessors takes: which it is, only a request says."""
    each = [
        workflow_capabilities(repertoire, "preprocess", workflow, tasks)
        for workflow in repertoire.every_preprocessor()
    ]
    parameters = {
        name: known if _is_shared(name, known, each) else known.model_copy(update={"default": None})
        for one in each
        for name, known in one.parameters.items()
    }
    without = {name: why for one in each for name, why in one.without.items()}
    return each[0].model_copy(
        update={
            "parameters": parameters,
            "without": {name: why for name, why in without.items() if name not in parameters},
        }
    )


def _is_shared(name: str, parameter: Parameter, each: Iterable[Capabilities]) -> bool:
    """Whether all take the same: another's default must not be filled in for the one that runs."""
    return all(one.parameters.get(name) == parameter for one in each)
