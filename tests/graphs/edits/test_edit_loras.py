"""LoRAs are inserted directly after the loaders."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from support.comfyui_graphs import CHECKPOINT, EDIT, INPAINT, SPLIT, node, titled

from imagen.core.request import Lora
from imagen.errors import WorkflowError
from imagen.graphs.edits import place_of_loras, with_loras

INK = Lora(name="ink.safetensors", strength=0.5)
WASH = Lora(name="wash.safetensors", strength=-1.25)


def changed(graph: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The nodes that are others in `other`, or new there."""
    return {node_id: node for node_id, node in other.items() if graph.get(node_id) != node}


def test_lora_is_inserted_between_the_checkpoint_and_its_users() -> None:
    assert changed(CHECKPOINT, with_loras(CHECKPOINT, [INK])) == {
        "5": node("CLIPTextEncode", text="a fox", clip=["11", 1]),
        "6": node("CLIPTextEncode", text="", clip=["11", 1]),
        "8": node(
            "KSampler",
            model=["11", 0],
            positive=["5", 0],
            negative=["6", 0],
            latent_image=["7", 0],
            seed=1,
            denoise=1.0,
        ),
        "11": titled(
            "LoraLoader",
            "LoRA ink.safetensors",
            model=["1", 0],
            lora_name="ink.safetensors",
            strength_model=0.5,
            clip=["1", 1],
            strength_clip=0.5,
        ),
    }


def test_several_loras_are_chained_in_order() -> None:
    graph = with_loras(CHECKPOINT, [INK, WASH])
    assert graph["12"] == titled(
        "LoraLoader",
        "LoRA wash.safetensors",
        model=["11", 0],
        lora_name="wash.safetensors",
        strength_model=-1.25,
        clip=["11", 1],
        strength_clip=-1.25,
    )
    assert graph["11"]["inputs"]["model"] == ["1", 0]
    assert graph["8"]["inputs"]["model"] == ["12", 0]
    assert graph["5"]["inputs"]["clip"] == ["12", 1]


def test_loras_come_before_model_patches() -> None:
    assert changed(SPLIT, with_loras(SPLIT, [INK])) == {
        "4": node("ModelSamplingFlux", model=["11", 0], max_shift=1.15),
        "5": node("CLIPTextEncode", text="a fox", clip=["11", 1]),
        "11": titled(
            "LoraLoader",
            "LoRA ink.safetensors",
            model=["1", 0],
            lora_name="ink.safetensors",
            strength_model=0.5,
            clip=["2", 0],
            strength_clip=0.5,
        ),
    }


def test_lora_changes_only_the_model_without_a_single_text_encoder() -> None:
    graph = SPLIT | {
        "12": node("CLIPLoader", clip_name="other.safetensors"),
        "13": node("CLIPTextEncode", text="", clip=["12", 0]),
        "7": node("BasicScheduler", model=["4", 0], steps=4, unused=["13", 0]),
    }
    assert changed(graph, with_loras(graph, [INK])) == {
        "4": node("ModelSamplingFlux", model=["14", 0], max_shift=1.15),
        "14": titled(
            "LoraLoaderModelOnly",
            "LoRA ink.safetensors",
            model=["1", 0],
            lora_name="ink.safetensors",
            strength_model=0.5,
        ),
    }


def test_requested_loras_come_before_the_graphs_own() -> None:
    graph = CHECKPOINT | {
        "2": node("LoraLoader", model=["1", 0], clip=["1", 1], lora_name="own.safetensors"),
        "5": node("CLIPTextEncode", text="a fox", clip=["2", 1]),
        "8": node("KSampler", model=["2", 0], positive=["5", 0], negative=["6", 0]),
    }
    cut = with_loras(graph, [INK])
    assert cut["2"]["inputs"]["model"] == ["11", 0]
    assert (cut["2"]["inputs"]["clip"], cut["6"]["inputs"]["clip"]) == (["11", 1], ["11", 1])
    assert cut["8"]["inputs"]["model"] == ["2", 0]


@pytest.mark.parametrize("graph", [INPAINT, EDIT], ids=["inpaint", "edit"])
def test_loras_have_a_place_in_graphs_of_other_tasks(graph: dict[str, Any]) -> None:
    assert place_of_loras(graph).model == ("1", 0)


def test_loras_leave_the_given_graph_unchanged() -> None:
    before = deepcopy(CHECKPOINT)
    with_loras(CHECKPOINT, [INK, WASH])
    assert before == CHECKPOINT


def test_no_lora_changes_nothing() -> None:
    assert with_loras(CHECKPOINT, []) == CHECKPOINT


def test_unused_nodes_take_no_loras() -> None:
    idle = {
        "20": node("UNETLoader", unet_name="idle.safetensors"),
        "21": node("ModelSamplingFlux", model=["20", 0]),
    }
    assert place_of_loras(CHECKPOINT | idle).model == ("1", 0)


def test_new_nodes_get_numbers_beside_other_ids() -> None:
    graph = {"75:1": node("UNETLoader"), "s": node("KSampler", model=["75:1", 0])}
    assert with_loras(graph, [INK])["s"]["inputs"]["model"] == ["1", 0]


def test_graph_without_a_model_takes_no_loras() -> None:
    graph = {"1": node("EmptyImage"), "2": node("SaveImage", images=["1", 0])}
    with pytest.raises(WorkflowError, match="no model that a LoRA could be applied to"):
        place_of_loras(graph)


def test_graph_with_several_models_takes_no_loras() -> None:
    graph = CHECKPOINT | {
        "2": node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors"),
        "12": node("KSampler", model=["2", 0], latent_image=["8", 0]),
        "9": node("VAEDecode", samples=["12", 0], vae=["1", 2]),
    }
    with pytest.raises(WorkflowError, match="has several models"):
        with_loras(graph, [INK])


def test_cycle_of_models_does_not_loop_forever() -> None:
    graph = {
        "1": node("ModelSamplingFlux", model=["2", 0]),
        "2": node("ModelSamplingFlux", model=["1", 0]),
    }
    with pytest.raises(WorkflowError, match="has several models"):
        with_loras(graph, [INK])
