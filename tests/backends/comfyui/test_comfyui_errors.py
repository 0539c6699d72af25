"""The server's errors become sentences that say what is wrong, where, and what to do."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from support.comfyui_backends import open_comfyui

from imagen.backends.comfyui import errors
from imagen.backends.comfyui.websocket import NodeFailed
from imagen.errors import Unavailable
from imagen.graphs import Manifest, ManifestModel
from imagen.testing.http_server import HeldPort

GRAPH = {
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-schnell.safetensors"}},
    "8": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "second pass"}},
}
SCHNELL = ManifestModel(
    file="flux1-schnell.safetensors",
    folder="diffusion_models",
    source="https://models.example/schnell",
    size="22.2 GiB",
    licence="Apache-2.0",
)


def _refusal(node: str, kind: str, **error: Any) -> dict[str, Any]:
    info = error.pop("extra_info", {})
    fault = {"type": kind, "message": "", "details": "", "extra_info": info, **error}
    return {
        "error": {"type": "prompt_outputs_failed_validation", "message": "failed", "details": ""},
        "node_errors": {node: {"errors": [fault], "dependent_outputs": ["9"]}},
    }


def _not_in_list(node: str, name: str, value: Any, declared: Any) -> dict[str, Any]:
    info = {"input_name": name, "received_value": value, "input_config": declared}
    return _refusal(node, "value_not_in_list", message="Value not in list", extra_info=info)


@pytest.mark.parametrize("errors_of", [True, 1, 1e300, "no", {"a": 1}, None, [None, 7, []]])
@pytest.mark.parametrize("error", [[False], None, "no reason", {"message": ["no"]}])
def test_a_refusal_of_any_shape_becomes_a_sentence(errors_of: Any, error: Any) -> None:
    said = {"error": error, "node_errors": {"8": {"errors": errors_of, "class_type": "K"}}}
    assert not errors.names_a_missing_file(said)
    assert not errors.hides_choices(said)
    assert errors.rejected_error(said, GRAPH, Manifest()).message.startswith(
        "ComfyUI refused the workflow:"
    )


def test_only_the_first_of_many_faults_are_listed() -> None:
    fault = {"type": "odd", "message": "no", "details": "", "extra_info": {}}
    said = {"node_errors": {str(n): {"errors": [fault]} for n in range(100_000)}}
    message = errors.rejected_error(said, GRAPH, Manifest()).message
    assert len(message.splitlines()) == 21
    assert len(errors.skipped_warnings(said["node_errors"], GRAPH, Manifest())) == 20


def test_a_missing_model_says_where_to_download_it_and_where_to_put_it() -> None:
    said = _not_in_list("1", "unet_name", "flux1-schnell.safetensors", [[], {}])
    error = errors.rejected_error(said, GRAPH, Manifest(models=(SCHNELL,)))
    assert error.message == (
        "ComfyUI refused the workflow: node 1 (UNETLoader), unet_name: "
        "the server has no file 'flux1-schnell.safetensors' in models/diffusion_models."
    )
    assert error.remedy == (
        "Download it from https://models.example/schnell (22.2 GiB, Apache-2.0) "
        "into models/diffusion_models/."
    )


def test_a_missing_model_of_a_long_list_is_named_too() -> None:
    said = _not_in_list("1", "unet_name", "flux1-schnell.safetensors", None)
    error = errors.rejected_error(said, GRAPH, Manifest(models=(SCHNELL,)))
    assert "the server has no file 'flux1-schnell.safetensors'" in error.message


def test_an_invalid_choice_suggests_the_nearest() -> None:
    declared = [["euler", "heun", "ddim"], {}]
    error = errors.rejected_error(
        _not_in_list("8", "sampler_name", "eulr", declared), GRAPH, Manifest()
    )
    assert error.message == (
        "ComfyUI refused the workflow: node 8 (KSampler 'second pass'), sampler_name: "
        "cannot be 'eulr'. Did you mean 'euler'?"
    )
    assert error.remedy == "Known: euler, heun, ddim."


def test_choices_missing_in_a_refusal_come_from_the_node_catalog() -> None:
    catalogue = {
        "KSampler": {"input": {"required": {"sampler_name": ["COMBO", {"options": ["euler"]}]}}}
    }
    said = _not_in_list("8", "sampler_name", "eulr", None)
    assert "'euler'" in errors.rejected_error(said, GRAPH, Manifest(), catalogue).message


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        pytest.param(
            _refusal(
                "8",
                "value_smaller_than_min",
                message="Value 0 smaller than min of 1",
                details="steps",
                extra_info={
                    "input_name": "steps",
                    "received_value": 0,
                    "input_config": ["INT", {"min": 1, "max": 10000}],
                },
            ),
            "node 8 (KSampler 'second pass'), steps: must be at least 1, not 0.",
            id="too small",
        ),
        pytest.param(
            _refusal(
                "8", "required_input_missing", details="model", extra_info={"input_name": "model"}
            ),
            "node 8 (KSampler 'second pass'), model: is required and missing.",
            id="missing input",
        ),
        pytest.param(
            _refusal(
                "8",
                "custom_validation_failed",
                message="Custom validation failed for node",
                details="image - Invalid image file: nope.png",
                extra_info={"input_name": "image"},
            ),
            "node 8 (KSampler 'second pass'), image: Custom validation failed for node: "
            "image - Invalid image file: nope.png.",
            id="the node's own rule",
        ),
        pytest.param(
            _refusal("77", "something_new", message="No\x1b[31m idea"),
            "node 77: No[31m idea.",
            id="an unknown kind, of an unknown node",
        ),
        pytest.param({}, "it gave no reason.", id="no reason"),
        pytest.param({"error": "no prompt"}, "no prompt.", id="one string"),
        pytest.param(
            {"error": {"message": "Prompt has no outputs", "details": ""}, "node_errors": []},
            "Prompt has no outputs.",
            id="no outputs",
        ),
        pytest.param(
            {"node_errors": {"1": {"errors": 7}, "2": None}}, "it gave no reason.", id="x"
        ),
    ],
)
def test_each_refusal_becomes_a_sentence(said: Any, sentence: str) -> None:
    error = errors.rejected_error(said, GRAPH, Manifest())
    assert error.message == f"ComfyUI refused the workflow: {sentence}"


def test_an_unknown_node_class_says_to_install_it() -> None:
    said = {
        "error": {
            "type": "invalid_prompt",
            "message": "Cannot execute because node Nope does not exist.",
            "details": "Node ID '#9'",
        }
    }
    error = errors.rejected_error(said, GRAPH, Manifest())
    assert error.message.endswith("node Nope does not exist (Node ID '#9').")
    assert error.remedy.startswith("Install the custom nodes")


@pytest.mark.parametrize(
    "message",
    [
        "Cannot execute because node AcmePose does not exist.",
        "Node 'AcmePose' not found. The custom node may not be installed; it does not exist.",
    ],
    ids=["as 0.3.64 says it", "quoted"],
)
def test_an_unknown_node_class_of_a_known_pack_says_where_to_get_it(message: str) -> None:
    pack = {"name": "Acme", "source": "https://example.org/acme", "classes": ["AcmePose"]}
    manifest = Manifest.model_validate({"nodes": [pack]})
    error = errors.rejected_error({"error": {"message": message}}, GRAPH, manifest)
    assert error.remedy == (
        "Install the custom nodes Acme from https://example.org/acme, and restart ComfyUI."
    )


def test_an_unknown_node_class_of_comfyui_says_to_install_its_requirements() -> None:
    message = "Cannot execute because node Canny does not exist."
    error = errors.rejected_error({"error": {"message": message}}, GRAPH, Manifest())
    assert error.remedy.startswith("Canny belongs to ComfyUI and needs the package kornia. ")


def test_several_faults_are_listed_at_once() -> None:
    said = _not_in_list("1", "unet_name", "a.safetensors", [[], {}])
    other = _not_in_list("8", "scheduler", "nope", [["normal"], {}])
    said["node_errors"] |= other["node_errors"]
    lines = errors.rejected_error(said, GRAPH, Manifest()).message.splitlines()
    assert lines[0] == "ComfyUI refused the workflow:"
    assert [line.split(",")[0] for line in lines[1:]] == [
        "  node 1 (UNETLoader)",
        "  node 8 (KSampler 'second pass')",
    ]


def test_a_failed_node_is_named_with_its_exception_and_its_line() -> None:
    broken = NodeFailed(
        node="8",
        node_class="KSampler",
        kind="ValueError",
        message="shapes differ\n",
        traceback=('  File "execution.py", line 1\n', '  File "nodes.py", line 9, in sample\n'),
    )
    error = errors.failed_error(broken, GRAPH)
    assert error.message == (
        "Node 8 (KSampler 'second pass') failed: ValueError: shapes differ.\n"
        '  File "nodes.py", line 9, in sample'
    )
    assert error.remedy == ""


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param("torch.OutOfMemoryError", "Allocation failed", id="by its kind"),
        pytest.param("RuntimeError", "CUDA error: out of memory", id="by its words"),
    ],
)
def test_too_little_memory_has_a_remedy(kind: str, message: str) -> None:
    error = errors.failed_error(NodeFailed("8", "KSampler", kind, message), GRAPH)
    assert error.remedy.startswith("Use a smaller size")


def test_a_node_that_is_not_in_the_graph_is_named_by_its_class() -> None:
    error = errors.failed_error(NodeFailed("5.0.2", "Inner", "ValueError", "no"), GRAPH)
    assert error.message.startswith("Node 5.0.2 (Inner) failed: ValueError: no.")


def test_a_refused_connection_says_how_to_start_or_reach_the_server() -> None:
    with (
        closing(
            open_comfyui(HeldPort().url, name="studio", hint="Wake it: ssh studio wake.")
        ) as backend,
        pytest.raises(Unavailable) as caught,
    ):
        backend.client().stats()
    assert caught.value.remedy.splitlines() == [
        "Start ComfyUI there (in its folder: python main.py --listen), "
        "or set backends.studio.url to where it runs.",
        "Wake it: ssh studio wake.",
    ]


def test_a_job_without_an_image_is_a_failure_with_reasons() -> None:
    error = errors.empty_error(("Node 9 kept a part from running: not today.",))
    assert error.message == (
        "ComfyUI ended the job without an image.\n  Node 9 kept a part from running: not today."
    )
