"""Graphs, and a backend for a simulated server."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagen.backends import validate_block
from imagen.backends.comfyui import ComfyUIBackend, ComfyUIConfig
from imagen.backends.remote_job import JobProgress
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.core.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.core.result import OnProgress, Progress, Result
    from imagen.testing.comfyui import ComfyUI as Server

SAMPLED: dict[str, Any] = {
    "1": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"},
        "_meta": {"title": "The model"},
    },
    "5": {"class_type": "CLIPTextEncode", "inputs": {"text": "$<prompt>", "clip": ["1", 1]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "$<negative>", "clip": ["1", 1]}},
    "7": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": "$<width>", "height": "$<height>", "batch_size": "$<count>"},
    },
    "8": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["5", 0],
            "negative": ["6", 0],
            "latent_image": ["7", 0],
            "seed": "$<seed>",
            "steps": "$<steps>",
            "cfg": "$<cfg>",
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
        "_meta": {"title": "The sampler"},
    },
    "90": {"class_type": "VAEDecode", "inputs": {"samples": ["8", 0], "vae": ["1", 2]}},
    "99": {"class_type": "SaveImage", "inputs": {"images": ["90", 0], "filename_prefix": "lab/a"}},
}
"""A checkpoint and a sampler, as in the most common workflows."""

MANIFEST: dict[str, Any] = {
    "parameters": {
        "prompt": {"type": "string", "description": "What to show."},
        "negative": {"type": "string", "default": "", "description": "What not to show."},
        "width": {"type": "int", "default": 64, "min": 16, "description": "Pixels."},
        "height": {"type": "int", "default": 48, "min": 16, "description": "Pixels."},
        "count": {"type": "int", "default": 1, "min": 1, "description": "How many."},
        "seed": {"type": "int", "min": 0, "description": "Where the noise starts."},
        "steps": {"type": "int", "default": 3, "min": 1, "description": "Sampling steps."},
        "cfg": {"type": "float", "default": 2.0, "min": 0, "description": "Guidance."},
    },
    "models": [
        {
            "file": "v1-5-pruned-emaonly-fp16.safetensors",
            "folder": "checkpoints",
            "source": "https://models.example/sd15",
            "size": "2.0 GiB",
            "licence": "CreativeML Open RAIL-M",
        }
    ],
}

TWO_OUTPUTS: dict[str, Any] = SAMPLED | {
    "100": {"class_type": "SaveImage", "inputs": {"images": ["90", 0], "filename_prefix": "lab/b"}}
}
"""The same with two outputs."""

REQUEST = Request(prompt="a fox", width=64, height=48, seed=7, steps=3, cfg=2.0)

SHORT_WAITS = {"poll_seconds": 0.02, "lost_seconds": 0.2}
"""Short waits for a server that answers in a millisecond."""


def open_comfyui(
    url: str, graph: Mapping[str, Any] = SAMPLED, *, name: str = "lab", **block: Any
) -> ComfyUIBackend:
    """A backend of this name."""
    Path("graph.json").write_text(json.dumps(graph), "utf-8")
    Path("graph.yaml").write_text(json.dumps(MANIFEST), "utf-8")  # JSON is YAML too
    known = {"url": url, "workflow": "./graph.json", **SHORT_WAITS, **block}
    return ComfyUIBackend(validate_block(name, known, ComfyUIConfig))


def job_progress(on_progress: OnProgress = no_progress) -> JobProgress:
    """The progress of a job that may take any time."""
    ticket = Ticket(id="0", backend="lab", request=REQUEST, receipt={})
    return JobProgress(ticket, on_progress, total_seconds=1e9, remedy="")


def run_request(
    server: Server,
    graph: Mapping[str, Any] = SAMPLED,
    *,
    request: Request = REQUEST,
    on_progress: OnProgress = no_progress,
    **block: Any,
) -> Result:
    """The result of one request."""
    with closing(open_comfyui(server.url, graph, **block)) as backend:
        return backend.collect(backend.prepare(request), on_progress)


def run_and_collect_progress(
    server: Server, graph: Mapping[str, Any] = SAMPLED, **block: Any
) -> list[Progress]:
    """The progress of one request."""
    progress: list[Progress] = []
    run_request(server, graph, on_progress=progress.append, **block)
    return progress


def request_paths(server: Server) -> list[str]:
    """The path of each request that the server received."""
    return [seen.path.partition("?")[0] for seen in server.requests]
