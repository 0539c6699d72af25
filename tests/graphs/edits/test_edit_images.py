"""Further reference images, and padding for outpainting."""

from __future__ import annotations

import pytest
from support.comfyui_graphs import CHECKPOINT, EDIT, INPAINT, node, titled

from imagen.core.request import Outpaint
from imagen.errors import RequestError
from imagen.graphs.edits import with_padding, with_references


def test_second_reference_copies_the_nodes_of_the_first() -> None:
    cut = with_references(EDIT, "6", ["b.png"])
    assert {node_id: cut[node_id] for node_id in cut if cut[node_id] != EDIT.get(node_id)} == {
        "11": node("CFGGuider", model=["1", 0], positive=["16", 0], negative=["17", 0]),
        "13": node("LoadImage", image="b.png"),
        "14": node("ImageScaleToTotalPixels", image=["13", 0], megapixels=1.0),
        "15": node("VAEEncode", pixels=["14", 0], vae=["2", 0]),
        "16": node("ReferenceLatent", conditioning=["9", 0], latent=["15", 0]),
        "17": node("ReferenceLatent", conditioning=["10", 0], latent=["15", 0]),
    }


def test_third_reference_is_chained_after_the_second() -> None:
    cut = with_references(EDIT, "6", ["b.png", "c.png"])
    assert cut["18"] == node("LoadImage", image="c.png")
    assert cut["21"] == node("ReferenceLatent", conditioning=["16", 0], latent=["20", 0])
    assert cut["22"] == node("ReferenceLatent", conditioning=["17", 0], latent=["20", 0])
    assert cut["11"]["inputs"]["positive"] == ["21", 0]


def test_no_further_reference_changes_nothing() -> None:
    assert with_references(EDIT, "6", []) == EDIT


def test_graph_for_one_image_refuses_more_references() -> None:
    with pytest.raises(RequestError, match="references: this workflow takes one image, not 3"):
        with_references(CHECKPOINT, "7", ["b.png", "c.png"])


def test_padding_replaces_image_and_mask() -> None:
    cut = with_padding(INPAINT, "11", "12", Outpaint(right=64), 24)
    assert "12" not in cut
    assert cut["7"] == node("VAEEncodeForInpaint", pixels=["13", 0], mask=["13", 1], vae=["1", 2])
    assert cut["13"] == titled(
        "ImagePadForOutpaint",
        "Padding",
        image=["11", 0],
        left=0,
        top=0,
        right=64,
        bottom=0,
        feathering=24,
    )
