"""imagen models: the models that each backend offers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from imagen.cli import run
from imagen.testing.comfyui import ComfyUI

_GONE = "gone: {type: mock, fail: unavailable}"


def _listed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run(["models", *arguments, "--json"]) == code
    listed = json.loads(capsys.readouterr().out)["backends"]
    return {entry["name"]: entry for entry in listed}


def test_models_lists_the_mock_without_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mock:"
    assert lines[1].split() == ["checkpoint", "mock", "mock", "default"]
    assert lines[2].split() == ["checkpoint", "mock-dusk", "mock"]


def test_models_have_kind_name_family_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    models = _listed(capsys)["mock"]["models"]
    assert models[0] == {
        "kind": "checkpoint",
        "name": "mock",
        "family": "mock",
        "size_bytes": None,
        "vram_bytes": None,
        "is_default": True,
        "usd": None,
    }


def test_models_lists_the_gpus_of_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    with ComfyUI(vram=(24 << 30, 20 << 30)) as server:
        block = {"type": "comfyui", "url": server.url, "workflow": "sdxl"}
        Path("imagen.yaml").write_text(json.dumps({"backends": {"studio": block}}))
        assert _listed(capsys)["studio"]["gpus"] == [
            {
                "name": "Imaginary GPU",
                "vram_total_bytes": 24 << 30,
                "vram_free_bytes": 20 << 30,
            }
        ]
        assert run(["models"]) == 0
        assert run(["backends", "--check"]) == 0
        assert run(["doctor"]) in (0, 1, 2)
    card = "GPU: Imaginary GPU, 20.0 of 24.0 GiB VRAM free"
    output = " ".join(capsys.readouterr().out.split())
    assert output.count(card) == 2
    assert card.replace("GPU:", "GPU") in output


def test_models_filters_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    models = _listed(capsys, "--kind", "lora")["mock"]["models"]
    assert {model["kind"] for model in models} == {"lora"}


def test_models_says_that_there_are_none_of_a_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--kind", "vae"]) == 0
    assert capsys.readouterr().out == "mock: no such models\n"


def test_models_groups_backends_with_the_same_models(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {a: {type: mock}, b: {type: mock}}")
    assert run(["models", "--kind", "checkpoint"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["a,", "b:"],
        ["checkpoint", "mock", "mock", "default", "of", "a,", "b"],
        ["checkpoint", "mock-dusk", "mock"],
    ]


def test_models_prints_samplers_as_a_paragraph(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {d: {type: diffusers, model: a/b, family: sdxl}}")
    assert run(["models", "--kind", "scheduler"]) == 0
    assert capsys.readouterr().out == "d:\n  schedulers: exponential, karras, normal\n"


def test_an_unreachable_backend_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text(f"backends: {{{_GONE}, mock: {{type: mock}}}}")
    assert run(["models"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("mock:\n")
    assert printed.err.startswith("gone: The mock fails as configured (`fail: unavailable`).")


def test_models_exits_with_4_if_no_backend_answers(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text(f"backends: {{{_GONE}}}")
    gone = _listed(capsys, code=4)["gone"]
    assert (gone["models"], gone["error"]["code"]) == ([], "unavailable")


def test_models_refuses_an_unknown_backend(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--backend", "moc"]) == 2
    assert "Did you mean 'mock'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, ""), (6_938_040_682, "6.9 GB"), (334_641_164, "335 MB"), (10, "1 MB")],
    ids=["unknown", "large", "small", "tiny"],
)
def test_sizes_are_printed_in_decimal_units(count: int | None, shown: str) -> None:
    from imagen.cli.commands.models import format_size

    assert format_size(count) == shown


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_shows_a_table_for_each_kind() -> None:
    from support.terminal_runs import run_on_terminal

    lines = run_on_terminal(60, "models").splitlines()
    headings = [line.split()[0] for line in lines if line.isupper()]
    assert headings == ["CHECKPOINT", "LORA", "CONTROLNET", "UPSCALER"]
    assert lines[1].split() == ["CHECKPOINT", "FAMILY", "DEFAULT"]
    assert lines[2].split() == ["mock", "mock", "default"]


def test_models_of_a_pool_are_those_of_its_backends(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text(
        "backends: {a: {type: mock}, b: {type: mock}, c: {type: mock}}\npools: {both: [a, b]}\n"
    )
    assert [*_listed(capsys, "--backend", "both")] == ["a", "b"]
