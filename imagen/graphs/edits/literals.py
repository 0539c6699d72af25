"""Values of a graph that no token names, reached by their node and input: `8.denoise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.core.text import did_you_mean, one_line
from imagen.errors import RequestError
from imagen.graphs.edits.links import with_inputs
from imagen.graphs.tokens import canonical, inputs_of, is_link, label, token_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_A = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def address_of(graph: Mapping[str, Any], name: str) -> tuple[str, str]:
    """The node and the input that `node.input` means.

    The node goes by its id, or by its class or title where only one node has it. Raises
    RequestError for a node or an input that is not there, for what is linked, and for a token.
    """
    node_name, input_name = _split(graph, name)
    node_id = _node(graph, node_name, name)
    inputs = inputs_of(graph[node_id])
    if input_name not in inputs:
        raise RequestError(
            f"{one_line(name)}: {_place(graph, node_id)} has no input {one_line(input_name)!r}."
            + did_you_mean(input_name, inputs),
            remedy=f"It has: {', '.join(map(one_line, inputs))}." if inputs else "It has none.",
        )
    _refuse_taken(graph, node_id, input_name, name)
    return node_id, input_name


def with_literal(
    graph: Mapping[str, Any], address: tuple[str, str], name: str, value: Any
) -> tuple[dict[str, Any], Any]:
    """A copy that has this value there, and the value as it was put; its type stays.

    Raises RequestError, with `name` for the value, where that is of another type.
    """
    node_id, input_name = address
    used = _typed(name, value, inputs_of(graph[node_id])[input_name])
    return with_inputs(graph, node_id, **{input_name: used}), used


def _split(graph: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Titles may hold dots, and so may the inputs of newer nodes."""
    parts = name.split(".")
    splits = [(".".join(parts[:at]), ".".join(parts[at:])) for at in range(1, len(parts))]
    fitting = (split for split in splits if _has(graph, *split))
    return next(fitting, splits[-1])


def _has(graph: Mapping[str, Any], node_name: str, input_name: str) -> bool:
    nodes = (node for i, node in graph.items() if node_name == i or node_name in _names(node))
    return any(input_name in inputs_of(node) for node in nodes)


def _node(graph: Mapping[str, Any], node_name: str, name: str) -> str:
    if node_name in graph:
        return node_name
    named = [node_id for node_id, node in graph.items() if node_name in _names(node)]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(one_line(node_id) for node_id in named)
        raise RequestError(
            f"{one_line(name)}: several nodes are {one_line(node_name)!r}.",
            remedy=f"Name it by its id, one of: {ids}.",
        )
    known = dict.fromkeys([*graph, *(n for node in graph.values() for n in _names(node))])
    raise RequestError(
        f"{one_line(name)}: the workflow has no node {one_line(node_name)!r}."
        + did_you_mean(node_name, map(one_line, known)),
        remedy=f"It has: {', '.join(_listed(graph, node_id) for node_id in graph)}.",
    )


def _names(node: Any) -> set[str]:
    """What people call a node: its class and its title."""
    if not isinstance(node, dict):
        return set()
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return {name for name in (node.get("class_type"), title) if isinstance(name, str) and name}


def _refuse_taken(graph: Mapping[str, Any], node_id: str, input_name: str, name: str) -> None:
    there = inputs_of(graph[node_id])[input_name]
    if is_link(there):
        raise RequestError(
            f"{one_line(name)}: comes from node {one_line(there[0])} "
            f"({label(graph, there[0])}); a link can't be set."
        )
    token = token_name(there)
    if token is not None:
        raise RequestError(
            f"{one_line(name)} is the workflow's parameter {canonical(token)!r}.",
            remedy=f"Set {canonical(token)} instead.",
        )


def _typed(name: str, value: Any, there: Any) -> Any:
    kind = next((kind for kind in _A if type(there) is kind), None)
    if kind is None or type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    if kind is int and type(value) is float:
        return int(value) if value.is_integer() else value  # the editor writes 1.0 as 1
    raise RequestError(f"{one_line(name)} must be {_A[kind]}, not {one_line(repr(value))}.")


def _place(graph: Mapping[str, Any], node_id: str) -> str:
    return f"node {_listed(graph, node_id)}"


def _listed(graph: Mapping[str, Any], node_id: str) -> str:
    shown = label(graph, node_id)
    return f"{one_line(node_id)} ({shown})" if shown else one_line(node_id)
