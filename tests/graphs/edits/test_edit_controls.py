"""Control images are applied between the prompts and the sampler of any graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.comfyui_graphs import CHECKPOINT, EDIT, INPAINT, SPLIT, node, titled

from imagen.errors import WorkflowError
from imagen.graphs.edits import ControlNetUse, place_of_controls, with_controls

if TYPE_CHECKING:
    from imagen.graphs.graph import Node

CANNY = ControlNetUse(
    kind="canny", file="canny.safetensors", image="imagen/c.png", strength=0.8, end=0.5
)
DEPTH = ControlNetUse(kind="depth", file="union.safetensors", image="imagen/d.png", union="depth")
POSE = ControlNetUse(kind="pose", file="union.safetensors", image="imagen/p.png", union="openpose")


def added(graph: dict[str, Node], other: dict[str, Node]) -> dict[str, Node]:
    """The nodes that are new in `other`."""
    return {node_id: node for node_id, node in other.items() if node_id not in graph}


def sampler(**inputs: Any) -> Node:
    """The sampler of CHECKPOINT with these inputs."""
    return node("KSampler", **(CHECKPOINT["8"]["inputs"] | inputs))


def test_one_control_image_is_applied_before_the_sampler() -> None:
    cut = with_controls(CHECKPOINT, [CANNY])
    assert cut["8"] == sampler(positive=["13", 0], negative=["13", 1])
    assert added(CHECKPOINT, cut) == {
        "11": titled("ControlNetLoader", "ControlNetLoader", control_net_name="canny.safetensors"),
        "12": titled("LoadImage", "Control image canny", image="imagen/c.png"),
        "13": titled(
            "ControlNetApplyAdvanced",
            "Control canny",
            positive=["5", 0],
            negative=["6", 0],
            control_net=["11", 0],
            image=["12", 0],
            strength=0.8,
            start_percent=0.0,
            end_percent=0.5,
            vae=["1", 2],
        ),
    }


def test_several_control_images_are_chained_in_order() -> None:
    cut = with_controls(CHECKPOINT, [CANNY, DEPTH])
    assert cut["8"] == sampler(positive=["17", 0], negative=["17", 1])
    assert cut["17"]["inputs"]["positive"] == ["13", 0]
    assert cut["17"]["inputs"]["negative"] == ["13", 1]


def test_union_controlnet_is_loaded_once_and_set_to_each_kind() -> None:
    cut = with_controls(CHECKPOINT, [DEPTH, POSE])
    nets = {i: n["inputs"] for i, n in cut.items() if "ControlNet" in n["class_type"]}
    assert nets["11"] == {"control_net_name": "union.safetensors"}
    assert nets["12"] == {"control_net": ["11", 0], "type": "depth"}
    assert nets["15"] == {"control_net": ["11", 0], "type": "openpose"}
    assert (nets["14"]["control_net"], nets["17"]["control_net"]) == (["12", 0], ["15", 0])


def test_guider_with_one_conditioning_gets_the_positive_side() -> None:
    cut = with_controls(SPLIT, [CANNY])
    assert cut["6"] == node("BasicGuider", model=["4", 0], conditioning=["13", 0])
    assert cut["13"]["inputs"]["positive"] == cut["13"]["inputs"]["negative"] == ["5", 0]
    assert cut["13"]["inputs"]["vae"] == ["3", 0]


def test_inpainting_conditioning_comes_before_the_controlnet() -> None:
    graph = INPAINT | {
        "13": node("InpaintModelConditioning", positive=["5", 0], negative=["6", 0], vae=["1", 2]),
        "8": sampler(positive=["13", 0], negative=["13", 1]),
    }
    cut = with_controls(graph, [CANNY])
    assert cut["16"]["inputs"]["positive"] == ["13", 0]
    assert cut["16"]["inputs"]["negative"] == ["13", 1]
    assert cut["8"] == sampler(positive=["16", 0], negative=["16", 1])


def test_samplers_with_the_same_inputs_share_the_controlnet() -> None:
    graph = CHECKPOINT | {"11": sampler(latent_image=["8", 0], denoise=0.4)}
    cut = with_controls(graph, [CANNY])
    assert cut["8"]["inputs"]["positive"] == cut["11"]["inputs"]["positive"] == ["14", 0]


def test_model_patch_changes_only_the_samplers_model() -> None:
    net = ControlNetUse(kind="canny", file="fun.safetensors", image="c.png", patches_model=True)
    cut = with_controls(SPLIT, [net])
    assert added(SPLIT, cut) == {
        "11": titled("ModelPatchLoader", "ModelPatchLoader", name="fun.safetensors"),
        "12": titled("LoadImage", "Control image canny", image="c.png"),
        "13": titled(
            "QwenImageDiffsynthControlnet",
            "Control canny",
            model=["4", 0],
            model_patch=["11", 0],
            image=["12", 0],
            strength=1.0,
            vae=["3", 0],
        ),
    }
    assert cut["6"] == node("BasicGuider", model=["13", 0], conditioning=["5", 0])
    assert cut["7"] == SPLIT["7"]


def test_controlnet_without_a_vae_has_no_vae_input() -> None:
    graph = {
        "1": node("Loader"),
        "2": node("KSampler", model=["1", 0], positive=["1", 1], negative=["1", 2]),
    }
    assert "vae" not in with_controls(graph, [CANNY])["5"]["inputs"]


@pytest.mark.parametrize("graph", [INPAINT, EDIT], ids=["inpaint", "edit"])
def test_controls_have_a_place_in_graphs_of_other_tasks(graph: dict[str, Any]) -> None:
    assert len(place_of_controls(graph).samplers) == 1


def test_no_control_image_changes_nothing() -> None:
    assert with_controls(CHECKPOINT, []) == CHECKPOINT


def test_graph_without_a_sampler_takes_no_control_images() -> None:
    graph = {"1": node("LoadImage", image="a.png"), "2": node("SaveImage", images=["1", 0])}
    with pytest.raises(WorkflowError, match="no sampler that a control image could apply to"):
        place_of_controls(graph)


def test_samplers_with_different_inputs_take_no_control_images() -> None:
    graph = CHECKPOINT | {"11": sampler(positive=["6", 0])}
    with pytest.raises(WorkflowError, match="several samplers with different inputs"):
        with_controls(graph, [CANNY])
