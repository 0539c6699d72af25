"""Subgraphs are expanded, with the values on their faces."""

from __future__ import annotations

from typing import Any

import pytest
from support.editor_files import Wire, editor, graph_of, node, shown, subgraph

from imagen.errors import WorkflowError

BLUR = node("Blur", 3, inputs=[("amount", "INT", "widget")])
IMAGE_LOADER = node("LoadImage", "cat.png", "image")
SOFT = subgraph(
    "soft",
    {"5": BLUR},
    [
        ("-10", 0, "5", "image", "IMAGE"),
        ("-10", 1, "5", "amount", "INT"),
        ("5", 0, "-20", "0", "IMAGE"),
    ],
    inputs=[("photo", "IMAGE"), ("strength", "INT")],
    outputs=[("IMAGE", "IMAGE")],
)
FACE = [("photo", "IMAGE"), ("strength", "INT", "widget")]


def amounts(host: dict[str, Any], definition: dict[str, Any] = SOFT) -> Any:
    """What the inner node's inputs become, by its id, with an image before this instance."""
    wires: list[Wire] = [("2", 0, "1", "photo", "IMAGE")]
    graph = shown({"1": host, "2": IMAGE_LOADER}, wires, definitions={"subgraphs": [definition]})
    return {key: one["inputs"] for key, one in graph.items() if one["class_type"] == "Blur"}


def soft(*values: Any, **more: Any) -> dict[str, Any]:
    """An instance of the subgraph `soft`."""
    return node("soft", *values, **({"inputs": FACE, "outputs": ["IMAGE"]} | more))


@pytest.mark.parametrize(
    ("host", "amount"),
    [
        pytest.param(soft(), 3, id="none on the face: the value within"),
        pytest.param(soft(8), 8, id="by place"),
        pytest.param(soft(8, inputs=FACE[:1]), 8, id="by place, on a face not written down"),
        pytest.param(soft(widgets_values_named={"strength": 9}), 9, id="by name"),
        pytest.param(
            soft(1, 2, widgets_values_named={"strength": 9}), 9, id="by name, for other places"
        ),
        pytest.param(
            soft(8, widgets_values_named={"strength": 9}), 8, id="by place, as the editor does"
        ),
        pytest.param(
            soft(10, properties={"proxyWidgets": [["-1", "strength"]]}), 10, id="by a proxy"
        ),
        pytest.param(
            soft(11, properties={"proxyWidgets": [["5", "amount"]]}), 11, id="on the widget within"
        ),
        pytest.param(
            soft(1, 12, properties={"proxyWidgets": '[["6", "x"], ["5", "amount"]]'}),
            12,
            id="proxies as text",
        ),
        pytest.param(
            soft(properties={"proxyWidgets": [["5", "amount"]]}), 3, id="a proxy that only shows"
        ),
        pytest.param(soft(None), 3, id="nothing at the place"),
    ],
)
def test_face_value_wins_over_the_inner_value(host: dict[str, Any], amount: int) -> None:
    assert amounts(host) == {"1:5": {"amount": amount, "image": ["2", 0]}}


def test_link_to_the_face_wins_over_its_value() -> None:
    wires: list[Wire] = [("2", 0, "1", "photo", "IMAGE"), ("3", 0, "1", "strength", "INT")]
    nodes = {"1": soft(8), "2": IMAGE_LOADER, "3": node("PrimitiveInt", 4, "fixed")}
    graph = shown(nodes, wires, definitions={"subgraphs": [SOFT]})
    assert graph["1:5"]["inputs"] == {"amount": ["3", 0], "image": ["2", 0]}
    assert graph["9"]["inputs"] == {"images": ["1:5", 0]}


def test_link_to_the_face_wins_over_a_proxy_value() -> None:
    host = soft(8, properties={"proxyWidgets": [["5", "amount"]]})
    wires: list[Wire] = [("3", 0, "1", "strength", "INT")]
    nodes = {"1": host, "3": node("PrimitiveInt", 4, "fixed")}
    graph = shown(nodes, wires, definitions={"subgraphs": [SOFT]})
    assert graph["1:5"]["inputs"] == {"amount": ["3", 0]}


def test_primitive_reaches_through_the_face() -> None:
    wires: list[Wire] = [("3", 0, "1", "strength", "INT")]
    nodes = {"1": soft(8), "3": node("PrimitiveNode", 6, "fixed")}
    graph = shown(nodes, wires, definitions={"subgraphs": [SOFT]})
    assert graph["1:5"]["inputs"] == {"amount": 6}


def test_each_instance_of_a_subgraph_has_its_own_values() -> None:
    wires: list[Wire] = [("2", 0, "1", "photo", "IMAGE")]
    graph = shown({"1": soft(8), "2": soft(9)}, wires, definitions={"subgraphs": [SOFT]})
    assert graph["1:5"]["inputs"] == {"amount": 8, "image": ["2:5", 0]}
    assert graph["2:5"]["inputs"] == {"amount": 9}


NESTED = subgraph(
    "nested",
    {"7": soft(2)},
    [
        ("-10", 0, "7", "photo", "IMAGE"),
        ("-10", 1, "7", "strength", "INT"),
        ("7", 0, "-20", "0", "IMAGE"),
    ],
    inputs=[("photo", "IMAGE"), ("much", "INT")],
    outputs=[("IMAGE", "IMAGE")],
)


@pytest.mark.parametrize(
    ("values", "amount"),
    [pytest.param([], 2, id="of the middle"), pytest.param([30], 30, id="of the outermost")],
)
def test_nested_subgraph_is_expanded(values: list[int], amount: int) -> None:
    host = node("nested", *values, inputs=[("photo", "IMAGE")], outputs=["IMAGE"])
    wires: list[Wire] = [("2", 0, "1", "photo", "IMAGE")]
    graph = shown({"1": host, "2": IMAGE_LOADER}, wires, definitions={"subgraphs": [NESTED, SOFT]})
    assert graph["1:7:5"]["inputs"] == {"amount": amount, "image": ["2", 0]}
    assert graph["9"]["inputs"] == {"images": ["1:7:5", 0]}


def test_proxy_reaches_the_face_of_a_nested_subgraph() -> None:
    host = node(
        "nested",
        17,
        inputs=[("photo", "IMAGE")],
        outputs=["IMAGE"],
        properties={"proxyWidgets": [["7", "strength"]]},
    )
    graph = shown({"1": host}, [], definitions={"subgraphs": [NESTED, SOFT]})
    assert graph["1:7:5"]["inputs"] == {"amount": 17}


SEEDED = subgraph(
    "seeded",
    {"5": node("PrimitiveInt", 1, "fixed", inputs=[("value", "INT", "widget")]), "6": BLUR},
    [
        ("-10", 0, "5", "value", "INT"),
        ("-10", 1, "6", "amount", "INT"),
        ("6", 0, "-20", "0", "IMAGE"),
    ],
    inputs=[("seed", "INT"), ("amount", "INT")],
    outputs=[("IMAGE", "IMAGE")],
)


@pytest.mark.parametrize(
    "values",
    [pytest.param([5, 6], id="without"), pytest.param([5, "randomize", 6], id="with its control")],
)
def test_seed_on_the_face_may_have_a_control(values: list[Any]) -> None:
    host = node("seeded", *values, outputs=["IMAGE"])
    graph = shown({"1": host}, [], definitions={"subgraphs": [SEEDED]})
    assert graph["1:6"]["inputs"] == {"amount": 6}


def test_bypassed_subgraph_passes_the_image() -> None:
    wires: list[Wire] = [("2", 0, "1", "photo", "IMAGE")]
    nodes = {"1": soft(mode=4), "2": IMAGE_LOADER}
    graph = shown(nodes, wires, definitions={"subgraphs": [SOFT]})
    assert list(graph) == ["2", "9"]
    assert graph["9"]["inputs"] == {"images": ["2", 0]}


def test_muted_subgraph_is_removed() -> None:
    graph = shown({"1": soft(mode=2)}, [], definitions={"subgraphs": [SOFT]})
    assert graph == {"9": {"class_type": "PreviewImage", "inputs": {}}}


def test_output_in_a_subgraph_counts() -> None:
    shows = subgraph(
        "shows",
        {"6": node("PreviewImage")},
        [("-10", 0, "6", "images", "IMAGE")],
        inputs=[("photo", "IMAGE")],
    )
    nodes = {"1": node("shows", inputs=[("photo", "IMAGE")]), "2": IMAGE_LOADER}
    wires: list[Wire] = [("2", 0, "1", "photo", "IMAGE")]
    graph = graph_of(editor(nodes, wires, definitions={"subgraphs": [shows]}))
    assert graph["1:6"]["inputs"] == {"images": ["2", 0]}


def test_link_through_a_subgraph_is_followed() -> None:
    through = subgraph(
        "through",
        {},
        [("-10", 0, "-20", "0", "IMAGE")],
        inputs=[("photo", "IMAGE")],
        outputs=[("IMAGE", "IMAGE")],
    )
    host = node("through", inputs=[("photo", "IMAGE")], outputs=["IMAGE"])
    wires: list[Wire] = [("2", 0, "1", "photo", "IMAGE")]
    graph = shown({"1": host, "2": IMAGE_LOADER}, wires, definitions={"subgraphs": [through]})
    assert graph["9"]["inputs"] == {"images": ["2", 0]}


def test_get_node_finds_a_set_node_outside_its_subgraph() -> None:
    gets = subgraph(
        "gets",
        {"4": node("GetNode", "cat", outputs=["IMAGE"])},
        [("4", 0, "-20", "0", "IMAGE")],
        outputs=[("IMAGE", "IMAGE")],
    )
    nodes = {"1": node("gets", outputs=["IMAGE"]), "2": IMAGE_LOADER, "3": node("SetNode", "cat")}
    wires: list[Wire] = [("2", 0, "3", "IMAGE", "IMAGE")]
    graph = shown(nodes, wires, definitions={"subgraphs": [gets]})
    assert graph["9"]["inputs"] == {"images": ["2", 0]}


def test_recursive_subgraph_is_refused() -> None:
    endless = subgraph("endless", {"3": node("endless", title="Again")}, [])
    with pytest.raises(WorkflowError, match=r"has a cycle at node 3 \(endless 'Again'\)"):
        shown({"1": node("endless")}, [], definitions={"subgraphs": [endless]})
