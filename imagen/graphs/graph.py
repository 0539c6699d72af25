"""Reading a graph: ComfyUI's API format, told apart from all that only looks like it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from imagen.core.json_values import parse_json
from imagen.errors import WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

_EXPORT = "In ComfyUI, open the workflow and choose Workflow > Export (API); use the file it saves."


def read_graph(path: Path) -> dict[str, Any]:
    """The graph in a JSON file, out of its `{"prompt": …}` wrapping where it has one.

    Raises WorkflowError where the file is missing, is not JSON, or is not a graph.
    """
    return graph_of(_parsed(path), str(path))


def graph_of(said: Any, source: str) -> dict[str, Any]:
    """The graph in a JSON value that came from `source`."""
    if not isinstance(said, dict):
        raise WorkflowError(
            f"{source} is not a graph: it should hold a JSON object.", remedy=_EXPORT
        )
    if isinstance(said.get("nodes"), list) and "links" in said:
        raise WorkflowError(
            f"{source} is in the format of ComfyUI's editor, which a server can't run; "
            "its API format is needed.",
            remedy=_EXPORT,
        )
    if isinstance(said.get("prompt"), dict) and "class_type" not in said["prompt"]:
        return graph_of(said["prompt"], source)
    if said and not any(_is_nodelike(value) for value in said.values()):
        raise WorkflowError(
            f"{source} is not a graph: nothing in it is a node with a class_type.", remedy=_EXPORT
        )
    return said


def _is_nodelike(value: Any) -> bool:
    return isinstance(value, dict) and ("class_type" in value or "inputs" in value)


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{path} is not a JSON file in UTF-8.", remedy=_EXPORT) from error
    except OSError as error:
        raise WorkflowError(f"{path} can't be read: {error.strerror}.") from error
    if not text.strip():
        raise WorkflowError(f"{path} is empty.", remedy=_EXPORT)
    try:
        parse_json(text)
        return json.loads(text, object_pairs_hook=_distinct)
    except ValueError as error:
        raise WorkflowError(f"{path} {error}.", remedy=_EXPORT) from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict, but for JSON that says one key twice: one of the two would be lost."""
    said = dict(pairs)
    if len(said) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"holds the key {twice!r} twice in one object")
    return said
