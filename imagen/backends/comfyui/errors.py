"""What a ComfyUI server says when something is wrong, as errors of ours."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from imagen.backends.comfyui.answers import mapping
from imagen.core.text import one_line, printable
from imagen.errors import Failed, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.backends.comfyui.config import ComfyUIConfig
    from imagen.backends.comfyui.events import Broken
    from imagen.graphs import Manifest, WorkflowFault

_LONGEST = 500
_MOST_FAULTS = 20
_MEMORY = (
    "Ask for a smaller size or fewer pictures at once, choose smaller weights "
    "(where the workflow has it: --set weight_dtype=fp8_e4m3fn), or free what else the GPU holds."
)
_REFUSED = "ComfyUI refused the workflow"
_INSTALL = "Install the custom nodes that bring it, or update ComfyUI."


def unreachable(config: ComfyUIConfig) -> str:
    """What to do about a server that can't be reached; the user's own hint comes last."""
    lines = [
        "Start it there (in ComfyUI's folder: python main.py --listen), "
        f"or set backends.{config.name}.url to where it runs."
    ]
    return "\n".join([*lines, config.hint] if config.hint else lines)


def rejected(
    said: Any,
    graph: Mapping[str, Any],
    manifest: Manifest,
    object_info: Mapping[str, Any] | None = None,
) -> Rejected:
    """The error of a graph that the server refused: every fault, with what to do about each."""
    if not isinstance(said, dict):
        return Rejected(f"{_REFUSED}: {_words(said) or 'it gave no reason'}.")
    found = node_faults(said.get("node_errors"), graph, manifest, object_info)
    faults = list(islice(found, _MOST_FAULTS))
    if not faults:
        return _refused_whole(said.get("error"), manifest)
    return Rejected(_listed(_REFUSED, faults), remedy=_remedies(faults))


def skipped(node_errors: Any, graph: Mapping[str, Any], manifest: Manifest) -> tuple[str, ...]:
    """A warning for each fault of a part that the server left out while it ran the rest."""
    faults = islice(node_faults(node_errors, graph, manifest), _MOST_FAULTS)
    return tuple(f"ComfyUI left a part out: {fault.sentence}" for fault in faults)


def failed(broken: Broken, graph: Mapping[str, Any], warnings: tuple[str, ...] = ()) -> Failed:
    """The error of a job that broke off in one of its nodes; `warnings` may say why."""
    kind = one_line(broken.kind, limit=80)
    words = _words(broken.message)
    remedy = "\n".join([*([_MEMORY] if _is_memory(kind, words) else []), *warnings])
    what = f"{place(graph, broken.node, broken.node_class)} failed: {kind}: {words}."
    return Failed(f"{what}{_tail(broken.traceback)}", remedy=remedy)


def interrupted(graph: Mapping[str, Any], node: str, *, is_resumed: bool) -> Failed:
    """The error of a job that somebody else stopped, or its own process, which died since."""
    where = f" at {place(graph, node)}" if node else ""
    if is_resumed:
        return Failed(f"The job was interrupted on the server{where}.")
    return Failed(f"Somebody interrupted the job on the server{where}; it was not imagen.")


def blocked(broken: Broken, graph: Mapping[str, Any]) -> str:
    """A warning about a branch that a node kept from running."""
    where = place(graph, broken.node, broken.node_class)
    return f"{where} kept a part from running: {_words(broken.message)}."


def empty(reasons: tuple[str, ...]) -> Failed:
    """The error of a job that ended well and gave nothing."""
    because = "".join(f"\n  {reason}" for reason in reasons)
    return Failed(
        f"ComfyUI ended the job without a picture.{because}",
        remedy="" if reasons else "See that the workflow has a SaveImage node that is reached.",
    )


def place(graph: Mapping[str, Any], node: str, node_class: str = "") -> str:
    """`Node 8 (KSampler 'second pass')`."""
    from imagen.graphs.graph import describe_node

    shown = describe_node(graph, node) or one_line(node_class, limit=60)
    return f"Node {one_line(node, limit=60)}" + (f" ({shown})" if shown else "")


def node_faults(
    node_errors: Any,
    graph: Mapping[str, Any],
    manifest: Manifest,
    object_info: Mapping[str, Any] | None = None,
) -> Iterator[WorkflowFault]:
    """Each fault that the server found with a node."""
    for node, said in mapping(node_errors).items():
        for error in _list(mapping(said).get("errors")):
            yield _fault(str(node), mapping(error), graph, manifest, object_info or {})


def names_a_missing_file(said: Any) -> bool:
    """Whether a refusal is about a file that the server doesn't have under that name."""
    from imagen.graphs.model_names import names_file

    infos = (_info(error) for error in _errors(said))
    return any(
        names_file(info.get("received_value"), str(info.get("input_name") or "")) for info in infos
    )


def hides_choices(said: Any) -> bool:
    """Whether a refusal is about a choice, and its list too long for the server to tell."""
    return any(
        error.get("type") == "value_not_in_list" and not _info(error).get("input_config")
        for error in _errors(said)
    )


def _errors(said: Any) -> list[dict[str, Any]]:
    nodes = mapping(mapping(said).get("node_errors")).values()
    return [mapping(error) for node in nodes for error in _list(mapping(node).get("errors"))]


def _fault(
    node: str,
    error: Mapping[str, Any],
    graph: Mapping[str, Any],
    manifest: Manifest,
    object_info: Mapping[str, Any],
) -> WorkflowFault:
    from imagen.graphs.validate import fault_at

    name = str(_info(error).get("input_name") or "")
    declared = _declared(graph, node, name, error, object_info)
    what, remedy = _wrong(error, name, declared, manifest)
    return fault_at(graph, node, name, what, remedy)


def _wrong(
    error: Mapping[str, Any], name: str, declared: Any, manifest: Manifest
) -> tuple[str, str]:
    """What is wrong, and the remedy: in our own words where the server gave all the facts."""
    kind, info = error.get("type"), _info(error)
    if kind == "required_input_missing":
        return "is required and missing.", ""
    if "received_value" in info:
        ours = _wrong_value(info["received_value"], name, declared, manifest)
        if ours is not None:
            return ours
    message, details = _words(error.get("message")), _words(error.get("details"))
    both = f"{message}: {details}" if details and details not in message else message
    return f"{both or 'the server gave no reason'}.", ""


def _wrong_value(
    value: Any, name: str, declared: Any, manifest: Manifest
) -> tuple[str, str] | None:
    from imagen.graphs.model_names import names_file
    from imagen.graphs.node_catalog import read_catalog
    from imagen.graphs.validate import check_value

    if not declared and names_file(value, name):
        declared = [[], {}]  # a list too long to be told; that the file is missing is certain
    node = {"input": {"required": {name: declared}}}
    wanted = read_catalog({"": node})[""].inputs[name]
    return check_value(value, name, wanted, manifest)


def _declared(
    graph: Mapping[str, Any],
    node: str,
    name: str,
    error: Mapping[str, Any],
    object_info: Mapping[str, Any],
) -> Any:
    """What the server says the input takes: in the error itself, or else in its catalogue."""
    told = _info(error).get("input_config")
    if told:
        return told
    kind = mapping(graph.get(node)).get("class_type")
    inputs = mapping(mapping(object_info.get(str(kind))).get("input"))
    found = (mapping(inputs.get(section)).get(name) for section in ("required", "optional"))
    return next((declared for declared in found if declared), None)


def _info(error: Mapping[str, Any]) -> dict[str, Any]:
    return mapping(error.get("extra_info"))


def _refused_whole(error: Any, manifest: Manifest) -> Rejected:
    """A refusal that is about no node's input; some servers say it in one string."""
    said = mapping(error)
    message = _words(said.get("message") or (error if isinstance(error, str) else ""))
    details = _words(said.get("details"))
    both = f"{message} ({details})" if details and details not in message else message
    return Rejected(
        f"{_REFUSED}: {both or 'it gave no reason'}.", remedy=_missing_node(message, manifest)
    )


def _missing_node(message: str, manifest: Manifest) -> str:
    """What to do about a node that the server says it has not; "" for any other message."""
    from imagen.graphs.node_catalog import missing_package_remedy

    if "does not exist" not in message:
        return ""
    words = message.replace("'", " ").split()
    packs = (pack.remedy for pack in manifest.nodes if not {*pack.classes}.isdisjoint(words))
    return next(packs, missing_package_remedy(words) or _INSTALL)


def _listed(start: str, faults: list[WorkflowFault]) -> str:
    if len(faults) == 1:
        return f"{start}: {faults[0].sentence}"
    return "\n  ".join([f"{start}:", *(fault.sentence for fault in faults)])


def _remedies(faults: list[WorkflowFault]) -> str:
    return "\n".join(dict.fromkeys(fault.remedy for fault in faults if fault.remedy))


def _list(said: Any) -> list[Any]:
    return said if isinstance(said, list) else []


def _words(said: Any) -> str:
    return one_line(str(said or ""), limit=_LONGEST).rstrip(".")


def _is_memory(kind: str, words: str) -> bool:
    return kind.endswith("OutOfMemoryError") or "out of memory" in words.lower()


def _tail(traceback: tuple[str, ...]) -> str:
    """Where in the server's code it broke: the last step only."""
    last = [line for line in printable("".join(traceback[-1:])).splitlines() if line.strip()]
    return "".join(f"\n  {one_line(line)}" for line in last[:2])
