"""What one backend can do: its tasks, and what the workflow of each of them takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Detection, Health, MissingCapability
from imagen.backends.comfyui.client import ComfyClient
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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imagen.backends.comfyui.workflows import WorkflowSet
    from imagen.core.prompt_syntax import Syntax
    from imagen.graphs import Workflow, WorkflowFault


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


def capabilities(workflows: WorkflowSet, task: str) -> Capabilities:
    """What the backend takes for a task; for one that it can't do, what it takes for its first."""
    tasks = tasks_of(workflows)
    task = task if task in tasks else tasks[0]
    if task == "preprocess":
        return _preprocessing(workflows, tasks)
    return workflow_capabilities(workflows, task, workflows.of(task), tasks)


def workflow_capabilities(
    workflows: WorkflowSet, task: str, workflow: Workflow, tasks: tuple[str, ...] = ()
) -> Capabilities:
    """What one workflow takes when it does a task."""
    known = workflow.capabilities(workflows.overrides(workflow))
    parameters = known.parameters | _parts(workflow, task, workflows)
    without = dict(known.without)
    _cut_in(parameters, without, "model", _MODEL, lambda: place_of_model(workflow.graph))
    if task in _DRAWING:
        _cut_in(parameters, without, "loras", _LORAS, lambda: place_of_loras(workflow.graph))
        _cut_in(parameters, without, "controls", _CONTROLS, lambda: _steer(workflow, workflows))
    return Capabilities(
        tasks=tasks or tasks_of(workflows),
        parameters=parameters,
        controls=tuple(workflows.controls) if parameters.get("controls") is _CONTROLS else (),
        preprocessors=tuple(workflows.preprocessors),
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


def tasks_of(workflows: WorkflowSet) -> tuple[str, ...]:
    """Every task that the backend can do, its base workflow's own first."""
    found = list(workflows.by_task)
    if "text-to-image" in found and _can_steer(workflows):
        found.append("control")
    if workflows.preprocessors:
        found.append("preprocess")
    return tuple(dict.fromkeys(found))


def _can_steer(workflows: WorkflowSet) -> bool:
    workflow = workflows.of("text-to-image")
    if CONTROL in workflow.parameters or "controls" in workflow.parameters:
        return True
    if "controls" in workflow.manifest.without:
        return False
    try:
        _steer(workflow, workflows)
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


def _steer(workflow: Workflow, workflows: WorkflowSet) -> None:
    if not workflows.controls:
        raise WorkflowError(_NO_NETS)
    place_of_controls(workflow.graph)


def _parts(workflow: Workflow, task: str, workflows: WorkflowSet) -> dict[str, Parameter]:
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
        found["preprocess"] = _kinds(workflows.preprocessors)
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


def _preprocessing(workflows: WorkflowSet, tasks: tuple[str, ...]) -> Capabilities:
    """What any of the preprocessors takes: which it is, only a request says."""
    each = [
        workflow_capabilities(workflows, "preprocess", workflow, tasks)
        for workflow in workflows.every_preprocessor()
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


_LOADERS = {
    "controlnet": ("ControlNetLoader", "control_net_name"),
    "model_patches": ("ModelPatchLoader", "name"),
}
"""The node that loads a control net, by the net's folder, and the input that names it."""
_UPDATE = "Update ComfyUI."


def check_health(client: ComfyClient, workflows: WorkflowSet) -> Health:
    """Reachable, of the right version, with every node and every file that the workflow needs.

    What its further tasks and control nets lack is told too, and makes no backend unhealthy.
    """
    stats = client.stats()
    server = _Server(client.node_catalog(), stats.version, workflows)
    facts = (
        ("version", stats.version or ""),
        ("device", stats.device),
        ("workflow", workflows.base.name),
    )
    known = tuple((name, value) for name, value in facts if value)
    faults = server.faults(workflows.base)
    if not faults:
        return Health(ok=True, facts=known, gpus=stats.gpus, lacking=tuple(server.lacking()))
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    remedies = dict.fromkeys(fault.remedy or fault.sentence for fault in faults)
    return Health(
        ok=False,
        summary=f"{faults[0].sentence}{more}",
        remedies=tuple(remedies),
        facts=known,
        gpus=stats.gpus,
    )


@dataclass(frozen=True)
class _Server:
    """What a server has, held against what the workflows of a backend need."""

    object_info: Mapping[str, Any]
    version: str | None
    workflows: WorkflowSet

    def faults(self, workflow: Workflow) -> list[WorkflowFault]:
        parameters = self.workflows.overrides(workflow)
        return faults_on(workflow, self.object_info, self.version, parameters)

    def lacking(self) -> Iterator[MissingCapability]:
        """What can't be done for now."""
        for what, workflow in self._others():
            try:
                faults = self.faults(workflow())
            except WorkflowError as error:
                yield MissingCapability(what=what, why=error.message, remedy=error.remedy)
                continue
            if faults:
                yield _lack(what, faults)
        yield from self._nets()

    def _others(self) -> Iterator[tuple[str, Callable[[], Workflow]]]:
        for task, name in self.workflows.by_task.items():
            if name:
                yield task, partial(self.workflows.of, task)
        for kind in self.workflows.preprocessors:
            yield f"preprocess {kind}", partial(self.workflows.preprocessor, kind)

    def _nets(self) -> Iterator[MissingCapability]:
        """The control nets that the server has not, and those that it has no node for."""
        for kind, net in self.workflows.controls.items():
            what = f"control {kind}"
            node, name = _LOADERS[net.folder]
            known = {node: self.object_info[node]} if node in self.object_info else {}
            spec = read_catalog(known).get(node)
            if spec is None or name not in spec.inputs:
                yield MissingCapability(
                    what=what, why=f"the server has no node {node!r}.", remedy=_UPDATE
                )
                continue
            manifest = Manifest(controls={kind: net})
            wrong = check_value(net.file, name, spec.inputs[name], manifest)
            if wrong is not None:
                yield MissingCapability(what=what, why=wrong[0], remedy=wrong[1])


def _lack(what: str, faults: Sequence[WorkflowFault]) -> MissingCapability:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return MissingCapability(what=what, why=f"{faults[0].sentence}{more}", remedy=faults[0].remedy)


def faults_on(
    workflow: Workflow,
    object_info: Mapping[str, Any],
    version: str | None,
    parameters: Mapping[str, Any],
) -> list[WorkflowFault]:
    """All that would go wrong with a workflow on a server of this catalogue and version."""
    graph = match_model_names(workflow.bind_defaults(parameters), object_info)
    return check_against_server(graph, object_info, manifest=workflow.manifest, version=version)


def detect(url: str) -> Detection:
    """Blocks for the bundled models that the server at `url` can run.

    The workflows of further tasks go with those from text. Models whose licence lets anyone do
    anything come first: the first becomes the default.
    Raises Unavailable where no server answers there.
    """
    address = url or DEFAULT_URL
    config = ComfyUIConfig(name="comfyui", url=address)
    client = ComfyClient(config)
    try:
        stats, object_info = client.stats(), client.node_catalog()
    finally:
        client.close()
    blocks: dict[str, dict[str, Any]] = {}
    left_out: list[MissingCapability] = []
    for workflow in sorted(list_workflows(), key=_is_restricted):
        if workflow.manifest.task != "text-to-image":
            continue
        name, faults = workflow.name, faults_on(workflow, object_info, stats.version, {})
        if faults:
            left_out.append(_lack(name, faults))
        else:
            blocks[name] = {"type": "comfyui", "url": address, "workflow": name}
    return Detection(blocks, tuple(left_out))


def _is_restricted(workflow: Workflow) -> bool:
    return not workflow.manifest.licence.startswith(("Apache", "MIT"))
