"""Tokens: whole string values of a graph, `$<seed>` or `${seed}`, that binding replaces."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from imagen.core.field_names import OTHER_NAMES
from imagen.core.text import one_line
from imagen.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOKEN = re.compile(r"\$<(\w[\w.-]*)>|\$\{(\w[\w.-]*)\}")

ALIASES: Mapping[str, str] = {
    name: field
    for field, names in OTHER_NAMES.items()
    for name in names
    if field != "model"  # which file a loader takes is a parameter by any name
}
"""What people call a parameter in graphs of their own, and `Request`'s name for it."""


def canonical(name: str) -> str:
    """`Request`'s name for what a graph or a manifest calls `name`."""
    return ALIASES.get(name, name)


def token_name(value: Any) -> str | None:
    """The name in `value` as it is written there, where the whole of it is a token."""
    found = _TOKEN.fullmatch(value) if isinstance(value, str) else None
    return (found[1] or found[2]) if found else None


def is_link(value: Any) -> bool:
    """Whether `value` is a reference to another node's output: `["4", 0]`."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and type(value[1]) in (int, float)
    )


def tokens_of(graph: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each token of a graph: the node's id, the input, and the name as it is written."""
    for node_id, node in graph.items():
        for name, value in inputs_of(node).items():
            for token in _tokens_in(value):
                yield node_id, name, token


def nodes_with(graph: Mapping[str, Any], name: str) -> list[str]:
    """The ids of the nodes that have the token of this canonical name."""
    return list(dict.fromkeys(n for n, _, token in tokens_of(graph) if canonical(token) == name))


def inputs_of(node: Any) -> Mapping[str, Any]:
    """A node's inputs; none for what is no node."""
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def label(graph: Mapping[str, Any], node_id: str) -> str:
    """A node as people know it: its title where it has one of its own, and its class."""
    node = graph.get(node_id)
    if not isinstance(node, dict):
        return ""
    meta = node.get("_meta")
    title = one_line(str(meta.get("title") or ""), limit=60) if isinstance(meta, dict) else ""
    kind = one_line(str(node.get("class_type") or ""), limit=60)
    return f"{kind} {title!r}" if title and title != kind else kind


def bind(graph: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A fresh copy of `graph` in which every token is replaced by its value, type kept.

    Values go by canonical name (`count`); a value under the name that is written in the graph
    (`batch_size`) serves where there is none. A list that becomes the whole of an input is wrapped
    as `{"__value__": [...]}`, as ComfyUI would take a bare one for a link; every other value stands
    as it is. Raises WorkflowError that names each token without a value.
    """
    missing = [place for place in tokens_of(graph) if _key(place[2], values) is None]
    if missing:
        raise _without_value(graph, missing)
    return {node_id: _bound_node(node, values) for node_id, node in graph.items()}


def _tokens_in(value: Any) -> Iterator[str]:
    name = token_name(value)
    if name is not None:
        yield name
    elif isinstance(value, dict) or (isinstance(value, list) and not is_link(value)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tokens_in(inner)


def _key(token: str, values: Mapping[str, Any]) -> str | None:
    return next((key for key in (canonical(token), token) if key in values), None)


def _bound_node(node: Any, values: Mapping[str, Any]) -> Any:
    copy = deepcopy(node)
    for name, value in inputs_of(copy).items():
        bound = _bound(value, values)
        wrap = token_name(value) is not None and isinstance(bound, list)
        copy["inputs"][name] = {"__value__": bound} if wrap else bound
    return copy


def _bound(value: Any, values: Mapping[str, Any]) -> Any:
    token = token_name(value)
    if token is not None:
        return deepcopy(values[str(_key(token, values))])
    if isinstance(value, dict):
        return {key: _bound(inner, values) for key, inner in value.items()}
    if isinstance(value, list) and not is_link(value):
        return [_bound(inner, values) for inner in value]
    return value


def _without_value(graph: Mapping[str, Any], missing: list[tuple[str, str, str]]) -> WorkflowError:
    lines = [
        f"The token {token!r} has no value: "
        f"node {one_line(node, limit=60)} ({label(graph, node)}), input {one_line(name, limit=60)}."
        for node, name, token in missing
    ]
    first = canonical(missing[0][2])
    return WorkflowError(
        "\n".join(lines),
        remedy=f"Ask for it (--set {first}=…), or give it a default in the workflow's manifest.",
    )
