"""Each saved value is assigned to its input."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from support.editor_files import (
    CATALOGUE,
    PORTRAIT,
    PORTRAIT_NODES,
    PORTRAIT_WIRES,
    Wire,
    editor,
    graph_of,
    inputs_of_one,
    node,
    notes_of,
    shown,
    subgraph,
)

from imagen.graphs.importer import detect_in_json
from imagen.graphs.importer.convert import convert
from imagen.graphs.node_catalog import read_catalog

SAMPLER = {
    "seed": 7,
    "steps": 20,
    "cfg": 8,
    "sampler_name": "euler",
    "scheduler": "normal",
    "denoise": 1,
}


def test_whole_workflow_becomes_what_the_editor_would_send() -> None:
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
        pytest.param([7, None, 20, 8, "euler", "normal", 1], id="null, as some nodes have it"),
        pytest.param([7, 20, 8, "euler", "normal", 1], id="none, as the oldest files have it"),
    ],
)
def test_seed_control_is_not_a_value(values: list[Any]) -> None:
    assert inputs_of_one(*values) == SAMPLER


@pytest.mark.parametrize("values", [[7, "randomize", 33], [7, 33]])
def test_seed_may_have_a_control_that_its_class_forbids_now(values: list[Any]) -> None:
    assert inputs_of_one(*values, kind="Film") == {"seed": 7, "steps": 33}


def test_catalog_option_declares_a_control() -> None:
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


def test_converted_input_keeps_its_place_among_the_values() -> None:
    faces = [("steps", "INT", "widget")]
    assert inputs_of_one(7, "fixed", 20, 8, "euler", "normal", 1, inputs=faces) == SAMPLER


NAMED = SAMPLER | {"control_after_generate": "fixed"}


def test_values_saved_only_by_name_are_used() -> None:
    assert inputs_of_one(widgets_values_named=NAMED) == SAMPLER
    assert inputs_of_one(widgets_values=NAMED | {"videopreview": {}}) == SAMPLER


def test_values_by_name_are_used_if_positions_do_not_fit() -> None:
    older = (7, "fixed", "euler", 20, 8, "normal", 1)
    assert inputs_of_one(*older, widgets_values_named=NAMED) == SAMPLER


def test_values_by_position_win_if_both_fit() -> None:
    corrected = (8, "fixed", 20, 8, "euler", "normal", 1)
    assert inputs_of_one(*corrected, widgets_values_named=NAMED) == SAMPLER | {"seed": 8}


def test_newer_inputs_have_their_defaults() -> None:
    assert inputs_of_one(7, "fixed", 20, 8, "euler") == SAMPLER | {"denoise": 1.0}
    assert inputs_of_one(None, "fixed", 20, 8, None, "normal", 1) == SAMPLER | {"seed": 0}


def test_whole_numbers_are_sent_as_integers() -> None:
    assert repr(inputs_of_one(7.0, "fixed", 20.0, 8, "euler", "normal", 1)["steps"]) == "20"


def test_upload_button_is_not_a_value() -> None:
    assert inputs_of_one("cat.png", "image", kind="LoadImage") == {"image": "cat.png"}
    assert inputs_of_one("cat.png", kind="LoadImage") == {"image": "cat.png"}


def test_upload_button_comes_after_required_inputs() -> None:
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


def test_values_follow_the_catalogs_order_without_forced_sockets() -> None:
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
def test_dynamic_choice_adds_its_own_inputs(values: list[Any], inputs: dict[str, Any]) -> None:
    assert inputs_of_one(*values, kind="Resize") == inputs
    assert inputs_of_one(kind="Resize", widgets_values_named=inputs) == inputs


def test_upload_button_comes_before_optional_inputs() -> None:
    found = inputs_of_one("cat.png", "image", 5, kind="LoadMore")
    assert found == {"image": "cat.png", "page": 5}


def test_widget_of_a_custom_type_is_recognized_in_the_file() -> None:
    faces = [("pick", "PICKER", "widget")]
    found = inputs_of_one("red", 4, kind="Picker", inputs=faces)
    assert found == {"pick": "red", "amount": 4}
    assert inputs_of_one(4, kind="Picker", inputs=[("pick", "PICKER")]) == {"amount": 4}


def test_widget_of_a_script_only_type_is_not_a_socket() -> None:
    assert inputs_of_one("red", 4, kind="Picker") == {"pick": "red", "amount": 4}


def test_values_added_by_a_display_are_left_out() -> None:
    assert inputs_of_one(3, "shown text", kind="Blur") == {"amount": 3}


def test_unknown_choice_is_kept() -> None:
    assert inputs_of_one("other.safetensors", kind="CheckpointLoaderSimple", outputs=["IMAGE"]) == {
        "ckpt_name": "other.safetensors"
    }


def test_object_at_a_text_input_is_kept() -> None:
    nodes = PORTRAIT_NODES | {"6": node("CLIPTextEncode", {"name": "a.png"})}
    graph = graph_of(editor(nodes, PORTRAIT_WIRES))
    assert graph["6"]["inputs"]["text"] == {"name": "a.png"}


HEADER = {"type": "PowerLoraLoaderHeaderWidget"}
FIRST = {"on": True, "lora": "a.safetensors", "strength": 0.7, "strengthTwo": None}
SECOND = {"on": False, "lora": "b.safetensors", "strength": 1, "strengthTwo": 0.5}


def lora_inputs(kind: str, *values: Any) -> Any:
    """What a loader of this class with these values becomes, without its links."""
    nodes = {**PORTRAIT_NODES, "20": node(kind, *values, outputs=["MODEL"])}
    wires: list[Wire] = [wire for wire in PORTRAIT_WIRES if wire[3] != "model"]
    wires += [("4", 0, "20", "model", "MODEL"), ("20", 0, "3", "model", "MODEL")]
    inputs = graph_of(editor(nodes, wires))["20"]["inputs"]
    return {name: value for name, value in inputs.items() if name != "model"}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([{}, HEADER, FIRST, SECOND, {}, ""], id="as now"),
        pytest.param([None, HEADER, FIRST, SECOND, None, ""], id="as before"),
    ],
)
def test_every_lora_of_a_power_lora_loader_is_kept(values: list[Any]) -> None:
    assert lora_inputs("Power Lora Loader (rgthree)", *values) == {
        "PowerLoraLoaderHeaderWidget": HEADER,
        "lora_1": FIRST,
        "lora_2": SECOND,
    }


LORAS = [{"name": "a", "strength": 0.7, "active": True}]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param("Lora Loader (LoraManager)", ["<lora:a:0.7>", LORAS], id="undeclared"),
        pytest.param(
            "Lora Stacker (LoraManager)",
            [{"version": 1, "textWidgetName": "text"}, "<lora:a:0.7>", LORAS],
            id="declared, with a note on the widgets",
        ),
    ],
)
def test_loras_listed_by_a_script_are_kept(kind: str, values: list[Any]) -> None:
    assert lora_inputs(kind, *values) == {
        "text": "<lora:a:0.7>",
        "loras": {"__value__": LORAS},
    }


def test_trigger_words_listed_by_a_script_are_kept() -> None:
    words = [{"text": "ink", "active": False}]
    assert lora_inputs("TriggerWord Toggle (LoraManager)", True, words, "ink") == {
        "group_mode": True,
        "toggle_trigger_words": {"__value__": words},
        "orinalMessage": "ink",
    }


def test_undeclared_values_by_name_are_kept() -> None:
    values = {
        "frame_rate": 12,
        "format": "video/h264-mp4",
        "crf": 19,
        "save_metadata": True,
        "videopreview": {"hidden": False},
    }
    nodes = {
        "1": node("LoadImage", "cat.png", "image"),
        "2": node("VideoCombine", widgets_values=values),
    }
    graph = graph_of(editor(nodes, [("1", 0, "2", "images", "IMAGE")]))
    assert graph["2"]["inputs"] == {
        "frame_rate": 12,
        "format": "video/h264-mp4",
        "crf": 19,
        "save_metadata": True,
        "images": ["1", 0],
    }


def test_surplus_values_are_reported() -> None:
    nodes = {"1": node("Blur", 3, "shown text", {}, "", None, 7), "9": node("PreviewImage")}
    said = editor(nodes, [("1", 0, "9", "images", "IMAGE")])
    assert notes_of(said) == ("Node 1 (Blur): no input takes these values: 'shown text', 7.",)


@pytest.mark.parametrize(
    ("control", "how"),
    [
        ("randomize", "randomize"),
        ("increment", "increment"),
        ("decrement", "decrement"),
        (True, "randomize"),
    ],
)
def test_seed_that_becomes_fixed_is_reported(control: Any, how: str) -> None:
    nodes = PORTRAIT_NODES | {"3": node("KSampler", 7, control, 20, 8, "euler", "normal", 1)}
    assert notes_of(editor(nodes, PORTRAIT_WIRES)) == (
        "The editor changes these after each run; here they keep their value: "
        f"node 3, seed ({how}).",
    )


@pytest.mark.parametrize("control", ["fixed", False, None])
def test_fixed_seed_is_not_reported(control: Any) -> None:
    nodes = PORTRAIT_NODES | {"3": node("KSampler", 7, control, 20, 8, "euler", "normal", 1)}
    assert notes_of(editor(nodes, PORTRAIT_WIRES)) == ()


def test_primitive_that_becomes_fixed_is_reported_at_its_target() -> None:
    blur = node("Blur", 3, inputs=[("amount", "INT", "widget")])
    nodes = {"1": blur, "5": node("PrimitiveNode", 12, "randomize"), "9": node("PreviewImage")}
    wires: list[Wire] = [("5", 0, "1", "amount", "INT"), ("1", 0, "9", "images", "IMAGE")]
    assert notes_of(editor(nodes, wires)) == (
        "The editor changes these after each run; here they keep their value: "
        "node 1, amount (randomize).",
    )


def test_comments_and_choices_are_resolved_and_reported() -> None:
    nodes = PORTRAIT_NODES | {"6": node("CLIPTextEncode", "a /* big */ {red|blue} fox // note")}
    said = editor(nodes, PORTRAIT_WIRES)
    assert graph_of(said)["6"]["inputs"]["text"] == "a  red fox "
    assert notes_of(said) == (
        "Node 6, text: comments are removed, as in the editor.",
        "Node 6, text: the first of each {a|b} is used; the editor draws one for each run.",
    )


def test_escaped_brace_is_a_brace() -> None:
    nodes = PORTRAIT_NODES | {"6": node("CLIPTextEncode", r"a \{red\|blue\} fox")}
    said = editor(nodes, PORTRAIT_WIRES)
    assert graph_of(said)["6"]["inputs"]["text"] == "a {red|blue} fox"


def test_text_without_dynamic_prompts_is_unchanged() -> None:
    nodes = PORTRAIT_NODES | {"9": node("SaveImage", "{a|b}//c")}
    assert graph_of(editor(nodes, PORTRAIT_WIRES))["9"]["inputs"]["filename_prefix"] == "{a|b}//c"


def test_primitive_text_is_resolved_at_its_target() -> None:
    faces = [("clip", "CLIP"), ("text", "STRING", "widget")]
    nodes = PORTRAIT_NODES | {
        "6": node("CLIPTextEncode", "old", inputs=faces),
        "20": node("PrimitiveNode", "{red|blue}"),
    }
    graph = graph_of(editor(nodes, [*PORTRAIT_WIRES, ("20", 0, "6", "text", "STRING")]))
    assert graph["6"]["inputs"]["text"] == "red"


def test_text_on_a_subgraphs_face_is_unchanged() -> None:
    inner = subgraph(
        "words",
        {"5": node("CLIPTextEncode", "old", inputs=[("text", "STRING", "widget")])},
        [("-10", 0, "5", "text", "STRING"), ("5", 0, "-20", "0", "CONDITIONING")],
        inputs=[("text", "STRING")],
        outputs=[("CONDITIONING", "CONDITIONING")],
    )
    nodes = PORTRAIT_NODES | {
        "6": node("words", "{red|blue}", inputs=[("text", "STRING")], outputs=["CONDITIONING"])
    }
    wires = [wire for wire in PORTRAIT_WIRES if wire[2] != "6"]
    graph = graph_of(editor(nodes, wires, definitions={"subgraphs": [inner]}))
    assert graph["6:5"]["inputs"]["text"] == "{red|blue}"


NOW = datetime(2026, 3, 4, 5, 6, 7)


def prefix_of(text: str, **more: Any) -> str:
    """What a file name of the portrait becomes."""
    nodes = PORTRAIT_NODES | {"9": node("SaveImage", text)} | more
    found = convert(
        detect_in_json(editor(nodes, PORTRAIT_WIRES), "it.json"), read_catalog(CATALOGUE), now=NOW
    )
    prefix = found.graph["9"]["inputs"]["filename_prefix"]
    assert isinstance(prefix, str)
    return prefix


def test_file_name_placeholders_are_filled_in() -> None:
    assert prefix_of("%date:yyyy-MM-dd%/%KSampler.seed%_%EmptyLatentImage.width%") == (
        "2026-03-04/7_512"
    )


def test_placeholders_find_nodes_by_search_name_then_title() -> None:
    named = node("KSampler", 7, "fixed", 20, 8, "euler", "normal", 1, title="Draw")
    renamed = named | {"properties": {"Node name for S&R": "Sampler A"}}
    assert (
        prefix_of("%Sampler A.steps%_%KSampler.steps%", **{"3": renamed}) == "20_%KSampler.steps%"
    )
    assert prefix_of("%Draw.steps%", **{"3": named}) == "20"
    primitive = node("PrimitiveNode", 12, "fixed", title="Number")
    assert prefix_of("%Number.value%", **{"20": primitive}) == "12"


def test_server_placeholders_are_kept() -> None:
    assert prefix_of("%year%_%width%_%Nothing.seed%_%KSampler.nothing%") == (
        "%year%_%width%_%Nothing.seed%_%KSampler.nothing%"
    )


def test_filled_in_file_name_is_reported() -> None:
    nodes = PORTRAIT_NODES | {"9": node("SaveImage", "%KSampler.seed%_fox")}
    assert notes_of(editor(nodes, PORTRAIT_WIRES)) == (
        "Node 9, filename_prefix: fixed as '7_fox'; the editor fills in "
        "'%KSampler.seed%_fox' for each run.",
    )


def test_endlessly_nested_proxies_are_ignored() -> None:
    host = node("soft", 12, properties={"proxyWidgets": "[" * 100_000}, outputs=["IMAGE"])
    inner = subgraph("soft", {"5": node("Blur", 3)}, [("5", 0, "-20", "0", "IMAGE")])
    graph = shown({"1": host}, [], definitions={"subgraphs": [inner]})
    assert graph["1:5"]["inputs"] == {"amount": 3}
