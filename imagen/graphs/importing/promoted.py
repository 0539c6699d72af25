"""What stands on a subgraph's own face: the values of widgets that lie within."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.graphs.importing.editor import ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imagen.graphs.importing.editor import Node, Sheet, Slot

CONTROLS = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
"""What the editor does to a seed after each run; no server is told."""
_SEEDS = ("seed", "noise_seed")
_FACE = "-1"
_DEEPEST = 24

Inner = tuple[str, str]
"""A node within, and the name of its widget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """The values that one instance of a subgraph has instead of those written within."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    """By the name of the subgraph's input: used where no link arrives there."""
    inner: Mapping[Inner, Any] = field(default_factory=dict)
    """Put straight upon widgets within, without an input between."""


def promoted(
    host: Node,
    sheet: Sheet,
    subgraphs: Mapping[str, Sheet],
    above: Mapping[Inner, Any],
) -> Promoted:
    """The values on the face of `host`; `above` are those its own surroundings put upon it."""
    inner: Mapping[Inner, Any] = {}
    proxies = _proxies(host)
    names = [s.name for n, s in enumerate(sheet.inputs) if _is_widget(sheet, n, subgraphs)]
    if host.named and len(names) != len(_listed(host)):
        inputs = {slot.name: host.named.get(slot.name) for slot in sheet.inputs}
    elif proxies:
        inputs, inner = _by_proxy(proxies, _listed(host))
    else:
        inputs = dict(_in_order(names, _listed(host)))
    upon = {name: value for (node, name), value in above.items() if node == host.id}
    given = {name: value for name, value in (inputs | upon).items() if value is not None}
    return Promoted(inputs=given, inner=inner)


def _proxies(host: Node) -> list[Inner]:
    """Pairs of a node within and its widget; older files keep them as JSON in a text."""
    said = host.properties.get("proxyWidgets")
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except ValueError:
            return []
    pairs = said if isinstance(said, list) else []
    return [(str(p[0]), str(p[1])) for p in pairs if isinstance(p, list) and len(p) >= 2]


def _by_proxy(
    proxies: Sequence[Inner], values: Sequence[Any]
) -> tuple[dict[str, Any], dict[Inner, Any]]:
    given = [(p, v) for p, v in zip(proxies, values, strict=False) if v is not None]
    face = {name: value for (node, name), value in given if node == _FACE}
    return face, {(node, name): value for (node, name), value in given if node != _FACE}


def _in_order(names: Sequence[str], values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Values by position; where there are more than names, seeds bring their control with them."""
    surplus = len(values) > len(names)
    at = 0
    for name in names:
        if at < len(values):
            yield name, values[at]
        at += 1
        if surplus and name in _SEEDS and at < len(values) and values[at] in CONTROLS:
            at += 1


def _is_widget(sheet: Sheet, slot: int, subgraphs: Mapping[str, Sheet]) -> bool:
    """Whether an input of a subgraph leads to a widget within, through any depth."""
    for _ in range(_DEEPEST):
        faces = list(_faces(sheet, slot))
        if any(face.has_widget for _, face in faces):
            return True
        inner = next((pair for pair in faces if pair[0].type in subgraphs), None)
        if inner is None:
            return False
        sheet = subgraphs[inner[0].type]
        names = [face.name for face in sheet.inputs]
        if inner[1].name not in names:
            return False
        slot = names.index(inner[1].name)
    return False


def _faces(sheet: Sheet, slot: int) -> Iterator[tuple[Node, Slot]]:
    """The inputs within that an input of the subgraph leads to."""
    for key, link in sheet.links.items():
        node = sheet.nodes.get(link.target)
        if link.source == ENTRY and link.slot == slot and node is not None:
            yield from ((node, face) for face in node.inputs if face.link == key)


def _listed(host: Node) -> list[Any]:
    return host.values if isinstance(host.values, list) else []
