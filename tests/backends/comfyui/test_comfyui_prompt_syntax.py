"""The prompt syntax that a ComfyUI workflow supports."""

from __future__ import annotations

from typing import Any

import pytest
from support.comfyui_backends import REQUEST, SAMPLED, open_comfyui

from imagen.backends import validate_block
from imagen.backends.comfyui import ComfyUIBackend, ComfyUIConfig
from imagen.config import Settings
from imagen.core.capabilities import not_honoured
from imagen.core.request import Lora
from imagen.pipeline.prepare import prepare

NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("workflow", "read"),
    [
        ("sd15", ("weights",)),
        ("sdxl", ("weights",)),
        ("flux1-dev", ("weights",)),
        ("sd35-medium", ("weights",)),
        ("qwen-image", ()),
        ("z-image-turbo", ()),
        ("flux2-klein", ()),
    ],
)
def test_prompt_weights_are_read_by_clip_and_t5_but_not_by_language_models(
    workflow: str, read: tuple[str, ...]
) -> None:
    config = validate_block("lab", {"url": NOWHERE, "workflow": workflow}, ComfyUIConfig)
    assert ComfyUIBackend(config).capabilities().prompt_syntax == read


def _node(name: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": name, "inputs": inputs}


@pytest.mark.parametrize(
    ("nodes", "read"),
    [
        pytest.param({}, ("weights",), id="a checkpoint"),
        pytest.param(
            {"2": _node("CLIPLoader", clip_name="qwen.safetensors", type="qwen_image")},
            (),
            id="an encoder without weights",
        ),
        pytest.param(
            {"5": _node("ImpactWildcardEncode", wildcard_text="$<prompt>")},
            None,
            id="a custom node",
        ),
        pytest.param(
            {
                "4": _node("StringConcatenate", string_a="$<prompt>", string_b="."),
                "5": _node("CLIPTextEncode", text=["4", 0], clip=["1", 1]),
            },
            None,
            id="a node before the encoder",
        ),
    ],
)
def test_prompt_syntax_of_a_custom_workflow_follows_its_nodes(
    nodes: dict[str, Any], read: tuple[str, ...] | None
) -> None:
    assert open_comfyui(NOWHERE, SAMPLED | nodes).capabilities().prompt_syntax == read


def test_prompt_choices_are_not_supported_by_the_server() -> None:
    receipt = (
        open_comfyui(NOWHERE).prepare(REQUEST.with_values({"prompt": "{a|b} (fog:1.5)"})).receipt
    )
    assert receipt["prompt"].why == "syntax not read by this engine: {a|b}"


def test_a_lora_tag_becomes_a_loader() -> None:
    request = REQUEST.with_values({"prompt": "a fox <lora:ink.safetensors:0.8>"})
    settings = Settings()
    (ticket,) = prepare(open_comfyui(NOWHERE), request, settings)
    loaders = [n["inputs"] for n in ticket.payload.values() if n["class_type"] == "LoraLoader"]
    assert [(one["lora_name"], one["strength_model"]) for one in loaders] == [
        ("ink.safetensors", 0.8)
    ]
    assert ticket.payload["5"]["inputs"]["text"] == "a fox"
    assert ticket.request.loras == (Lora(name="ink.safetensors", strength=0.8),)


def test_lora_tags_are_left_to_a_custom_node() -> None:
    own = SAMPLED | {"5": _node("ImpactWildcardEncode", wildcard_text="$<prompt>")}
    request = REQUEST.with_values({"prompt": "{a|b} <lora:ink:0.8>"})
    (ticket,) = prepare(open_comfyui(NOWHERE, own), request, Settings())
    assert ticket.payload["5"]["inputs"]["wildcard_text"] == "{a|b} <lora:ink:0.8>"
    assert ticket.receipt["prompt"].why == ""


def test_remarks_cover_only_requested_texts() -> None:
    encoder = _node("CLIPTextEncode", text="$<prompt_2>", clip=["1", 1])
    backend = open_comfyui(
        NOWHERE, SAMPLED | {"6b": encoder}, parameters={"negative": "{rain|snow}"}
    )
    (ticket,) = prepare(backend, REQUEST.with_values({"prompt": "{a|b}"}), Settings())
    assert ticket.request.prompt_2 == "{a|b}"
    assert ticket.request.negative == "{rain|snow}"
    assert not_honoured(ticket.receipt) == ["prompt: syntax not read by this engine: {a|b}"]
