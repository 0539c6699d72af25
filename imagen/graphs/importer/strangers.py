"""Nodes that a catalogue does not know: refused by name where something depends on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.text import did_you_mean, one_line
from imagen.errors import WorkflowError
from imagen.graphs.importer.editor import BYPASSED, MUTED, label

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from imagen.graphs.importer.editor import Document, Node
    from imagen.graphs.importer.wiring import Placed

_BROADCASTS = ("Anything Everywhere", "Prompts Everywhere", "Seed Everywhere")
_MOST_SAID = 8
_EXPORT = "Or export the workflow from an editor that has it: Workflow > Export (API)."


def refuse_broadcasts(document: Document) -> None:
    """Some nodes feed others without a link; most files list the links that result, not all."""
    for sheet in (document.top, *document.subgraphs.values()):
        if sheet.has_broadcast_links:
            continue
        for node in sheet.nodes.values():
            if node.mode not in (MUTED, BYPASSED) and node.type.startswith(_BROADCASTS):
                raise WorkflowError(
                    f"Node {node.id} ({label(node)}) of {document.source} feeds others without "
                    "links, which only the editor can follow.",
                    remedy="Export the workflow there: Workflow > Export (API).",
                )


def refuse_strangers(
    running: Mapping[str, Placed],
    skeleton: Mapping[str, Any],
    kept: Collection[str],
    object_info: Mapping[str, Any],
    source: str,
) -> None:
    """Raise WorkflowError that names each unknown class that counts, and the pack it is from.

    One that no output is made from is left out, unless it looks like an output itself.
    """
    fed = {link[0] for node in skeleton.values() for link in node["inputs"].values()}
    strangers = {key: p for key, p in running.items() if p.node.type not in object_info}
    counting = {
        key: placed.node
        for key, placed in strangers.items()
        if key in kept or (skeleton[key]["inputs"] and key not in fed and not _broadcasts(placed))
    }
    if counting:
        lines = "\n  ".join(_sentences(counting, object_info))
        raise WorkflowError(
            f"{source} uses nodes that the catalogue has not:\n  {lines}",
            remedy=f"Install what brings them, and take the catalogue again. {_EXPORT}",
        )


def _broadcasts(placed: Placed) -> bool:
    return placed.node.type.startswith(_BROADCASTS)


def _sentences(counting: Mapping[str, Node], object_info: Mapping[str, Any]) -> Iterator[str]:
    by_class: dict[str, list[str]] = {}
    for key, node in counting.items():
        by_class.setdefault(node.type, []).append(key)
    for number, (kind, keys) in enumerate(by_class.items()):
        if number == _MOST_SAID:
            yield f"… and {len(by_class) - _MOST_SAID} more"
            return
        where = f"node{'s' if len(keys) > 1 else ''} {', '.join(keys[:5])}"
        origin = _origin(counting[keys[0]])
        near = "" if origin else did_you_mean(kind, object_info)
        yield f"{one_line(kind, limit=80)} ({where}){origin}.{near}"


def _origin(node: Node) -> str:
    pack = _text(node.properties.get("cnr_id")) or _text(node.properties.get("aux_id"))
    version = _text(node.properties.get("ver"))
    if pack == "comfy-core":
        saved = f"; the file was saved by {version}" if version else ""
        return f", which newer versions of ComfyUI have{saved}"
    return f", of the pack {pack}" if pack else ""


def _text(value: Any) -> str:
    return one_line(value, limit=80) if isinstance(value, str) else ""
