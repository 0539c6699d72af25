"""A file of ComfyUI's editor, read: its sheets of nodes and links, and its subgraphs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.errors import WorkflowError
from imagen.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MUTED, BYPASSED = 2, 4
ENTRY, EXIT = "-10", "-20"
"""The ids under which a subgraph's links name its own inputs and outputs."""
_EXPORT = "In ComfyUI, open the workflow and choose Workflow > Export (API); add the file it saves."
_GROUP_NODES = ("workflow>", "workflow/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One input or output of a node."""

    name: str
    type: str
    link: str | None = None
    """The id of the link that arrives here."""
    has_widget: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A connection between two nodes of one sheet."""

    source: str
    slot: int
    target: str
    target_slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node as the editor keeps it."""

    id: str
    type: str
    title: str
    mode: int
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    values: Any
    """The values of its widgets: a list in their order, or by name."""
    named: Mapping[str, Any]
    """The same by name, where the editor was new enough to write them."""
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The nodes and links of the workflow itself, or of one subgraph."""

    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    inputs: tuple[Slot, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """All of a file."""

    top: Sheet
    subgraphs: Mapping[str, Sheet] = field(default_factory=dict)
    source: str = ""


def read_document(said: Mapping[str, Any], source: str) -> Document:
    """The file's sheets. Raises WorkflowError for nodes that are none, and old group nodes."""
    listed = _mapping(said.get("definitions")).get("subgraphs")
    definitions = [item for item in _list(listed) if isinstance(item, dict)]
    subgraphs = {str(item.get("id")): _sheet(item, source) for item in definitions}
    document = Document(top=_sheet(said, source), subgraphs=subgraphs, source=source)
    _refuse_group_nodes(document)
    return document


def label(node: Node) -> str:
    """A node as people know it: its class, with its title where it has one of its own."""
    kind = one_line(node.type, limit=60)
    title = one_line(node.title, limit=60)
    return f"{kind} {title!r}" if title and title != kind else kind


def _refuse_group_nodes(document: Document) -> None:
    sheets = (document.top, *document.subgraphs.values())
    for node in (node for sheet in sheets for node in sheet.nodes.values()):
        if node.type.startswith(_GROUP_NODES):
            name = one_line(node.type[len(_GROUP_NODES[0]) :], limit=60)
            raise WorkflowError(
                f"{document.source} has a group node, {name!r}: an older form, which only "
                "the editor can take apart.",
                remedy=f"Convert it to a subgraph or to nodes there; or: {_EXPORT}",
            )


def _sheet(said: Mapping[str, Any], source: str) -> Sheet:
    nodes = [_node(item, source) for item in _list(said.get("nodes"))]
    return Sheet(
        nodes={node.id: node for node in nodes},
        links=dict(_links(said.get("links"))),
        inputs=_slots(said.get("inputs")),
        name=_text(said.get("name")),
    )


def _node(said: Any, source: str) -> Node:
    if not isinstance(said, dict) or not isinstance(said.get("type"), str) or "id" not in said:
        raise WorkflowError(
            f"{source} is damaged: one of its nodes has no id or no type.", remedy=_EXPORT
        )
    mode = said.get("mode")
    return Node(
        id=str(said["id"]),
        type=said["type"],
        title=_text(said.get("title")),
        mode=mode if isinstance(mode, int) else 0,
        inputs=_slots(said.get("inputs")),
        outputs=_slots(said.get("outputs")),
        values=said.get("widgets_values"),
        named=_mapping(said.get("widgets_values_named")),
        properties=_mapping(said.get("properties")),
    )


def _slots(said: Any) -> tuple[Slot, ...]:
    return tuple(_slot(item) for item in _list(said) if isinstance(item, dict))


def _slot(said: Mapping[str, Any]) -> Slot:
    link = said.get("link")
    kind = said.get("type")
    return Slot(
        name=_text(said.get("name")),
        type=kind if isinstance(kind, str) else "COMBO" if isinstance(kind, list) else "*",
        link=None if link is None else str(link),
        has_widget=isinstance(said.get("widget"), dict),
    )


def _links(said: Any) -> Iterator[tuple[str, Link]]:
    """Both ways to write one: `[id, from, slot, to, slot, type]`, and an object."""
    for item in _list(said):
        if isinstance(item, dict):
            keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            item = [item.get(key) for key in keys]
        if isinstance(item, list) and len(item) >= 5:
            identity, source, slot, target, target_slot = item[:5]
            if type(slot) is int and type(target_slot) is int:
                yield (
                    str(identity),
                    Link(
                        source=str(source), slot=slot, target=str(target), target_slot=target_slot
                    ),
                )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
