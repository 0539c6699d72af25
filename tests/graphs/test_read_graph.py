"""A file that is not a graph is told apart, with what to do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from imagen.errors import WorkflowError
from imagen.graphs import find_workflow

if TYPE_CHECKING:
    from pathlib import Path

GRAPH: dict[str, Any] = {"1": {"class_type": "SaveImage", "inputs": {}}}


def written(folder: Path, text: str | bytes) -> str:
    """The path of a file of this content."""
    path = folder / "mine.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refused(folder: Path, text: str | bytes) -> WorkflowError:
    """The error of finding a file of this content."""
    with pytest.raises(WorkflowError) as caught:
        find_workflow(written(folder, text))
    return caught.value


def test_a_graph_is_read(tmp_path: Path) -> None:
    assert find_workflow(written(tmp_path, json.dumps(GRAPH))).graph == GRAPH


def test_a_graph_in_the_wrapping_of_a_request_is_read(tmp_path: Path) -> None:
    text = json.dumps({"client_id": "x", "prompt": GRAPH})
    assert find_workflow(written(tmp_path, text)).graph == GRAPH


def test_a_node_called_prompt_is_no_wrapping(tmp_path: Path) -> None:
    graph = {"prompt": GRAPH["1"]}
    assert find_workflow(written(tmp_path, json.dumps(graph))).graph == graph


def test_a_byte_order_mark_is_no_hindrance(tmp_path: Path) -> None:
    assert (
        find_workflow(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(GRAPH).encode())).graph
        == GRAPH
    )


def test_the_editors_format_is_named_and_the_way_out_told(tmp_path: Path) -> None:
    error = refused(tmp_path, json.dumps({"nodes": [{"id": 1}], "links": [], "version": 0.4}))
    assert "is in the format of ComfyUI's editor" in error.message
    assert "Workflow > Export (API)" in error.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param(" \n", "is empty", id="blank"),
        pytest.param("[1, 2]", "expected a JSON object", id="list"),
        pytest.param("null", "expected a JSON object", id="null"),
        pytest.param('{"a": {"b": 1}}', "it has no node with a class_type", id="other object"),
        pytest.param('{"nodes": []}', "it has no node with a class_type", id="nodes only"),
        pytest.param(
            '{"1": }', "is not valid JSON: Expecting value at line 1, column 7", id="broken"
        ),
        pytest.param(
            '{"1": {}, "1": {}}', "holds the key '1' twice in one object", id="a node twice"
        ),
        pytest.param('{"1": NaN}', "holds NaN, which JSON has no number for", id="not a number"),
        pytest.param("[" * 100_000, "is nested more than 100 levels deep", id="bottomless"),
        pytest.param('{"1": %s}' % ("9" * 400), "which is too large", id="400 digits"),
        pytest.param(b"\xff\xfe{\x00}\x00", "is not a JSON file in UTF-8", id="UTF-16"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "is not a JSON file in UTF-8", id="picture"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, text: str | bytes, says: str) -> None:
    error = refused(tmp_path, text)
    assert says in error.message
    assert "mine.json" in error.message
    assert error.exit_code == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match=r"Cannot read .*none\.json: No such file"):
        find_workflow(str(tmp_path / "none.json"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(WorkflowError, match=r"Cannot read .*folder\.json"):
        find_workflow(str(tmp_path / "folder.json"))
