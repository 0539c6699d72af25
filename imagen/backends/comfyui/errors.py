"""What a ComfyUI server says when something is wrong, as errors of imagen."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from imagen.core.json_values import as_mapping
from imagen.core.text import one_line, printable
from imagen.errors import Failed, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.backends.comfyui.websocket import NodeFailed
    from imagen.graphs import Manifest, WorkflowFault

_LONGEST = 500
_MOST_FAULTS = 20
_MEMORY = (
    "Use a smaller size or fewer images at once, choose smaller weights "
    "(where the workflow has it: --set weight_dtype=fp8_e4m3fn), or free other GPU memory."
)
_REFUSED = "ComfyUI refused the workflow"
_INSTALL = "Install the custom nodes that provide it, or update ComfyUI."


def rejected_error(
    reason: Mapping[str, object],
    graph: Mapping[str, object],
    manifest: Manifest,
    object_info: Mapping[str, object] | None = None,
) -> Rejected:
    """The error for a graph that the server refused: every fault, and what to do about each."""
    faults = list(
        islice(node_faults(reason.get("node_errors"), graph, manifest, object_info), _MOST_FAULTS)
    )
    if faults:
        return Rejected(list_faults(_REFUSED, faults), remedy=list_remedies(faults))
    # A refusal that is not about an input of a node; some servers send it as a string.
    error = reason.get("error")
    about = as_mapping(error)
    message = _sentence(about.get("message") or (error if isinstance(error, str) else ""))
    details = _sentence(about.get("details"))
    both = f"{message} ({details})" if details and details not in message else message
    return Rejected(
        f"{_REFUSED}: {both or 'it gave no reason'}.",
        remedy=_missing_node_remedy(message, manifest) if "does not exist" in message else "",
    )


def _missing_node_remedy(message: str, manifest: Manifest) -> str:
    from imagen.graphs.node_catalog import missing_package_remedy

    words = message.replace("'", " ").split()
    packs = (pack.remedy for pack in manifest.nodes if not {*pack.classes}.isdisjoint(words))
    return next(packs, missing_package_remedy(words) or _INSTALL)


def skipped_warnings(
    node_errors: object, graph: Mapping[str, object], manifest: Manifest
) -> tuple[str, ...]:
    """A warning for each fault of a part that the server skipped while it ran the rest."""
    faults = islice(node_faults(node_errors, graph, manifest), _MOST_FAULTS)
    return tuple(f"ComfyUI skipped a part: {fault.sentence}" for fault in faults)


def failed_error(
    failure: NodeFailed, graph: Mapping[str, object], warnings: tuple[str, ...] = ()
) -> Failed:
    """The error for a job that failed in one of its nodes; `warnings` may say why."""
    kind, message = one_line(failure.kind, limit=80), _sentence(failure.message)
    is_memory = kind.endswith("OutOfMemoryError") or "out of memory" in message.lower()
    # Where in the server's code it failed: the last step only.
    last = printable("".join(failure.traceback[-1:])).splitlines()
    trace = "".join(f"\n  {one_line(line)}" for line in [li for li in last if li.strip()][:2])
    node = name_node(graph, failure.node, failure.node_class)
    return Failed(
        f"{node} failed: {kind}: {message}.{trace}",
        remedy="\n".join([*([_MEMORY] if is_memory else []), *warnings]),
    )


def interrupted_error(graph: Mapping[str, object], node: str, *, is_resumed: bool) -> Failed:
    """The error for a job that was interrupted by somebody else, or by its own earlier process."""
    where = f" at {name_node(graph, node)}" if node else ""
    if is_resumed:
        return Failed(f"The job was interrupted on the server{where}.")
    return Failed(f"The job was interrupted on the server{where}, but not by imagen.")


def blocked_warning(blocked: NodeFailed, graph: Mapping[str, object]) -> str:
    """A warning about a branch that a node kept from running."""
    node = name_node(graph, blocked.node, blocked.node_class)
    return f"{node} kept a part from running: {_sentence(blocked.message)}."


def empty_error(reasons: tuple[str, ...]) -> Failed:
    """The error for a job that succeeded without an output."""
    because = "".join(f"\n  {reason}" for reason in reasons)
    return Failed(
        f"ComfyUI ended the job without an image.{because}",
        remedy="" if reasons else "Check that the workflow reaches a SaveImage node.",
    )


def name_node(graph: Mapping[str, object], node: str, node_class: str = "") -> str:
    """`Node 8 (KSampler 'second pass')`."""
    from imagen.graphs.graph import describe_node as label

    shown = label(graph, node) or one_line(node_class, limit=60)
    return f"Node {one_line(node, limit=60)}" + (f" ({shown})" if shown else "")


def list_faults(start: str, faults: Sequence[WorkflowFault]) -> str:
    """One sentence, or a list of several."""
    if len(faults) == 1:
        return f"{start}: {faults[0].sentence}"
    return "\n  ".join([f"{start}:", *(fault.sentence for fault in faults)])


def list_remedies(faults: Sequence[WorkflowFault]) -> str:
    """Each remedy once, a line each."""
    return "\n".join(dict.fromkeys(fault.remedy for fault in faults if fault.remedy))


def node_faults(
    node_errors: object,
    graph: Mapping[str, object],
    manifest: Manifest,
    object_info: Mapping[str, object] | None = None,
) -> Iterator[WorkflowFault]:
    """Each fault that the server found with a node's input."""
    from imagen.graphs.validate import fault_at

    for node, error in _errors(node_errors):
        info = as_mapping(error.get("extra_info"))
        name = str(info.get("input_name") or "")
        # What the input takes: from the error itself, or else from the server's node catalog.
        declared = info.get("input_config")
        if not declared:
            node_class = str(as_mapping(graph.get(node)).get("class_type"))
            inputs = as_mapping(as_mapping((object_info or {}).get(node_class)).get("input"))
            sections = (as_mapping(inputs.get(key)) for key in ("required", "optional"))
            declared = next((it[name] for it in sections if it.get(name)), None)
        what, remedy = _explain_error(error, info, name, declared, manifest)
        yield fault_at(graph, node, name, what, remedy)


def _errors(node_errors: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    for node, about in as_mapping(node_errors).items():
        errors = as_mapping(about).get("errors")
        for error in errors if isinstance(errors, list) else ():
            yield str(node), as_mapping(error)


def _explain_error(
    error: Mapping[str, object],
    info: Mapping[str, object],
    name: str,
    declared: object,
    manifest: Manifest,
) -> tuple[str, str]:
    """What is wrong, and the remedy: in our own words where the server gave all the facts."""
    from imagen.graphs.model_names import names_file
    from imagen.graphs.node_catalog import read_catalog
    from imagen.graphs.validate import check_value

    if error.get("type") == "required_input_missing":
        return "is required and missing.", ""
    if "received_value" in info:
        value = info["received_value"]
        if not declared and names_file(value, name):
            declared = [[], {}]  # a list too long to be sent; the file is certainly missing
        node = {"input": {"required": {name: declared}}}
        wanted = read_catalog({"": node})[""].inputs[name]
        wrong = check_value(value, name, wanted, manifest)
        if wrong is not None:
            return wrong
    message, details = _sentence(error.get("message")), _sentence(error.get("details"))
    both = f"{message}: {details}" if details and details not in message else message
    return f"{both or 'the server gave no reason'}.", ""


def names_a_missing_file(reason: Mapping[str, object]) -> bool:
    """Whether a refusal is about a file that the server does not have by that name."""
    from imagen.graphs.model_names import names_file

    infos = (as_mapping(e.get("extra_info")) for _, e in _errors(reason.get("node_errors")))
    return any(
        names_file(info.get("received_value"), str(info.get("input_name") or "")) for info in infos
    )


def hides_choices(reason: Mapping[str, object]) -> bool:
    """Whether a refusal is about a choice whose list is too long for the server to send."""
    return any(
        error.get("type") == "value_not_in_list"
        and not as_mapping(error.get("extra_info")).get("input_config")
        for _, error in _errors(reason.get("node_errors"))
    )


def _sentence(text: object) -> str:
    return one_line(str(text or ""), limit=_LONGEST).rstrip(".")
