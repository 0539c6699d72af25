"""imagen workflows list, show and check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.catalog_server import configured, serving, studio

from imagen.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.catalog_server import Server

CATALOGUE = Path(__file__).parent.parent / "graphs" / "node_catalog.json"
BROKEN = {
    "1": {"class_type": "Thing", "inputs": {"a": ["7", 0], "b": "$<stesp>"}},
    "9": {"class_type": "SaveImage", "inputs": {}},
}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with the node catalog of the tests."""
    with serving(json.loads(CATALOGUE.read_text("utf-8"))) as one:
        yield one


def put(name: str, graph: dict[str, Any]) -> Path:
    """A workflow in the folder `mine`."""
    folder = Path("mine")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(graph), "utf-8")
    return folder / f"{name}.json"


def test_list_prints_a_line_per_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflows", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("flux1-schnell "))
    assert [cell.strip() for cell in line.split("  ") if cell] == [
        "flux1-schnell",
        "text-to-image",
        "FLUX.1 [schnell]",
        "bundled",
    ]


def test_list_shows_hidden_and_unreadable_workflows(capsys: pytest.CaptureFixture[str]) -> None:
    path = put("sdxl", BROKEN).resolve()
    put("torn", {}).write_text("{", "utf-8")
    configured(workflow_dirs=[str(path.parent)])
    assert run(["workflows", "list"]) == 0
    message = capsys.readouterr().out
    assert f"bundled (hidden by {path})" in message
    assert "torn" in message
    assert "unreadable" in message


def test_list_json_has_all_workflows(capsys: pytest.CaptureFixture[str]) -> None:
    put("torn", {}).write_text("{", "utf-8")
    configured(workflow_dirs=[str(Path("mine").resolve())])
    assert run(["workflows", "list", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["sd15"] == {
        "name": "sd15",
        "source": "bundled",
        "hidden_by": "",
        "error": "",
        "title": "Stable Diffusion 1.5",
        "task": "text-to-image",
        "licence": "CreativeML Open RAIL-M",
    }
    assert "is not valid JSON" in listed["torn"]["error"]


def test_show_prints_parameters_models_and_unsupported_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["workflows", "show", "flux1-schnell"]) == 0
    message = capsys.readouterr().out
    assert message.startswith("flux1-schnell: FLUX.1 [schnell]\n")
    assert "\nLicence  Apache-2.0\nComfyUI  0.3.0 or later\n" in message
    assert "16 to 16384, in steps of 16\n" in message
    assert "  diffusion_models/flux1-schnell.safetensors         22.15 GiB  Apache-2.0\n" in message
    assert (
        "https://huggingface.co/Comfy-Org/flux1-schnell/resolve/main/flux1-schnell.saf" in message
    )
    assert "\nNot supported\n  negative  FLUX.1 [schnell] is distilled" in message


def test_show_prints_the_tokens_of_a_graph_without_manifest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = put("bare", {"9": {"class_type": "SaveImage", "inputs": {"s": "$<batch_size>"}}})
    assert run(["workflows", "show", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"bare\n\nSource  {path}\nTask    text-to-image\n\n"
        "Parameters\n  count  int  = 1  at least 1\n"
    )


def test_show_prints_family_tasks_controlnets_and_custom_nodes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = put("bare", {"9": {"class_type": "AcmeSave", "inputs": {}}})
    path.with_suffix(".yaml").write_text(
        "family: sdxl\n"
        "tasks: {inpaint: bare-inpaint}\n"
        "controls: {canny: {file: c.safetensors, source: 'https://example.org/c'}}\n"
        "nodes: [{name: Acme, source: 'https://example.org/a', classes: [AcmeSave, AcmeLoad]}]\n",
        "utf-8",
    )
    assert run(["workflows", "show", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"bare\n\nSource  {path}\nTask    text-to-image\nFamily  sdxl\n\n"
        "Other tasks\n  inpaint  bare-inpaint\n\n"
        "ControlNets, in ComfyUI's models/\n"
        "  canny  controlnet/c.safetensors\n      https://example.org/c\n\n"
        "Custom nodes\n  Acme  AcmeSave, AcmeLoad\n      https://example.org/a\n"
    )


def test_show_json_has_the_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflows", "show", "sd15", "--json"]) == 0
    message = json.loads(capsys.readouterr().out)
    assert message["name"] == "sd15"
    steps = message["parameters"]["steps"]
    assert (steps["type"], steps["default"], steps["min"], steps["max"]) == ("int", 20, 1, 10000)
    assert steps["description"] == "Sampling steps; 20 to 50 suit the model."
    assert message["models"][0]["file"] == "v1-5-pruned-emaonly-fp16.safetensors"


def test_control_characters_of_workflow_files_are_removed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = put("bare", {"9": {"class_type": "SaveImage", "inputs": {}}})
    path.with_suffix(".yaml").write_text('title: "a\\e[2Jb"', "utf-8")
    assert run(["workflows", "show", str(path)]) == 0
    assert capsys.readouterr().out.startswith("bare: a[2Jb\n")


def test_an_unknown_workflow_suggests_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["workflows", "show", "sdxll"]) == 2
    assert "Workflow 'sdxll' not found. Did you mean 'sdxl'?" in capsys.readouterr().err


def test_check_accepts_a_valid_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflows", "check", "flux2-klein"]) == 0
    assert capsys.readouterr().out == "flux2-klein: ok\n"


def test_check_reports_every_problem_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    path = put("bad", BROKEN)
    path.with_suffix(".yaml").write_text("parameters: {steps: {type: int}}", "utf-8")
    assert run(["workflows", "check", str(path)]) == 2
    assert capsys.readouterr().out == (
        "node 1 (Thing), a: links to node '7', which is not in the graph.\n"
        "node 1 (Thing), b: the token 'stesp' is not in the manifest. Did you mean 'steps'?\n"
        "  Add it to the manifest's parameters: stesp.\n"
        "The manifest's parameter 'steps' has no token in the graph. Did you mean 'stesp'?\n"
        '  Write "$<steps>" in the graph where its value belongs, or remove the parameter.\n'
        "bad: 3 problems\n"
    )


def test_check_finds_problems_that_generate_would_miss(capsys: pytest.CaptureFixture[str]) -> None:
    inputs = {"text": "$<prompt>", "steps": "$<steps>", "ckpt": "$<ckpt>", "seed": "$<seed>"}
    path = put("bare", {"9": {"class_type": "SaveImage", "inputs": inputs}})
    path.with_suffix(".yaml").write_text(
        "parameters: {prompt: {type: string}, steps: {default: 4}, ckpt: {}, seed: {}}", "utf-8"
    )
    Path("imagen.yaml").write_text(f"backends: {{s: {{type: comfyui, workflow: '{path}'}}}}")
    assert run(["generate", "a fox", "-b", "s", "--dry-run"]) == 2
    assert "The token 'ckpt' has no value" in capsys.readouterr().err
    assert run(["workflows", "check", str(path)]) == 2
    assert capsys.readouterr().out == (
        "node 9 (SaveImage), ckpt: the token 'ckpt' has no value.\n"
        "  Give it a default in the manifest or in the backend's parameters, or set it for each "
        "image: --set ckpt=…\n"
        "bare: 1 problem\n"
    )


def test_check_json_lists_the_problems(capsys: pytest.CaptureFixture[str]) -> None:
    path = put("bad", {"9": BROKEN["9"], "1": {"class_type": "T", "inputs": {"a": ["7", 0]}}})
    assert run(["workflows", "check", str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "workflow": "bad",
        "source": str(path),
        "ok": False,
        "faults": [
            {
                "node": "1",
                "title": "T",
                "input": "a",
                "what": "links to node '7', which is not in the graph.",
                "remedy": "",
            }
        ],
    }


def test_check_on_a_complete_server_is_ok(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    studio(server, workflow="flux2-klein")
    assert run(["workflows", "check", "flux2-klein", "--backend", "studio"]) == 0
    assert capsys.readouterr().out == "flux2-klein on studio: ok\n"


def test_check_sends_the_token_of_the_backend(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_TOKEN", "t0p-s3cret")
    studio(server, workflow="flux2-klein", bearer_env="STUDIO_TOKEN")
    assert run(["workflows", "check", "flux2-klein", "--backend", "studio"]) == 0
    assert capsys.readouterr().out == "flux2-klein on studio: ok\n"


def test_check_reports_an_old_server_and_missing_models(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.version = "0.3.64"
    server.object_info = {
        **server.object_info,
        "VAELoader": {
            "input": {"required": {"vae_name": ["COMBO", {"options": []}]}},
            "output": ["VAE"],
        },
    }
    studio(server, workflow="flux2-klein")
    assert run(["workflows", "check", "flux2-klein", "--backend", "studio"]) == 2
    assert capsys.readouterr().out == (
        "The server runs ComfyUI 0.3.64; this workflow needs 0.9.2 or later.\n"
        "  Update ComfyUI.\n"
        "node 3 (VAELoader 'Load VAE'), vae_name: "
        "the server has no file 'flux2-vae.safetensors' in models/vae.\n"
        "  Download it from https://huggingface.co/Comfy-Org/flux2-dev/resolve/main/split_files/vae/"
        "flux2-vae.safetensors (321 MiB, Apache-2.0) into models/vae/.\n"
        "flux2-klein on studio: 2 problems\n"
    )


def test_check_uses_the_defaults_of_the_backend(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    studio(server, workflow="sd15", parameters={"checkpoint": "own.safetensors"})
    assert run(["workflows", "check", "sd15", "--backend", "studio"]) == 2
    assert "no file 'own.safetensors' in models/checkpoints" in capsys.readouterr().out


def test_check_refuses_a_backend_without_a_node_catalog(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflows", "check", "sd15", "--backend", "mock"]) == 2
    assert "the backend 'mock' is not one" in capsys.readouterr().err
