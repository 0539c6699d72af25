"""Each stored value goes to the input it belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from editor_lab import (
    PORTRAIT,
    PORTRAIT_NODES,
    PORTRAIT_WIRES,
    editor,
    graph_of,
    inputs_of_one,
    node,
)

SAMPLER = {
    "seed": 7,
    "steps": 20,
    "cfg": 8,
    "sampler_name": "euler",
    "scheduler": "normal",
    "denoise": 1,
}


def test_a_whole_workflow_becomes_what_the_editor_would_send() -> None:
    assert graph_of(editor(PORTRAIT_NODES, PORTRAIT_WIRES)) == PORTRAIT


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([7, "fixed", 20, 8, "euler", "normal", 1], id="fixed"),
        pytest.param([7, "randomize", 20, 8, "euler", "normal", 1], id="randomize"),
        pytest.param([7, "increment", 20, 8, "euler", "normal", 1], id="increment"),
        pytest.param([7, "decrement", 20, 8, "euler", "normal", 1], id="decrement"),
        pytest.param([7, True, 20, 8, "euler", "normal", 1], id="true, as old files have it"),
        pytest.param([7, False, 20, 8, "euler", "normal", 1], id="false, as old files have it"),
        pytest.param([7, 20, 8, "euler", "normal", 1], id="none, as the oldest files have it"),
    ],
)
def test_what_the_editor_does_to_a_seed_is_no_value(values: list[Any]) -> None:
    assert inputs_of_one(*values) == SAMPLER


def test_an_option_of_the_catalogue_tells_of_a_control_too() -> None:
    nodes = {
        "1": node("PrimitiveInt", 640, "randomize"),
        "2": node("EmptyLatentImage", 512, 512, 1, inputs=[("width", "INT", "widget")]),
        "8": node("VAEDecode"),
        "9": node("PreviewImage"),
    }
    graph = graph_of(
        editor(
            nodes,
            [
                ("1", 0, "2", "width", "INT"),
                ("2", 0, "8", "samples", "LATENT"),
                ("8", 0, "9", "images", "IMAGE"),
            ],
        )
    )
    assert graph["1"]["inputs"] == {"value": 640}
    assert graph["2"]["inputs"] == {"width": ["1", 0], "height": 512, "batch_size": 1}


def test_an_input_made_a_socket_still_has_its_place_among_the_values() -> None:
    faces = [("steps", "INT", "widget")]
    assert inputs_of_one(7, "fixed", 20, 8, "euler", "normal", 1, inputs=faces) == SAMPLER


NAMED = SAMPLER | {"control_after_generate": "fixed"}


def test_values_that_are_there_by_name_only_are_taken_by_name() -> None:
    assert inputs_of_one(widgets_values_named=NAMED) == SAMPLER
    assert inputs_of_one(widgets_values=NAMED | {"videopreview": {}}) == SAMPLER


def test_values_by_name_count_where_the_places_do_not_fit_the_catalogue() -> None:
    older = (7, "fixed", "euler", 20, 8, "normal", 1)
    assert inputs_of_one(*older, widgets_values_named=NAMED) == SAMPLER


def test_a_value_by_place_counts_where_both_fit_and_differ_as_in_the_editor() -> None:
    mended = (8, "fixed", 20, 8, "euler", "normal", 1)
    assert inputs_of_one(*mended, widgets_values_named=NAMED) == SAMPLER | {"seed": 8}


def test_values_that_a_newer_node_has_are_its_defaults() -> None:
    assert inputs_of_one(7, "fixed", 20, 8, "euler") == SAMPLER | {"denoise": 1.0}
    assert inputs_of_one(None, "fixed", 20, 8, None, "normal", 1) == SAMPLER | {"seed": 0}


def test_whole_numbers_are_sent_as_such() -> None:
    assert repr(inputs_of_one(7.0, "fixed", 20.0, 8, "euler", "normal", 1)["steps"]) == "20"


def test_the_upload_button_of_a_picture_is_no_value() -> None:
    assert inputs_of_one("cat.png", "image", kind="LoadImage") == {"image": "cat.png"}
    assert inputs_of_one("cat.png", kind="LoadImage") == {"image": "cat.png"}


def test_the_upload_button_stands_behind_all_that_is_required() -> None:
    nodes = {
        "1": node("LoadImageMask", "cat.png", "red", "image"),
        "2": node("EmptyLatentImage", 512, 512, 1),
        "3": node("SetLatentNoiseMask"),
        "8": node("VAEDecode"),
        "9": node("PreviewImage"),
    }
    graph = graph_of(
        editor(
            nodes,
            [
                ("2", 0, "3", "samples", "LATENT"),
                ("1", 0, "3", "mask", "MASK"),
                ("3", 0, "8", "samples", "LATENT"),
                ("8", 0, "9", "images", "IMAGE"),
            ],
        )
    )
    assert graph["1"]["inputs"] == {"image": "cat.png", "channel": "red"}


def test_values_go_in_the_order_the_catalogue_tells_and_not_to_forced_sockets() -> None:
    assert inputs_of_one(6, "#000", True, ["a", "b"], kind="Many") == {
        "level": 6,
        "color": "#000",
        "flag": True,
        "words": {"__value__": ["a", "b"]},
    }


@pytest.mark.parametrize(
    ("values", "inputs"),
    [
        pytest.param(
            ["factor", 2.5, "area"],
            {"mode": "factor", "mode.by": 2.5, "method": "area"},
            id="with one input below",
        ),
        pytest.param(
            ["size", 640, 480, "lanczos"],
            {"mode": "size", "mode.wide": 640, "mode.high": 480, "method": "lanczos"},
            id="with two inputs below",
        ),
    ],
)
def test_a_dynamic_choice_brings_inputs_of_its_own(
    values: list[Any], inputs: dict[str, Any]
) -> None:
    assert inputs_of_one(*values, kind="Resize") == inputs
    assert inputs_of_one(kind="Resize", widgets_values_named=inputs) == inputs


def test_the_upload_button_stands_before_what_is_optional() -> None:
    found = inputs_of_one("cat.png", "image", 5, kind="LoadMore")
    assert found == {"image": "cat.png", "page": 5}


def test_a_widget_of_a_type_of_its_own_is_told_by_the_file() -> None:
    faces = [("pick", "PICKER", "widget")]
    found = inputs_of_one("red", 4, kind="Picker", inputs=faces)
    assert found == {"pick": "red", "amount": 4}
    assert inputs_of_one(4, kind="Picker", inputs=[("pick", "PICKER")]) == {"amount": 4}


def test_what_a_display_adds_behind_the_values_is_left_out() -> None:
    assert inputs_of_one(3, "shown text", kind="Blur") == {"amount": 3}


def test_a_choice_that_this_server_has_not_is_kept() -> None:
    assert inputs_of_one("other.safetensors", kind="CheckpointLoaderSimple", outputs=["IMAGE"]) == {
        "ckpt_name": "other.safetensors"
    }
