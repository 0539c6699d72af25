"""Follow links in a graph, redirect them, and create nodes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.text import did_you_mean, one_line
from imagen.errors import RequestError, WorkflowError
from imagen.graphs.graph import (
    Link,
    Node,
    ancestors,
    class_of,
    describe_node,
    inputs_of,
    is_output_node,
    parse_link,
    title_of,
)
from imagen.graphs.tokens import canonical_name, token_name, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagen.graphs.graph import Graph


def link_at(graph: Graph, node_id: str, name: str) -> Link | None:
    """The link at an input, or None if there is none."""
    return parse_link(inputs_of(graph.get(node_id)).get(name))


def used_nodes(graph: Graph) -> list[str]:
    """The nodes that outputs depend on, in the graph's order; all nodes if it has no output."""
    used = ancestors(graph, [node_id for node_id, node in graph.items() if is_output_node(node)])
    return [node_id for node_id in graph if node_id in used or not used]


def links_named(graph: Graph, name: str) -> dict[str, Link]:
    """The link at the input of this name, for each used node that has one."""
    links = {node_id: link_at(graph, node_id, name) for node_id in used_nodes(graph)}
    return {node_id: link for node_id, link in links.items() if link is not None}


def chain_start(graph: Graph, link: Link, name: str) -> Link:
    """Follow the inputs of this name upstream, to the output of the node without one."""
    seen: set[str] = set()
    while (before := link_at(graph, link.node, name)) is not None and link.node not in seen:
        seen.add(link.node)
        link = before
    return link


def redirect_links(graph: Graph, moves: Mapping[Link, Link]) -> dict[str, Node]:
    """A copy in which each link that is a key of `moves` is replaced by its value."""

    def redirect(value: object) -> object:
        link = parse_link(value)
        return list(moves[link]) if link is not None and link in moves else value

    redirected = dict(graph)
    for node_id, node in graph.items():
        if inputs := inputs_of(node):
            redirected[node_id] = {
                **node,
                "inputs": {name: redirect(value) for name, value in inputs.items()},
            }
    return redirected


def with_inputs(graph: Graph, node_id: str, **inputs: object) -> dict[str, Node]:
    """A copy in which this node has these inputs."""
    node = graph[node_id]
    return {**graph, node_id: {**node, "inputs": {**inputs_of(node), **inputs}}}


def free_ids(graph: Graph) -> Iterator[str]:
    """Unused node ids. They are numbers, since the editor accepts nothing else."""
    taken = [int(node_id) for node_id in graph if node_id.isdecimal()]
    return map(str, count(max(taken, default=0) + 1))


def new_node(kind: str, title: str, **inputs: object) -> Node:
    """A node of this class; each input may be a Link."""
    values = {n: list(v) if isinstance(v, Link) else v for n, v in inputs.items()}
    return {"class_type": kind, "inputs": values, "_meta": {"title": title}}


MODEL_INPUTS = ("unet_name", "ckpt_name")
"""The inputs by which loaders of ComfyUI and common custom nodes name a diffusion model."""
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def resolve_address(graph: Graph, address: str) -> tuple[str, str]:
    """The node id and the input that `node.input` means.

    The node may be an id, or a class or title that only one node has. Raises RequestError if the
    node or the input does not exist, is linked, or is a token.
    """
    parts = address.split(".")  # titles may contain dots, and so may inputs of newer nodes
    splits = [(".".join(parts[:at]), ".".join(parts[at:])) for at in range(1, len(parts))]
    matching = (
        (node_name, input_name)
        for node_name, input_name in splits
        for node_id in graph
        if node_name == node_id or node_name in _names(graph[node_id])
        if input_name in inputs_of(graph[node_id])
    )
    node_name, input_name = next(matching, splits[-1])
    shown = one_line(address)
    node_id = _find_node(graph, node_name, shown)
    inputs = inputs_of(graph[node_id])
    if input_name not in inputs:
        raise RequestError(
            f"{shown}: node {_with_class(graph, node_id)} has no input {one_line(input_name)!r}."
            + did_you_mean(input_name, inputs),
            remedy=f"It has: {', '.join(map(one_line, inputs))}." if inputs else "It has none.",
        )
    link, token = parse_link(inputs[input_name]), token_name(inputs[input_name])
    if link is not None:
        raise RequestError(
            f"{shown}: its value comes from node {one_line(link.node)} "
            f"({describe_node(graph, link.node)}); a link cannot be set."
        )
    if token is not None:
        name = canonical_name(token)
        raise RequestError(
            f"{shown} is the workflow's parameter {name!r}.", remedy=f"Set {name} instead."
        )
    return node_id, input_name


def _find_node(graph: Graph, name: str, shown: str) -> str:
    if name in graph:
        return name
    named = [node_id for node_id, node in graph.items() if name in _names(node)]
    if len(named) == 1:
        return named[0]
    if named:
        raise RequestError(
            f"{shown}: several nodes are named {one_line(name)!r}.",
            remedy=f"Use an id instead, one of: {', '.join(map(one_line, named))}.",
        )
    known = dict.fromkeys([*graph, *(n for node in graph.values() for n in _names(node))])
    raise RequestError(
        f"{shown}: the workflow has no node {one_line(name)!r}."
        + did_you_mean(name, map(one_line, known)),
        remedy=f"It has: {', '.join(_with_class(graph, node_id) for node_id in graph)}.",
    )


def _names(node: Node) -> set[str]:
    return {class_of(node), title_of(node)} - {""}


def _with_class(graph: Graph, node_id: str) -> str:
    shown = describe_node(graph, node_id)
    return f"{one_line(node_id)} ({shown})" if shown else one_line(node_id)


def with_value(
    graph: Graph, place: tuple[str, str], name: str, value: object
) -> tuple[dict[str, Node], object]:
    """A copy that has this value at this node and input, and the value as converted to its type.

    Raises RequestError, which calls the value `name`, if it is of another type.
    """
    node_id, input_name = place
    present = inputs_of(graph[node_id])[input_name]
    wanted = next((kind for kind in _TYPE_NAMES if type(present) is kind), None)
    if wanted is float and type(value) is int:
        value = float(value)
    elif wanted is int and isinstance(value, float):
        value = int(value) if value.is_integer() else value  # the editor writes 1.0 as 1
    elif wanted is not None and type(value) is not wanted:
        raise RequestError(
            f"{one_line(name)} must be {_TYPE_NAMES[wanted]}, not {one_line(repr(value))}."
        )
    return with_inputs(graph, node_id, **{input_name: value}), value


class ModelPlace(NamedTuple):
    """Where a graph names its model."""

    inputs: tuple[tuple[str, str], ...]
    """Each node, and its input."""
    value: str
    """The file or the token there."""

    @property
    def token(self) -> str:
        """The parameter that names the model; "" if the graph names a file."""
        return canonical_name(token_name(self.value) or "")


def place_of_model(graph: Graph) -> ModelPlace:
    """Where the graph names its model: at the token `model`, or in its only loader.

    Raises WorkflowError for a graph that loads no model by name, or several.
    """
    found = [
        (node_id, name, value)
        for node_id, name, _ in tokens_of(graph)
        if token_name(value := inputs_of(graph[node_id])[name]) == "model"
    ] or [
        (node_id, name, value)
        for node_id in used_nodes(graph)
        for name, value in inputs_of(graph[node_id]).items()
        if name in MODEL_INPUTS and isinstance(value, str)
    ]
    values = {str(value) for _, _, value in found}
    if not values:
        raise WorkflowError("this workflow loads no checkpoint by name")
    if len(values) > 1:
        node_id, name, _ = found[0]
        raise WorkflowError(
            f"this workflow loads several models; name the node: --set {node_id}.{name}=NAME"
        )
    return ModelPlace(tuple((node_id, name) for node_id, name, _ in found), values.pop())


def with_model(graph: Graph, place: ModelPlace, model: str) -> dict[str, Node]:
    """A copy that names this model there."""
    changed = dict(graph)
    for node_id, name in place.inputs:
        changed = with_inputs(changed, node_id, **{name: model})
    return changed
