"""Whether a ComfyUI server could run a workflow now, and which of ours it could."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from imagen.backends.base import Detection, Health, MissingCapability
from imagen.backends.comfyui.client import ComfyClient
from imagen.backends.comfyui.config import DEFAULT_URL, ComfyUIConfig
from imagen.errors import WorkflowError
from imagen.graphs import Manifest, check_against_server, list_workflows, match_model_names
from imagen.graphs.node_catalog import read_catalog
from imagen.graphs.validate import check_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imagen.backends.comfyui.workflows import WorkflowSet
    from imagen.graphs import Workflow, WorkflowFault

_LOADERS = {
    "controlnet": ("ControlNetLoader", "control_net_name"),
    "model_patches": ("ModelPatchLoader", "name"),
}
"""The node that loads a control net, by the net's folder, and the input that names it."""
_UPDATE = "Update ComfyUI."


def health(client: ComfyClient, repertoire: WorkflowSet) -> Health:
    """Reachable, of the right version, with every node and every file that the workflow needs.

    What its further tasks and control nets lack is told too, and makes no backend unhealthy.
    """
    stats = client.stats()
    server = _Server(client.catalogue(), stats.version, repertoire)
    facts = (
        ("version", stats.version or ""),
        ("device", stats.device),
        ("workflow", repertoire.base.name),
    )
    known = tuple((name, value) for name, value in facts if value)
    faults = server.faults(repertoire.base)
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
    repertoire: WorkflowSet

    def faults(self, workflow: Workflow) -> list[WorkflowFault]:
        parameters = self.repertoire.overrides(workflow)
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
        for task, name in self.repertoire.by_task.items():
            if name:
                yield task, partial(self.repertoire.of, task)
        for kind in self.repertoire.preprocessors:
            yield f"preprocess {kind}", partial(self.repertoire.preprocessor, kind)

    def _nets(self) -> Iterator[MissingCapability]:
        """The control nets that the server has not, and those that it has no node for."""
        for kind, net in self.repertoire.controls.items():
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
        stats, object_info = client.stats(), client.catalogue()
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
