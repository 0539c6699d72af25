"""What stands on a subgraph's own face: the values of widgets that lie within."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagen.core.json_values import parse_json
from imagen.graphs.importer.declared import CONTROLS, SEEDS
from imagen.graphs.importer.widgets import read_widgets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imagen.graphs.importer.editor import Node, Sheet

_FACE = "-1"
_DEEPEST = 24

Inner = tuple[str, str]
"""A node within, and the name of its widget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """The values that one instance of a subgraph has instead of those written within."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    """By the name of the subgraph's input: used where no link arrives there."""
    inner: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Put straight upon widgets within, by node and widget, without an input between."""


def promoted(
    host: Node,
    sheet: Sheet,
    subgraphs: Mapping[str, Sheet],
    above: Mapping[str, Mapping[str, Any]],
) -> Promoted:
    """The values on the face of `host`; `above` are those its own surroundings put upon it."""
    upon = above.get(host.id, {})
    if sheet.widgets:
        values = {**read_widgets(host, sheet.widgets).values, **upon}
        targets = sheet.widget_targets
        return Promoted(inner=_by_node((targets[n], v) for n, v in values.items() if n in targets))
    inner: Mapping[str, Mapping[str, Any]] = {}
    proxies = _proxies(host)
    names = [s.name for n, s in enumerate(sheet.inputs) if _is_widget(sheet, n, subgraphs)]
    if host.named and len(names) != len(_listed(host)):
        inputs = {slot.name: host.named.get(slot.name) for slot in sheet.inputs}
    elif proxies:
        inputs, inner = _by_proxy(proxies, _listed(host))
    else:
        inputs = dict(_in_order(names, _listed(host)))
    given = {name: value for name, value in {**inputs, **upon}.items() if value is not None}
    return Promoted(inputs=given, inner=inner)


def _proxies(host: Node) -> list[Inner]:
    """Pairs of a node within and its widget; older files keep them as JSON in a text."""
    said = host.properties.get("proxyWidgets")
    if isinstance(said, str):
        try:
            said = parse_json(said)
        except ValueError:
            return []
    pairs = said if isinstance(said, list) else []
    return [(str(p[0]), str(p[1])) for p in pairs if isinstance(p, list) and len(p) >= 2]


def _by_proxy(
    proxies: Sequence[Inner], values: Sequence[Any]
) -> tuple[dict[str, Any], Mapping[str, Mapping[str, Any]]]:
    given = [(p, v) for p, v in zip(proxies, values, strict=False) if v is not None]
    face = {name: value for (node, name), value in given if node == _FACE}
    return face, _by_node((inner, value) for inner, value in given if inner[0] != _FACE)


def _by_node(given: Iterable[tuple[Inner, Any]]) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for (node, name), value in given:
        found[node][name] = value
    return dict(found)


def _in_order(names: Sequence[str], values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Values by position; where there are more than names, seeds bring their control with them."""
    surplus = len(values) > len(names)
    at = 0
    for name in names:
        if at < len(values):
            yield name, values[at]
        at += 1
        if surplus and name in SEEDS and at < len(values) and values[at] in (*CONTROLS, None):
            at += 1


def _is_widget(sheet: Sheet, slot: int, subgraphs: Mapping[str, Sheet]) -> bool:
    """Whether an input of a subgraph leads to a widget within, through any depth."""
    for _ in range(_DEEPEST):
        faces = sheet.entries.get(slot, [])
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


def _listed(host: Node) -> list[Any]:
    return host.values if isinstance(host.values, list) else []
