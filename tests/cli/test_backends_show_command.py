"""imagen backends show: what one backend can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagen.cli import run
from imagen.cli.commands.backends import describe_tasks
from imagen.core.request import TASKS


def _shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["backends", "show", *arguments, "--json"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_backends_show_lists_the_parameters_of_each_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = _shown(capsys, "mock")
    assert [task["task"] for task in shown["tasks"]] == list(TASKS)
    inpaint = shown["tasks"][2]["parameters"]
    assert inpaint["mask"]["type"] == "image"
    assert shown["tasks"][0]["parameters"]["steps"] == {
        "type": "int",
        "kind": "int",
        "label": "Steps",
        "group": "sampling",
        "is_advanced": False,
        "default": 8,
        "min": 1,
        "max": 200,
        "multiple_of": None,
        "choices": None,
        "models": [],
        "unit": "",
        "description": "Ridges, up to 12.",
        "fields": {},
    }
    assert shown["tasks"][0]["without"]["cfg"] == "the mock paints without a model"
    assert shown["prompt_syntax"] == []
    assert (shown["kind"], shown["controls"][0], shown["preprocessors"][0]) == (
        "mock",
        "canny",
        "canny",
    )


def test_backends_show_is_limited_to_one_task(capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = _shown(capsys, "mock", "--task", "upscale")["tasks"]
    assert (task["task"], "upscale" in task["parameters"]) == ("upscale", True)


def test_backends_show_prints_only_differences_from_the_first_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text("backends: {m: {type: mock, title: My own}}")
    assert run(["backends", "show", "m"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("m: My own\n\nType ")
    assert "\ntext-to-image\n  prompt " in page
    assert "      Ridges, up to 12.\n" in page
    assert "\ninpaint, as for text-to-image, and\n" in page
    assert "\nupscale\n" in page
    assert "\nNot supported\n  cfg " in page
    assert " 0 to 2^64-1\n" in page


def test_a_backend_that_can_inpaint_can_outpaint() -> None:
    known = ("inpaint", "edit")
    assert list(describe_tasks(known)) == ["inpaint", "outpaint (by inpainting)", "edit"]
    assert list(describe_tasks(("inpaint", "outpaint"))) == ["inpaint", "outpaint"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["moc"], "Unknown backend 'moc'. Did you mean 'mock'?"),
        (["sd", "--task", "edit"], "sd cannot do edit."),
        (["mock", "--task", "paint"], "'paint' is not one of"),
        ([], "Missing argument 'NAME'"),
    ],
    ids=["an unknown backend", "a task it lacks", "no task", "no name"],
)
def test_backends_show_refuses_unknown_names_and_tasks(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text("backends: {sd: {type: comfyui, workflow: sd15}}")
    assert run(["backends", "show", *arguments]) == 2
    assert message in capsys.readouterr().err
