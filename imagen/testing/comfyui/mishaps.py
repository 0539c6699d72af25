"""How a run ends before its time, and how ComfyUI tells it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imagen.testing.comfyui import pictures
from imagen.testing.comfyui.failure_switches import NodeError
from imagen.testing.comfyui.graph import inputs, is_link
from imagen.testing.comfyui.world import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.testing.comfyui.graph import Graph
    from imagen.testing.comfyui.world import World

STRAY_PICTURE = b"\xff\xd8\xff\xe0 the picture of somebody else \xff\xd9"

_MEMORY_TIPS = (
    "\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before "
    "you might have accidentally set the batch_size to a large number."
)
_TRACEBACK = [
    '  File "/opt/comfyui/execution.py", line 496, in execute\n    output_data = await run()\n',
    '  File "/opt/comfyui/nodes.py", line 1525, in go\n    raise error\n',
]


class Interrupted(Exception):
    """Somebody stopped the run."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node


class Failed(Exception):
    """A node broke."""

    def __init__(self, node: str, fault: NodeError) -> None:
        super().__init__(node)
        self.node = node
        self.fault = fault


def at(node: str, graph: Graph, fresh: Sequence[str], fault: NodeError | None) -> NodeError | None:
    """What goes wrong in this node: by a switch, or because its pictures are no link."""
    if fault is not None and node == _place(fault, graph, fresh):
        return fault
    images = inputs(graph, node).get("images", [])
    if isinstance(images, str | int | float) and not is_link(images):
        kind = type(images).__name__
        message = f"'{kind}' object has no attribute 'shape'"
        return NodeError(exception="AttributeError", message=message)
    return None


@contextmanager
def of_node(node: str) -> Iterator[None]:
    """Whatever goes wrong in a node fails the run, and no more than that."""
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        fault = NodeError(exception=type(error).__name__, message=str(error))
        raise Failed(node, fault) from error


def _place(fault: NodeError, graph: Graph, fresh: Sequence[str]) -> str:
    if fault.node:
        return fault.node
    if fault.exception == "ExecutionBlocked":
        return fresh[-1]
    return next((node for node in fresh if pictures.is_sampler(graph, node)), fresh[-1])


def described(
    end: Failed, graph: Graph, executed: Sequence[str], nodes: Sequence[str]
) -> dict[str, Any]:
    """What ComfyUI says of a node that broke."""
    out_of_memory = end.fault.exception == "torch.OutOfMemoryError"
    return {
        "executed": list(executed),
        "exception_message": end.fault.message + (_MEMORY_TIPS if out_of_memory else "\n"),
        "exception_type": end.fault.exception,
        "traceback": _TRACEBACK,
        "current_inputs": {name: [said] for name, said in inputs(graph, end.node).items()},
        "current_outputs": [end.node, *(node for node in nodes if node != end.node)],
    }


def blocked(node: str, graph: Graph, executed: Sequence[str]) -> dict[str, Any]:
    """What ComfyUI says of a node that was kept from running."""
    return {
        "node_id": node,
        "node_type": graph[node]["class_type"],
        "executed": list(executed),
        "exception_message": "Execution Blocked: not today",
        "exception_type": "ExecutionBlocked",
        "traceback": [],
        "current_inputs": [],
        "current_outputs": [],
    }


def die(world: World) -> None:
    """Go down with the first run that gets here."""
    if world.mischief.strikes("death", 1):
        world.die()
        raise Stopped
