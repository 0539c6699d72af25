"""A bound graph is checked against a server's node catalog, in both encodings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagen.graphs import Manifest, check_against_server, find_workflow

CATALOGUE: dict[str, Any] = json.loads(
    Path(__file__).with_name("node_catalog.json").read_text("utf-8")
)

ONE_OF_EACH: dict[str, Any] = {
    "Source": {"input": {}, "output": ["IMAGE", "MASK", "A,B", "*", ["x", "y"]]},
    "Mine": {
        "input": {
            "required": {
                "int": ["INT", {"min": 1, "max": 18446744073709551615}],
                "float": ["FLOAT", {"min": 0.0, "max": 1.0}],
                "bool": ["BOOLEAN"],
                "text": ["STRING"],
                "old": [["euler", "heun"]],
                "new": ["COMBO", {"options": ["euler", "heun"]}],
                "image": ["IMAGE"],
            },
            "optional": {
                "either": ["B, C"],
                "any": ["*"],
                "widget": ["COLOR"],
                "upload": [["a.png"], {"image_upload": True}],
                "remote": ["COMBO", {"remote": {"route": "/x"}}],
                "several": [["a", "b"], {"multiselect": True}],
            },
        },
        "output": [],
        "output_node": True,
    },
    "Free": {
        "input": {"required": {"grow": ["COMFY_AUTOGROW_V3", {}], "mask": ["MASK"]}},
        "output": ["COMFY_MATCHTYPE_V3"],
        "output_node": True,
    },
    "Odd": {"input": {"required": {"a": [], "b": None, "c": [5]}}, "output": None},
    "Odder": {"input": None},
    "Oddest": 7,
}
GOOD: dict[str, Any] = {
    "int": 4,
    "float": 0.5,
    "bool": True,
    "text": "a",
    "old": "euler",
    "new": "heun",
    "image": ["1", 0],
}


def said(**inputs: Any) -> list[tuple[str, str]]:
    """The input and the sentence of each fault of a node Mine with these inputs changed."""
    graph = {
        "1": {"class_type": "Source", "inputs": {}},
        "2": {"class_type": "Mine", "inputs": GOOD | inputs},
    }
    return [(fault.input, fault.what) for fault in check_against_server(graph, ONE_OF_EACH)]


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({}, id="as declared"),
        pytest.param({"int": 2**64 - 1}, id="the largest seed"),
        pytest.param({"int": "32"}, id="a number as text, which the server reads"),
        pytest.param({"int": 4.0, "float": 1}, id="whole floats and ints"),
        pytest.param({"bool": 0}, id="0 and 1 are switches"),
        pytest.param({"text": 5}, id="a number as text"),
        pytest.param({"text": {"name": "a.png"}}, id="an object as text"),
        pytest.param({"text": ""}, id="empty text"),
        pytest.param({"int": "$<int>", "old": "${old}"}, id="tokens are not checked"),
        pytest.param({"int": ["1", 3], "old": ["1", 4]}, id="links of any type"),
        pytest.param({"either": ["1", 2], "any": ["1", 1]}, id="types in common"),
        pytest.param({"widget": "#ff0000"}, id="a value of a type that no node gives"),
        pytest.param({"upload": "imagen/b.png"}, id="an uploaded file is not in the list"),
        pytest.param({"remote": "x"}, id="a choice the server does not list"),
        pytest.param({"several": {"__value__": ["a"]}}, id="a choice of several"),
        pytest.param({"undeclared": 1}, id="what the server ignores"),
    ],
)
def test_accepted_values_are_not_faults(inputs: dict[str, Any]) -> None:
    assert said(**inputs) == []


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("int", 0, "must be at least 1, not 0."),
        ("int", 2**64, "must be at most 18446744073709551615, not 18446744073709551616."),
        ("int", 2.5, "must be a whole number, not 2.5."),
        ("int", "four", "must be a whole number, not 'four'."),
        ("int", True, "must be a whole number, not True."),
        ("int", None, "must be a whole number, not None."),
        ("int", 10**400, "must be at most 18446744073709551615, not 1" + "0" * 78 + "…."),
        ("float", 1.5, "must be at most 1, not 1.5."),
        ("float", "inf", "must be a number, not 'inf'."),
        ("bool", "false", "must be true or false, not 'false'."),
        ("text", None, "must be text, not None."),
        ("old", "eulr", "cannot be 'eulr'. Did you mean 'euler'?"),
        ("new", "eulr", "cannot be 'eulr'. Did you mean 'euler'?"),
        ("new", 1, "cannot be 1."),
        ("image", "a.png", "must be a link to a node that outputs IMAGE, not a value."),
        ("image", ["1", 1], "takes IMAGE, but output 1 of node 1 is MASK."),
        ("image", ["1", 5], "links to output 5 of node 1; its last is 4."),
        ("image", ["2", 0], "links to output 0 of node 2; it has none."),
        ("either", ["1", 0], "takes B, C, but output 0 of node 1 is IMAGE."),
        ("image", ["7", 0], "links to node '7', which is not in the graph."),
        ("image", ["1", -1], "links to output -1 of node 1; outputs count from 0."),
    ],
)
def test_refused_or_misread_values_are_faults(name: str, value: Any, what: str) -> None:
    assert (name, what) in said(**{name: value})


def test_unknown_choice_lists_the_known_ones() -> None:
    graph = {"2": {"class_type": "Mine", "inputs": GOOD | {"old": "x", "image": "$<image>"}}}
    assert [fault.remedy for fault in check_against_server(graph, ONE_OF_EACH)] == [
        "Known: euler, heun."
    ]


def test_missing_required_input_is_a_fault() -> None:
    graph = {"2": {"class_type": "Mine", "inputs": GOOD | {"image": "$<image>"}}}
    del graph["2"]["inputs"]["text"]  # type: ignore[attr-defined]
    assert [fault.sentence for fault in check_against_server(graph, ONE_OF_EACH)] == [
        "node 2 (Mine), text: is required and missing."
    ]


def test_inputs_of_editor_only_types_are_not_checked() -> None:
    graph = {
        "1": {"class_type": "Free", "inputs": {"grow.a": 1, "mask": ["2", 0]}},
        "2": {"class_type": "Free", "inputs": {"grow": 7, "mask": ["3", 1]}},
        "3": {"class_type": "Source", "inputs": {}},
    }
    assert check_against_server(graph, ONE_OF_EACH) == []


@pytest.mark.parametrize("kind", ["Odd", "Odder"])
def test_malformed_catalog_is_read_as_far_as_possible(kind: str) -> None:
    graph = {
        "1": {"class_type": kind, "inputs": {"a": 1, "b": 2, "c": 3}},
        "9": {"class_type": "Mine", "inputs": GOOD | {"image": "$<image>", "any": ["2", 0]}},
        "2": {"class_type": "Source", "inputs": {"from": ["1", 0]}},
    }
    assert check_against_server(graph, ONE_OF_EACH) == []


def test_missing_class_is_named_with_the_nearest_known_one() -> None:
    graph = {
        "1": {"class_type": "Sorce", "inputs": {}},
        "2": {"class_type": "Zzz", "inputs": {}},
        "3": {"class_type": "Oder", "inputs": {}},
        "9": {"class_type": "Mine", "inputs": GOOD | {"image": ["1", 0]}},
    }
    assert [fault.sentence for fault in check_against_server(graph, ONE_OF_EACH)] == [
        "node 1 (Sorce): the server has no node 'Sorce'. Did you mean 'Source'?",
        "node 2 (Zzz): the server has no node 'Zzz'.",
        "node 3 (Oder): the server has no node 'Oder'. Did you mean 'Odder'?",
    ]


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("https://example.org/acme", "from https://example.org/acme"),
        ("", "with ComfyUI-Manager"),
    ],
    ids=["with a source", "without"],
)
def test_missing_class_of_a_known_pack_names_the_pack(source: str, where: str) -> None:
    pack = {"name": "Acme Nodes", "source": source, "classes": ["Sourcery"]}
    graph = {
        "1": {"class_type": "Sourcery", "inputs": {}},
        "9": {"class_type": "Mine", "inputs": GOOD | {"image": ["1", 0]}},
    }
    (fault,) = check_against_server(
        graph, ONE_OF_EACH, manifest=Manifest.model_validate({"nodes": [pack]})
    )
    assert fault.sentence == "node 1 (Sourcery): the server has no node 'Sourcery'."
    assert fault.remedy == f"Install the custom nodes Acme Nodes {where}, and restart ComfyUI."


@pytest.mark.parametrize(
    ("kind", "package"),
    [("Canny", "kornia"), ("UpscaleModelLoader", "spandrel")],
)
def test_missing_built_in_class_names_the_python_package(kind: str, package: str) -> None:
    graph = {
        "1": {"class_type": kind, "inputs": {}},
        "9": {"class_type": "Mine", "inputs": GOOD | {"image": ["1", 0]}},
    }
    (fault,) = check_against_server(graph, ONE_OF_EACH)
    assert fault.remedy == (
        f"{kind} belongs to ComfyUI and needs the package {package}. In ComfyUI's folder, run with "
        "its Python: pip install -r requirements.txt. Then restart ComfyUI; if that does not help, "
        "update it."
    )


def test_nodes_without_effect_on_outputs_are_not_checked() -> None:
    graph = {
        "1": {"class_type": "Source", "inputs": {}},
        "8": {"class_type": "Free", "inputs": {}},
        "9": {"class_type": "Mine", "inputs": GOOD},
    }
    catalogue = ONE_OF_EACH | {"Free": ONE_OF_EACH["Free"] | {"output_node": False}}
    assert check_against_server(graph, catalogue) == []


def test_graph_without_output_node_on_this_server_is_a_fault() -> None:
    faults = check_against_server({"1": {"class_type": "Source", "inputs": {}}}, ONE_OF_EACH)
    assert [fault.what for fault in faults] == ["No node outputs an image."]


def schnell(**values: Any) -> dict[str, Any]:
    """flux1-schnell, with these defaults changed."""
    return find_workflow("flux1-schnell").bind_defaults(values)


def without(*files: str) -> dict[str, Any]:
    """The catalog of a server without these files."""
    text = json.dumps(CATALOGUE)
    for file in files:
        text = text.replace(f'"{file}", ', "").replace(f', "{file}"', "").replace(f'"{file}"', "")
    catalogue: dict[str, Any] = json.loads(text)
    return catalogue


def test_missing_model_names_file_folder_source_size_and_licence() -> None:
    manifest = find_workflow("flux1-schnell").manifest
    (fault,) = check_against_server(
        schnell(), without("flux1-schnell.safetensors"), manifest=manifest
    )
    assert fault.sentence == (
        "node 1 (UNETLoader 'Load model'), unet_name: "
        "the server has no file 'flux1-schnell.safetensors' in models/diffusion_models."
    )
    assert fault.remedy == (
        "Download it from https://huggingface.co/Comfy-Org/flux1-schnell/resolve/main/"
        "flux1-schnell.safetensors (22.15 GiB, Apache-2.0) into models/diffusion_models/."
    )


def test_all_missing_models_are_reported_at_once() -> None:
    manifest = find_workflow("flux1-schnell").manifest
    gone = without(*(model.file for model in manifest.models))
    assert [fault.input for fault in check_against_server(schnell(), gone, manifest=manifest)] == [
        "unet_name",
        "clip_name1",
        "clip_name2",
        "vae_name",
    ]


def test_missing_file_outside_the_manifest_names_its_folder() -> None:
    (fault,) = check_against_server(schnell(unet="flux1-dev-own.safetensors"), CATALOGUE)
    assert fault.what == (
        "the server has no file 'flux1-dev-own.safetensors' in models/diffusion_models. "
        "Did you mean 'flux1-dev.safetensors'?"
    )
    assert fault.remedy == "Put it into models/diffusion_models/."


def test_model_file_in_a_subfolder_counts_as_present() -> None:
    text = json.dumps(CATALOGUE).replace('"ae.safetensors"', '"flux\\\\ae.safetensors"')
    assert check_against_server(schnell(), json.loads(text)) == []


def test_model_file_in_several_folders_must_be_chosen() -> None:
    text = json.dumps(CATALOGUE).replace(
        '"ae.safetensors"', '"a/ae.safetensors", "b/ae.safetensors"'
    )
    (fault,) = check_against_server(schnell(), json.loads(text))
    assert fault.what == "the server has 'ae.safetensors' in several folders."
    assert fault.remedy == "Use one of: a/ae.safetensors, b/ae.safetensors."


@pytest.mark.parametrize("version", ["0.9.1", "v0.9.1-3-gabc", "0.3.75", "0.9"])
def test_too_old_server_is_a_fault(version: str) -> None:
    klein = find_workflow("flux2-klein")
    (fault,) = check_against_server(
        klein.bind_defaults(), CATALOGUE, manifest=klein.manifest, version=version
    )
    assert fault.what == (f"The server runs ComfyUI {version}; this workflow needs 0.9.2 or later.")


@pytest.mark.parametrize("version", ["0.9.2", "0.10.0", "v1.0", "nightly", "", None])
def test_new_or_unknown_server_version_is_not_a_fault(version: str | None) -> None:
    klein = find_workflow("flux2-klein")
    assert (
        check_against_server(
            klein.bind_defaults(), CATALOGUE, manifest=klein.manifest, version=version
        )
        == []
    )


def test_nodes_missing_on_an_old_server_suggest_an_update() -> None:
    old = {k: v for k, v in CATALOGUE.items() if "Flux2" not in k}
    klein = find_workflow("flux2-klein")
    faults = check_against_server(
        klein.bind_defaults(), old, manifest=klein.manifest, version="0.3.64"
    )
    assert [(fault.node, fault.remedy) for fault in faults] == [
        ("", "Update ComfyUI."),
        ("6", "Update ComfyUI to 0.9.2 or later."),
        ("7", "Update ComfyUI to 0.9.2 or later."),
    ]


def test_server_texts_cannot_control_the_terminal() -> None:
    manifest = Manifest(comfyui="9.0")
    faults = check_against_server(schnell(), CATALOGUE, manifest=manifest, version="0.1\x1b[2J")
    assert faults[0].what == "The server runs ComfyUI 0.1[2J; this workflow needs 9.0 or later."
