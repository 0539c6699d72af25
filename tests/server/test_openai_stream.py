"""A stream shows the previews of an engine, and stays open while the engine works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import openai
from support.comfyui_backends import MANIFEST, SAMPLED, SHORT_WAITS
from support.openai_server import decode, openai_server

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from pathlib import Path


def test_previews_come_before_the_image(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(SAMPLED), "utf-8")
    (tmp_path / "graph.yaml").write_text(json.dumps(MANIFEST), "utf-8")
    workflow = str(tmp_path / "graph.json")
    with ComfyUI(previews=1, step_seconds=0.52) as engine:
        lab = {"type": "comfyui", "url": engine.url, "workflow": workflow, **SHORT_WAITS}
        with (
            openai_server(tmp_path, {"lab": lab}) as server,
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="any") as client,
        ):
            stream = client.images.generate(
                prompt="a fox", stream=True, partial_images=2, output_format="webp"
            )
            events = [*stream]
    names = [event.type.partition(".")[2] for event in events]
    assert names[-1] == "completed"
    assert names[:-1] == ["partial_image"] * (len(events) - 1)
    assert 1 <= len(events) - 1 <= 2
    assert [event.partial_image_index for event in events[:-1]] == [*range(len(events) - 1)]
    assert {event.size for event in events} == {"64x48"}
    assert {decode(event.b64_json).format for event in events} == {"WEBP"}
