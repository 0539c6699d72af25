"""A plain ComfyUI client, independent of imagen, to test the simulator with."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.testing.comfyui import ComfyUI

_PATIENCE_SECONDS = 10.0
FLAGS = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})

FLAT: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 15959652},
    },
    "9": {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "lab/simple"},
    },
}


def flat_graph(**values: Any) -> dict[str, Any]:
    """An image of one colour, saved."""
    source = {**FLAT["1"], "inputs": {**FLAT["1"]["inputs"], **values}}
    return {**FLAT, "1": source}


def sampled_graph(**values: Any) -> dict[str, Any]:
    """A classic text-to-image graph: 4 loads, 3 samples in two steps, 8 decodes, 9 saves."""
    wanted = {
        "checkpoint": "model.safetensors",
        "prompt": "a fox",
        "negative": "",
        "width": 64,
        "height": 64,
        "batch_size": 1,
        "seed": 1,
        "steps": 2,
        **values,
    }
    size = {name: wanted[name] for name in ("width", "height", "batch_size")}
    sampler = {
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
        "seed": wanted["seed"],
        "steps": wanted["steps"],
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name=wanted["checkpoint"]),
        "5": node("EmptyLatentImage", **size),
        "6": node("CLIPTextEncode", text=wanted["prompt"], clip=["4", 1]),
        "7": node("CLIPTextEncode", text=wanted["negative"], clip=["4", 1]),
        "3": node("KSampler", **sampler),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="lab/sd"),
    }


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The messages of one run, and its history entry."""

    prompt_id: str
    frames: list[str | bytes]
    entry: dict[str, Any]

    @property
    def lines(self) -> list[str]:
        """A summary of each frame."""
        return [summarize(frame) for frame in self.frames]

    def data(self, kind: str) -> list[dict[str, Any]]:
        """The data of each message of this type."""
        texts = [json.loads(frame) for frame in self.frames if isinstance(frame, str)]
        return [message["data"] for message in texts if message["type"] == kind]

    @property
    def images(self) -> list[dict[str, str]]:
        outputs = self.entry["outputs"].values()
        return [image for output in outputs for image in output.get("images", [])]


class PlainClient:
    """Plain HTTP, and websockets by client id."""

    def __init__(self, server: ComfyUI, http: httpx.Client) -> None:
        self.server = server
        self.http = http

    @contextmanager
    def socket(self, client_id: str = "me", **kwargs: Any) -> Iterator[ClientConnection]:
        """A websocket after its greeting."""
        with self.raw_socket(client_id, **kwargs) as websocket:
            websocket.recv(timeout=_PATIENCE_SECONDS)
            yield websocket

    @contextmanager
    def raw_socket(self, client_id: str = "me", **kwargs: Any) -> Iterator[ClientConnection]:
        url = self.server.url.replace("http", "ws", 1) + f"/ws?clientId={quote(client_id)}"
        with connect(url, max_size=None, max_queue=None, proxy=None, **kwargs) as websocket:
            yield websocket

    def submit(self, graph: Any, client_id: str | None = "me", **more: Any) -> str:
        body = {"prompt": graph, "prompt_id": str(uuid.uuid4()), "client_id": client_id, **more}
        answer = self.http.post("/prompt", json=body)
        assert answer.status_code == 200, answer.text
        prompt_id: str = answer.json()["prompt_id"]
        return prompt_id

    def submit_refused(self, graph: Any, **more: Any) -> dict[str, Any]:
        """The answer to a graph that must be refused."""
        answer = self.http.post("/prompt", json={"prompt": graph, "client_id": "me", **more})
        assert answer.status_code == 400, answer.text
        refusal: dict[str, Any] = answer.json()
        return refusal

    def run(self, graph: Any, *, flags: bool = False, **more: Any) -> RecordedRun:
        """Run a graph, and record every frame after the submission."""
        with self.socket() as websocket:
            if flags:
                websocket.send(FLAGS)
                websocket.recv(timeout=_PATIENCE_SECONDS)
            prompt_id = self.submit(graph, **more)
            frames = receive_until(websocket)
        return RecordedRun(prompt_id, frames, self.history_entry(prompt_id))

    def history_entry(self, prompt_id: str) -> dict[str, Any]:
        entry: dict[str, Any] = self.http.get(f"/history/{prompt_id}").json()[prompt_id]
        return entry

    def wait_until_finished(self, prompt_id: str) -> dict[str, Any]:
        """The history entry of a prompt, once it exists."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while prompt_id not in (entries := self.http.get(f"/history/{prompt_id}").json()):
            assert time.monotonic() < deadline, "the prompt does not finish"
        entry: dict[str, Any] = entries[prompt_id]
        return entry

    def wait_until_running(self) -> str:
        """The prompt that runs, once one does."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (prompt_id := self.server.queue_state()[0]) is None:
            assert time.monotonic() < deadline, "no prompt runs"
        return prompt_id

    def view(self, image: dict[str, str]) -> httpx.Response:
        return self.http.get("/view", params=image)


@contextmanager
def connect_client(server: ComfyUI, **kwargs: Any) -> Iterator[PlainClient]:
    """A client of this server; its HTTP ignores proxies."""
    with httpx.Client(base_url=server.url, trust_env=False, **kwargs) as http:
        yield PlainClient(server, http)


def receive_until(websocket: ClientConnection, last: str = "executing null") -> list[str | bytes]:
    """Every frame up to this one, or to the end of the connection."""
    frames: list[str | bytes] = []
    with contextlib.suppress(ConnectionClosed):
        while not frames or summarize(frames[-1]) != last:
            frames.append(websocket.recv(timeout=_PATIENCE_SECONDS))
    return frames


def summarize(frame: str | bytes) -> str:
    """A summary of a frame: `executing 9`, `progress 3 1/2`, `state 1r 9f`, `binary 4`."""
    if isinstance(frame, bytes):
        return f"binary {int.from_bytes(frame[:4], 'big')}"
    try:
        message = json.loads(frame)
        return _summarize_message(message["type"], message["data"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "malformed"


def _summarize_message(kind: str, data: dict[str, Any]) -> str:
    if kind == "status":
        return f"status {data['status']['exec_info']['queue_remaining']}"
    if kind == "execution_cached":
        return " ".join(["cached", *data["nodes"]])
    if kind == "progress_state":
        return " ".join(["state", *(f"{k}{v['state'][0]}" for k, v in data["nodes"].items())])
    if kind == "progress":
        return f"progress {data['node']} {data['value']}/{data['max']}"
    if kind in ("executing", "executed"):
        return f"{kind} {data['node'] or 'null'}"
    return kind
