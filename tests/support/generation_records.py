"""Finished generations for delivery targets, and the settings to deliver them with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image
from simulators.supabase import SERVICE_KEY

from imagen.config import Settings
from imagen.core.request import Request
from imagen.core.ticket import Estimate, Ticket
from imagen.library.records import GenerationRecord, StoredImage
from imagen.outputs import metadata

if TYPE_CHECKING:
    from pathlib import Path

    from simulators.supabase import Supabase


ID = "11111111-2222-4333-8444-555555555555"
OWNER = "99999999-8888-4777-8666-555555555555"
MOST = 2**64 - 1
WHEN = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
PROMPT = "A red fox, in snow"


def make_image(
    folder: Path, name: str = "fox.png", *, colour: int = 7, sidecar: bool = True
) -> StoredImage:
    """A small image with its metadata and its sidecar."""
    record = {
        "imagen": 1,
        "file": name,
        "seed": MOST,
        "backend": "studio",
        "request": {"prompt": PROMPT},
        "resolved": {"prompt": PROMPT, "steps": 4},
    }
    graph = {"1": {"inputs": {"model": "/home/fox/models/sd15.safetensors"}}}
    buffer = BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(buffer, "PNG")
    data, _ = metadata.embed(buffer.getvalue(), {"imagen": json.dumps(record), "parameters": "x"})
    path = folder / name
    path.write_bytes(data)
    beside = folder / f"{name}.json"
    if sidecar:
        beside.write_text(json.dumps(record | {"graph": graph}), encoding="utf-8")
    return StoredImage(
        path=path.absolute(),
        sidecar=beside.absolute() if sidecar else None,
        media_type="image/png",
        width=8,
        height=8,
        seed=MOST,
        sha256=sha256(data).hexdigest(),
        size_bytes=len(data),
    )


def make_record(
    *images: StoredImage, id: str = ID, prompt: str = PROMPT, **more: Any
) -> GenerationRecord:
    """A generation with these images."""
    request = Request(prompt=prompt, seed=MOST, steps=4)
    ticket = Ticket(
        id=id,
        backend="studio",
        request=request,
        receipt={},
        estimate=Estimate(usd=0.006, basis="a price list"),
    )
    values = {
        "request": request,
        "facts": {"model": "sd15.safetensors", "latency_seconds": 2.5, "seed": MOST},
        "caller": "nora",
        **more,
    }
    return GenerationRecord(
        id=id,
        backend="studio",
        kind="comfyui",
        ticket=ticket,
        created_at=WHEN,
        ended_at=WHEN,
        images=images,
        **values,
    )


def settings(**more: Any) -> Settings:
    """Settings with an owner and these keys."""
    return Settings.model_validate({"owner_user_id": OWNER, **more})


def environ(cloud: Supabase) -> dict[str, str]:
    """The environment variables of this project."""
    return {"SUPABASE_URL": cloud.url, "SUPABASE_SERVICE_KEY": SERVICE_KEY}
