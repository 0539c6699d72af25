"""A graph is read from a file; other files are refused with a remedy."""

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


def test_graph_is_read_from_a_file(tmp_path: Path) -> None:
    assert find_workflow(written(tmp_path, json.dumps(GRAPH))).graph == GRAPH


def test_graph_wrapped_as_a_prompt_is_read(tmp_path: Path) -> None:
    text = json.dumps({"client_id": "x", "prompt": GRAPH})
    assert find_workflow(written(tmp_path, text)).graph == GRAPH


def test_node_with_the_id_prompt_is_not_a_wrapper(tmp_path: Path) -> None:
    graph = {"prompt": GRAPH["1"]}
    assert find_workflow(written(tmp_path, json.dumps(graph))).graph == graph


def test_graph_file_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert (
        find_workflow(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(GRAPH).encode())).graph
        == GRAPH
    )


def test_editor_format_is_refused_with_a_remedy(tmp_path: Path) -> None:
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
        pytest.param(b"\x89PNG\r\n\x1a\n", "is not a JSON file in UTF-8", id="image"),
    ],
)
def test_file_without_a_graph_is_refused(tmp_path: Path, text: str | bytes, says: str) -> None:
    error = refused(tmp_path, text)
    assert says in error.message
    assert "mine.json" in error.message
    assert error.exit_code == 2


def test_missing_graph_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match=r"Cannot read .*none\.json: No such file"):
        find_workflow(str(tmp_path / "none.json"))


def test_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(WorkflowError, match=r"Cannot read .*folder\.json"):
        find_workflow(str(tmp_path / "folder.json"))
