"""What a backend accepts, and whether its server has what that takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from imagen.backends.base import Detection, Health, MissingCapability
from imagen.backends.comfyui.config import DEFAULT_URL, ComfyUIConfig
from imagen.core.capabilities import Capabilities, Parameter
from imagen.errors import WorkflowError
from imagen.graphs import Manifest, check_against_server, list_workflows, match_model_names
from imagen.graphs.edits import place_of_controls, place_of_loras, place_of_model
from imagen.graphs.graph import inputs_of
from imagen.graphs.node_catalog import read_catalog
from imagen.graphs.tokens import nodes_with
from imagen.graphs.validate import check_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imagen.backends.comfyui.client import ComfyClient
    from imagen.backends.comfyui.workflows import WorkflowSet
    from imagen.core.prompt_syntax import Syntax
    from imagen.graphs import Workflow, WorkflowFault

UPSCALER = "upscale_model"
RESTORER = "face_model"
FIDELITY = "fidelity"
REFERENCE = "reference"
CONTROL = "control_image"
_SIDES = ("left", "top", "right", "bottom")
"""The tokens by which a workflow takes the parts of a structured parameter."""

_PART_TOKENS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "upscale": ((UPSCALER,), ("width", "height")),
    "restore": ((RESTORER,), (FIDELITY,)),
    "references": ((REFERENCE,),),
    "controls": ((CONTROL,),),
    "outpaint": (_SIDES,),
}
"""For each structured parameter: sets of tokens, of which a workflow must have one."""
_PARTS: Mapping[str, Parameter] = {
    "upscale": Parameter(description="The factor, and the file of the upscaler."),
    "restore": Parameter(description="The file of the restorer, and its fidelity."),
    "references": Parameter(description="The images that the prompt refers to."),
    "controls": Parameter(description="The control image; its kind is the workflow's own."),
    "outpaint": Parameter(description="How far to extend each side, in pixels."),
}
_LORAS = Parameter(description="LoRAs in order: the file and the strength of each.")
_MODEL = Parameter(
    type="string", description="Another checkpoint of the server, by name: see `imagen models`."
)
_CONTROLS = Parameter(
    description="Control images in order: the kind, file, strength, start and end of each."
)
_DRAWING = (
    *("text-to-image", "image-to-image", "inpaint", "outpaint", "edit", "control", "variation"),
)
_ENCODERS = ("CLIPTextEncode", "TextEncodeQwenImageEdit")
"""How the classes of ComfyUI's own prompt encoders begin."""
_UNWEIGHTED = ("flux2", "qwen-image", "z-image")
_UNWEIGHTED_TYPES = ("flux2", "qwen_image")
"""Families, and types of CLIPLoader, whose tokenizers read `(fog:1.5)` as plain text
(`disable_weights` in comfy/text_encoders)."""
_CONTROL_LOADERS = {
    "controlnet": ("ControlNetLoader", "control_net_name"),
    "model_patches": ("ModelPatchLoader", "name"),
}
"""For each folder of ControlNets: the node that loads one, and the input that names it."""


def capabilities(workflows: WorkflowSet, task: str) -> Capabilities:
    """What the backend accepts for a task; for one that it cannot do, for its first one."""
    tasks = _list_tasks(workflows)
    task = task if task in tasks else tasks[0]
    if task != "preprocess":
        return workflow_capabilities(workflows, task, workflows.of(task), tasks)
    # Which preprocessor it will be, only a request says.
    each = [
        workflow_capabilities(workflows, task, workflow, tasks)
        for workflow in workflows.every_preprocessor()
    ]
    parameters = {
        # Another one's default must not be filled in for the one that runs.
        name: parameter
        if all(one.parameters.get(name) == parameter for one in each)
        else parameter.model_copy(update={"default": None})
        for one in each
        for name, parameter in one.parameters.items()
    }
    without = {
        name: why for one in each for name, why in one.without.items() if name not in parameters
    }
    return each[0].model_copy(update={"parameters": parameters, "without": without})


def workflow_capabilities(
    workflows: WorkflowSet, task: str, workflow: Workflow, tasks: tuple[str, ...] = ()
) -> Capabilities:
    """What one workflow accepts when it does a task."""
    known = workflow.capabilities(workflows.overrides(workflow))
    parameters = known.parameters | _structured_parameters(workflow, task, workflows)
    without = dict(known.without)

    def add(name: str, parameter: Parameter, find_place: Callable[[], object]) -> None:
        """Add a parameter that needs no token, or the reason why the graph has no place for it."""
        if name in parameters or name in without:
            return
        try:
            find_place()
        except WorkflowError as error:
            without[name] = error.message
        else:
            parameters[name] = parameter

    add("model", _MODEL, partial(place_of_model, workflow.graph))
    if task in _DRAWING:
        add("loras", _LORAS, partial(place_of_loras, workflow.graph))
        add("controls", _CONTROLS, partial(_require_control_place, workflow, workflows))
    return Capabilities(
        tasks=tasks or _list_tasks(workflows),
        parameters=parameters,
        controls=tuple(workflows.controls) if parameters.get("controls") is _CONTROLS else (),
        preprocessors=tuple(workflows.preprocessors),
        without=without,
        prompt_syntax=_prompt_syntax(workflow),
    )


def _prompt_syntax(workflow: Workflow) -> tuple[Syntax, ...] | None:
    """The prompt syntax of the nodes that encode the prompt; None where it is not known.

    `{red|blue}` belongs to the editor: it never reaches a server.
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


def _list_tasks(workflows: WorkflowSet) -> tuple[str, ...]:
    """Every task of the backend, that of its base workflow first."""
    tasks = list(workflows.by_task)
    if "text-to-image" in tasks and _can_control(workflows):
        tasks.append("control")
    if workflows.preprocessors:
        tasks.append("preprocess")
    return tuple(dict.fromkeys(tasks))


def _can_control(workflows: WorkflowSet) -> bool:
    workflow = workflows.of("text-to-image")
    if CONTROL in workflow.parameters or "controls" in workflow.parameters:
        return True
    if "controls" in workflow.manifest.without:
        return False
    try:
        _require_control_place(workflow, workflows)
    except WorkflowError:
        return False
    return True


def _require_control_place(workflow: Workflow, workflows: WorkflowSet) -> None:
    if not workflows.controls:
        raise WorkflowError(
            "no ControlNet is known for this workflow; name one in the backend's controlnets"
        )
    place_of_controls(workflow.graph)


def _structured_parameters(
    workflow: Workflow, task: str, workflows: WorkflowSet
) -> dict[str, Parameter]:
    """Parameters of a request that the workflow takes as several tokens."""
    known = workflow.parameters
    found: dict[str, Parameter] = {}
    for name, token_sets in _PART_TOKENS.items():
        if name in known or not any(all(t in known for t in tokens) for tokens in token_sets):
            continue
        if name == "upscale" and task == "image-to-image":
            is_for_task = UPSCALER in known  # enlarge with a model, then redraw
        else:
            is_for_task = name == task or name not in ("upscale", "restore", "outpaint")
        if is_for_task:
            found[name] = _PARTS[name]
    if task == "edit" and "image" in known:
        found.setdefault("references", _PARTS["references"])  # the first is the image
    if task == "preprocess":
        found["preprocess"] = Parameter(
            type="string",
            choices=tuple(workflows.preprocessors),
            description="The kind of control image to make.",
        )
    return found


def check_health(client: ComfyClient, workflows: WorkflowSet) -> Health:
    """Whether the server is reachable, and has the version, nodes and files of the base workflow.

    What the other tasks and the ControlNets lack is listed, and does not affect the health.
    """
    stats, object_info = client.stats(), client.node_catalog()
    facts = (
        ("version", stats.version or ""),
        ("device", stats.device),
        ("workflow", workflows.base.name),
    )
    known = tuple((name, value) for name, value in facts if value)

    def find_faults(workflow: Workflow) -> list[WorkflowFault]:
        parameters = workflows.overrides(workflow)
        return faults_on(workflow, object_info, stats.version, parameters)

    faults = find_faults(workflows.base)
    if faults:
        remedies = dict.fromkeys(fault.remedy or fault.sentence for fault in faults)
        return Health(
            ok=False,
            summary=_summarize(faults),
            remedies=tuple(remedies),
            facts=known,
            gpus=stats.gpus,
        )
    tasks: dict[str, Callable[[], Workflow]] = {
        task: partial(workflows.of, task) for task, name in workflows.by_task.items() if name
    }
    for kind in workflows.preprocessors:
        tasks[f"preprocess {kind}"] = partial(workflows.preprocessor, kind)
    lacking: list[MissingCapability] = []
    for what, load in tasks.items():
        try:
            faults = find_faults(load())
        except WorkflowError as error:
            lacking.append(MissingCapability(what=what, why=error.message, remedy=error.remedy))
            continue
        if faults:
            lacking.append(_missing(what, faults))
    lacking += _missing_control_nets(workflows, object_info)
    return Health(ok=True, facts=known, gpus=stats.gpus, lacking=tuple(lacking))


def _missing_control_nets(
    workflows: WorkflowSet, object_info: Mapping[str, object]
) -> Iterator[MissingCapability]:
    """The ControlNets that the server does not have, or has no node for."""
    for kind, net in workflows.controls.items():
        what = f"control {kind}"
        node, name = _CONTROL_LOADERS[net.folder]
        known = {node: object_info[node]} if node in object_info else {}
        spec = read_catalog(known).get(node)
        if spec is None or name not in spec.inputs:
            why = f"the server has no node {node!r}."
            yield MissingCapability(what=what, why=why, remedy="Update ComfyUI.")
            continue
        wrong = check_value(net.file, name, spec.inputs[name], Manifest(controls={kind: net}))
        if wrong is not None:
            yield MissingCapability(what=what, why=wrong[0], remedy=wrong[1])


def _missing(what: str, faults: Sequence[WorkflowFault]) -> MissingCapability:
    return MissingCapability(what=what, why=_summarize(faults), remedy=faults[0].remedy)


def _summarize(faults: Sequence[WorkflowFault]) -> str:
    return faults[0].sentence + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def faults_on(
    workflow: Workflow,
    object_info: Mapping[str, object],
    version: str | None,
    parameters: Mapping[str, object],
) -> list[WorkflowFault]:
    """All that would go wrong with a workflow on a server with this node catalog and version."""
    graph = match_model_names(workflow.bind_defaults(parameters), object_info)
    return check_against_server(graph, object_info, manifest=workflow.manifest, version=version)


def detect(url: str) -> Detection:
    """Configuration blocks for the bundled models that the server at `url` can run.

    Models with a permissive licence come first: the first one becomes the default. Workflows of
    other tasks belong to those of text-to-image. Raises Unavailable where no server answers.
    """
    from imagen.backends.comfyui.client import ComfyClient

    address = url or DEFAULT_URL
    client = ComfyClient(ComfyUIConfig(name="comfyui", url=address))
    try:
        stats, object_info = client.stats(), client.node_catalog()
    finally:
        client.close()
    blocks: dict[str, dict[str, object]] = {}
    left_out: list[MissingCapability] = []

    def is_restricted(workflow: Workflow) -> bool:
        return not workflow.manifest.licence.startswith(("Apache", "MIT"))

    for workflow in sorted(list_workflows(), key=is_restricted):
        if workflow.manifest.task != "text-to-image":
            continue
        faults = faults_on(workflow, object_info, stats.version, {})
        if faults:
            left_out.append(_missing(workflow.name, faults))
        else:
            block: dict[str, object] = {
                "type": "comfyui",
                "url": address,
                "workflow": workflow.name,
            }
            blocks[workflow.name] = block
    return Detection(blocks, tuple(left_out))
