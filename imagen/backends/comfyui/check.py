"""Whether a ComfyUI server could run a workflow now, and which of ours it could."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.base import Health
from imagen.backends.comfyui.client import Client
from imagen.backends.comfyui.config import DEFAULT_URL, ComfyUIConfig
from imagen.graphs import check, listing, localise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.graphs import Fault, Workflow


def health(client: Client, workflow: Workflow, config: ComfyUIConfig) -> Health:
    """Reachable, of the right version, with every node and every file that the workflow needs."""
    stats = client.stats()
    faults = faults_on(workflow, client.catalogue(), stats.version, config.parameters)
    facts = (
        ("version", stats.version or ""),
        ("device", stats.device),
        ("workflow", workflow.name),
    )
    known = tuple((name, value) for name, value in facts if value)
    if not faults:
        return Health(ok=True, facts=known)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    remedies = dict.fromkeys(fault.remedy or fault.sentence for fault in faults)
    return Health(
        ok=False, summary=f"{faults[0].sentence}{more}", remedies=tuple(remedies), facts=known
    )


def faults_on(
    workflow: Workflow,
    object_info: Mapping[str, Any],
    version: str | None,
    parameters: Mapping[str, Any],
) -> list[Fault]:
    """All that would go wrong with a workflow on a server of this catalogue and version."""
    graph = localise(workflow.sample(parameters), object_info)
    return check(graph, object_info, manifest=workflow.manifest, version=version)


def detect(url: str) -> dict[str, dict[str, Any]]:
    """A block of the configuration for each bundled model that the server at `url` can run.

    The workflows of further tasks go with those from text. Models whose licence lets anyone do
    anything come first: the first becomes the default.
    Raises Unavailable where no server answers there.
    """
    address = url or DEFAULT_URL
    config = ComfyUIConfig(name="comfyui", url=address, workflow="-")
    client = Client(config)
    try:
        stats, object_info = client.stats(), client.catalogue()
    finally:
        client.close()
    return {
        workflow.name: {"type": "comfyui", "url": address, "workflow": workflow.name}
        for workflow in sorted(listing(), key=_is_restricted)
        if workflow.manifest.task == "text-to-image"
        and not faults_on(workflow, object_info, stats.version, {})
    }


def _is_restricted(workflow: Workflow) -> bool:
    return not workflow.manifest.licence.startswith(("Apache", "MIT"))
