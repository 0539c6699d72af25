"""What goes over the websocket: messages as text, previews as bytes."""

from __future__ import annotations

import json
import time
from typing import Any

OTHER_ID = "5f0c1c52-0000-4000-8000-000000000000"
"""The prompt of nobody here."""

_JPEG, _PNG = 1, 2


def text(kind: str, data: Any) -> str:
    return json.dumps({"type": kind, "data": data})


def status(remaining: int, sid: str | None = None) -> str:
    """How many prompts wait or run; a new socket is told its id with it."""
    data: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": remaining}}}
    return text("status", data if sid is None else {**data, "sid": sid})


def milliseconds() -> int:
    return int(time.time() * 1000)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def preview(picture: bytes) -> bytes:
    """A picture that doesn't say whose it is."""
    return number(1) + number(_PNG if picture.startswith(b"\x89PNG") else _JPEG) + picture


def words(node: str, said: str) -> bytes:
    """A text of a node."""
    name = node.encode()
    return number(3) + number(len(name)) + name + said.encode()


def preview_with_metadata(picture: bytes, prompt_id: str, node: str) -> bytes:
    about = {
        "node_id": node,
        "prompt_id": prompt_id,
        "display_node_id": node,
        "parent_node_id": None,
        "real_node_id": node,
        "image_type": "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg",
    }
    encoded = json.dumps(about).encode()
    return number(4) + number(len(encoded)) + encoded + picture


def foreign(picture: bytes) -> list[str | bytes]:
    """Frames that say nothing about any prompt here, or nothing at all."""
    other = {"prompt_id": OTHER_ID, "timestamp": milliseconds()}
    output = {"images": [{"filename": "stranger.png", "subfolder": "", "type": "output"}]}
    failed = {"node_id": "1", "node_type": "X", "exception_type": "E", "exception_message": "no"}
    return [
        text("execution_start", other),
        text("executed", {**other, "node": "9", "display_node": "9", "output": output}),
        text("execution_error", {**other, **failed}),
        text("execution_success", other),
        text("executing", {"node": None, "prompt_id": OTHER_ID}),
        text("executing", {"node": None}),
        text("execution_success", {}),
        text("execution_error", {"exception_message": "nobody's"}),
        text("executed", {"node": "9", "output": output}),
        text("progress", {"value": 1, "max": 2}),
        text("progress_state", ["not", "an", "object"]),
        text("executed", None),
        text("status", "idle"),
        text("crystools.monitor", {"cpu_utilization": 7.5}),
        '{"type": "executing"}',
        '{"data": {}}',
        '{"type": 7, "data": {"prompt_id": 7}}',
        "[1, 2]",
        "null",
        "{not json",
        "",
        "[" * 5000,
        preview(picture),
        preview_with_metadata(picture, OTHER_ID, "9"),
        words("9", "a text"),
        number(2) + picture,
        number(99) + picture,
        number(4) + number(1 << 30) + b"{}",
        number(4) + number(3) + b"{no" + picture,
        number(1),
        b"\x00",
        b"",
    ]
