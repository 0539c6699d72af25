"""Get one image from a ComfyUI with a minimal script: what imagen is compared with.

python benchmarks/bare.py URL GRAPH.json IMAGE.png
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from websockets.sync.client import connect


def fetch_image(url: str, graph: dict[str, Any]) -> bytes:
    """One websocket, one POST, the wait for the end, the history, the image."""
    client_id = uuid.uuid4().hex
    with connect(f"ws{url.removeprefix('http')}/ws?clientId={client_id}", max_size=None) as socket:
        body = json.dumps({"prompt": graph, "client_id": client_id}).encode()
        post = Request(f"{url}/prompt", body, {"Content-Type": "application/json"})
        prompt_id = json.load(urlopen(post))["prompt_id"]
        for frame in socket:
            if isinstance(frame, str) and _is_end(json.loads(frame), prompt_id):
                break
    outputs = json.load(urlopen(f"{url}/history/{prompt_id}"))[prompt_id]["outputs"]
    (file, *_) = (image for node in outputs.values() for image in node["images"])
    data: bytes = urlopen(f"{url}/view?{urlencode(file)}").read()
    return data


def _is_end(message: dict[str, Any], prompt_id: str) -> bool:
    data = message["data"]
    return (
        message["type"] == "executing"
        and data["node"] is None
        and data.get("prompt_id") == prompt_id
    )


if __name__ == "__main__":
    server, graph_file, target = sys.argv[1:]
    graph = json.loads(Path(graph_file).read_text(encoding="utf-8"))
    Path(target).write_bytes(fetch_image(server, graph))
