"""Tokens: whole string values in a graph, `$<seed>` or `${seed}`, that `bind` replaces."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.field_names import OTHER_NAMES
from imagen.core.text import one_line
from imagen.errors import WorkflowError
from imagen.graphs.graph import describe_node, inputs_of, is_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.graph import Graph, Node

_TOKEN = re.compile(r"\$<(\w[\w.-]*)>|\$\{(\w[\w.-]*)\}")

ALIASES: Mapping[str, str] = {
    name: field
    for field, names in OTHER_NAMES.items()
    for name in names
    if field != "model"  # a loader's file is a parameter under any name
}
"""Other names of a parameter in graphs and manifests, and the request's name for it."""


class TokenPlace(NamedTuple):
    """One token in a graph: the node, the input, and the name as written."""

    node: str
    input: str
    token: str


def canonical_name(name: str) -> str:
    """The request's name for a parameter that a graph or a manifest calls `name`."""
    return ALIASES.get(name, name)


def token_name(value: object) -> str | None:
    """The name of the token, as written, if the whole value is one."""
    match = _TOKEN.fullmatch(value) if isinstance(value, str) else None
    return (match[1] or match[2]) if match else None


def tokens_of(graph: Mapping[str, object]) -> Iterator[TokenPlace]:
    """Each token of a graph, also those within lists and objects."""
    for node_id, node in graph.items():
        for name, value in inputs_of(node).items():
            for token in _tokens_in(value):
                yield TokenPlace(node_id, name, token)


def _tokens_in(value: object) -> Iterator[str]:
    name = token_name(value)
    if name is not None:
        yield name
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tokens_in(inner)
    elif isinstance(value, list) and not is_link(value):
        for inner in value:
            yield from _tokens_in(inner)


def nodes_with(graph: Graph, name: str) -> list[str]:
    """The ids of the nodes that have the token of this canonical name."""
    places = (p.node for p in tokens_of(graph) if canonical_name(p.token) == name)
    return list(dict.fromkeys(places))


def bind(graph: Graph, values: Mapping[str, object]) -> dict[str, Node]:
    """A copy of the graph with every token replaced by its value, whose type is kept.

    Values have canonical names (`count`); the name as written in the graph (`batch_size`) is
    looked up second. A list that becomes the whole of an input is wrapped as
    `{"__value__": [...]}`, since ComfyUI would take it for a link. Raises WorkflowError that
    names each token without a value.
    """
    missing = [place for place in tokens_of(graph) if _value_key(place.token, values) is None]
    if missing:
        raise WorkflowError(
            "\n".join(
                f"The token {token!r} has no value: node {one_line(node, limit=60)} "
                f"({describe_node(graph, node)}), input {one_line(name, limit=60)}."
                for node, name, token in missing
            ),
            remedy=f"Set it (--set {canonical_name(missing[0].token)}=…), or give it a default "
            "in the workflow's manifest.",
        )
    bound = deepcopy(dict(graph))
    for node in bound.values():
        for name, value in inputs_of(node).items():
            new = _bind_value(value, values)
            is_bare_list = token_name(value) is not None and isinstance(new, list)
            node["inputs"][name] = {"__value__": new} if is_bare_list else new
    return bound


def _value_key(token: str, values: Mapping[str, object]) -> str | None:
    return next((key for key in (canonical_name(token), token) if key in values), None)


def _bind_value(value: object, values: Mapping[str, object]) -> object:
    token = token_name(value)
    if token is not None:
        return deepcopy(values[str(_value_key(token, values))])
    if isinstance(value, dict):
        return {key: _bind_value(inner, values) for key, inner in value.items()}
    if isinstance(value, list) and not is_link(value):
        return [_bind_value(inner, values) for inner in value]
    return value
