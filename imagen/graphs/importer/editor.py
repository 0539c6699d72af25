"""A file of ComfyUI's editor, read: its sheets of nodes and links, and its subgraphs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imagen.core.text import one_line
from imagen.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.importer.declared import Declared

MUTED, BYPASSED = 2, 4
ENTRY, EXIT = "-10", "-20"
"""The ids under which a subgraph's links name its own inputs and outputs."""
_EXPORT = "In ComfyUI, open the workflow and choose Workflow > Export (API); add the file it saves."


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


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The nodes and links of the workflow itself, of one subgraph, or of an old group node."""

    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    inputs: tuple[Slot, ...] = ()
    name: str = ""
    widgets: tuple[Declared, ...] = ()
    """Of an old group node: the widgets on its face, in the order of their values."""
    widget_targets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The node within and its input that each of these widgets sets."""
    has_broadcast_links: bool = False
    """Whether the file lists where its broadcasting nodes (Anything Everywhere) lead."""

    @cached_property
    def exits(self) -> Mapping[int, Link]:
        """The link that leads to each output of a subgraph."""
        leading = [link for link in self.links.values() if link.target == EXIT]
        return {link.target_slot: link for link in reversed(leading)}

    @cached_property
    def entries(self) -> Mapping[int, list[tuple[Node, Slot]]]:
        """The nodes within, and their inputs, that each input of a subgraph leads to."""
        found: dict[int, list[tuple[Node, Slot]]] = defaultdict(list)
        for key, link in self.links.items():
            node = self.nodes.get(link.target) if link.source == ENTRY else None
            for face in node.inputs if node is not None else ():
                if face.link == key and node is not None:
                    found[link.slot].append((node, face))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """All of a file."""

    top: Sheet
    subgraphs: Mapping[str, Sheet] = field(default_factory=dict)
    source: str = ""


def read_document(said: Mapping[str, Any], source: str) -> Document:
    """The file's sheets. Raises WorkflowError for entries that are not nodes."""
    listed = _mapping(said.get("definitions")).get("subgraphs")
    definitions = [item for item in _list(listed) if isinstance(item, dict)]
    subgraphs = {str(item.get("id")): _sheet(item, source) for item in definitions}
    return Document(top=_sheet(said, source), subgraphs=subgraphs, source=source)


def label(node: Node) -> str:
    """A node as people know it: its class, with its title where it has one of its own."""
    kind = one_line(node.type, limit=60)
    title = one_line(node.title, limit=60)
    return f"{kind} {title!r}" if title and title != kind else kind


def _sheet(said: Mapping[str, Any], source: str) -> Sheet:
    nodes = {node.id: node for node in (read_node(one, source) for one in _list(said.get("nodes")))}
    links = dict(_links(said.get("links")))
    listed = _mapping(said.get("extra")).get("ue_links")
    for number, broadcast in enumerate(_list(listed)):
        _add_broadcast(nodes, links, _mapping(broadcast), f"ue{number}", source)
    return Sheet(
        nodes=nodes,
        links=links,
        inputs=_slots(said.get("inputs")),
        name=_text(said.get("name")),
        has_broadcast_links=isinstance(listed, list),
    )


def _add_broadcast(
    nodes: dict[str, Node],
    links: dict[str, Link],
    said: Mapping[str, Any],
    key: str,
    source: str,
) -> None:
    """Add a link that the editor makes for a broadcasting node, where no other link arrives."""
    upstream, slot = said.get("upstream"), said.get("upstream_slot")
    downstream, at = said.get("downstream"), said.get("downstream_slot")
    node = nodes.get(str(downstream))
    if node is None or str(upstream) not in nodes:
        return  # the node was deleted; the editor makes no such link
    if type(slot) is not int or type(at) is not int or not 0 <= at < len(node.inputs):
        raise WorkflowError(
            f"{source} lists a link of an Anything Everywhere node to input {at} of node "
            f"{node.id} ({label(node)}), which has {len(node.inputs)} inputs.",
            remedy=_EXPORT,
        )
    if (node.inputs[at].link or "") not in links:
        faces = (*node.inputs[:at], replace(node.inputs[at], link=key), *node.inputs[at + 1 :])
        nodes[node.id] = replace(node, inputs=faces)
        links[key] = Link(source=str(upstream), slot=slot, target=node.id, target_slot=at)


def read_node(said: Any, source: str) -> Node:
    """One node of the file. Raises WorkflowError for what has no id or no type."""
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
