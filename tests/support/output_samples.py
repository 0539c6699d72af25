"""Small images, tickets and results for the tests of the outputs."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagen.config import OutputSettings
from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Request
from imagen.core.result import Facts, Output, Result
from imagen.core.ticket import Ticket

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2025, 11, 21, 8, 30, 5, tzinfo=UTC)
GRAPH = {"8": {"class_type": "KSampler", "inputs": {"seed": 7, "model": ["4", 0]}}}
TEXTS = {"imagen": '{"imagen":1}', "parameters": "a fox\nSteps: 4, Seed: 7, Size: 48x32"}


def sample_image(mode: str = "RGB") -> Image.Image:
    """48 × 32 pixels, no two rows alike."""
    return Image.linear_gradient("L").resize((48, 32)).convert(mode)


def encode_sample(format: str, *, mode: str = "RGB", **options: Any) -> bytes:
    data = io.BytesIO()
    sample_image(mode).save(data, format, **options)
    return data.getvalue()


def comfy_png() -> bytes:
    """A PNG with the chunk that ComfyUI writes."""
    texts = PngInfo()
    texts.add_text("prompt", json.dumps(GRAPH))
    return encode_sample("PNG", pnginfo=texts)


def load_bytes(data: bytes) -> Image.Image:
    found = Image.open(io.BytesIO(data))
    found.load()
    return found


def pixels(data: bytes) -> bytes:
    return load_bytes(data).tobytes()


def user_comment(data: bytes) -> bytes:
    """As Pillow reads it from a JPEG or WebP file."""
    comment = load_bytes(data).getexif().get_ifd(0x8769)[0x9286]
    assert isinstance(comment, bytes)
    return comment


def sample_request(**values: Any) -> Request:
    return Request.of({"prompt": "A red fox, asleep", "steps": 50, **values})


def sample_ticket(request: Request | None = None, **values: Any) -> Ticket:
    complete = {"steps": 10, "seed": 7, "width": 48, "height": 32, "cfg": 1.0, "sampler": "euler"}
    return Ticket(
        id="3c4ad4a2-9d0a-4a5c-8b60-5f6d5be54b63",
        backend="flux-local",
        request=(request or sample_request()).with_values(complete),
        receipt={
            "prompt": ParameterOutcome(outcome="applied", asked="A red fox, asleep"),
            "steps": ParameterOutcome(outcome="clamped", asked=50, used=10, why="at most 10"),
        },
        payload=GRAPH,
        **values,
    )


def sample_result(*outputs: Output, **facts: Any) -> Result:
    known: dict[str, Any] = {
        "model": "flux1-schnell.safetensors",
        "models": ("flux1-schnell.safetensors", "ae.safetensors"),
        "latency_seconds": 3.25,
        "engine": {"prompt_id": "3c4ad4a2", "client_id": "c1"},
    }
    return Result(outputs=outputs or (png_output(),), facts=Facts(**known | facts))


def png_output(**values: Any) -> Output:
    return Output(data=comfy_png(), media_type="image/png", **values)


def sample_settings(directory: Path, **values: Any) -> OutputSettings:
    return OutputSettings(directory=directory, **values)
