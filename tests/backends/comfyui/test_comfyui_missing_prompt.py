"""Requests without a prompt: None is "not asked", "" is an empty prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.comfyui_backends import MANIFEST, SAMPLED

from imagen.backends.mock import Mock, MockConfig
from imagen.cli import run
from imagen.config import Settings, Style
from imagen.core.request import Request
from imagen.core.ticket import Ticket
from imagen.jobs.model import Job
from imagen.pipeline.pools import open_named
from imagen.pipeline.prepare import prepare

NOWHERE = "http://127.0.0.1:9"
FIXED = SAMPLED | {
    "5": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red barn", "clip": ["1", 1]}}
}
"""A scene whose words are in the graph."""
OWN_WORDS = MANIFEST | {
    "parameters": MANIFEST["parameters"]
    | {"prompt": {"type": "string", "default": "a red barn", "description": "What to show."}}
}


def _settings(graph: Any = SAMPLED, manifest: Any = MANIFEST, **styles: str) -> Settings:
    Path("scene.json").write_text(json.dumps(graph), "utf-8")
    Path("scene.yaml").write_text(json.dumps(manifest), "utf-8")
    block = {"type": "comfyui", "url": NOWHERE, "workflow": str(Path("scene.json").absolute())}
    return Settings(
        backends={"scene": block},
        styles={name: Style(prompt=text) for name, text in styles.items()},
    )


def _ticket(request: Request, settings: Settings) -> Ticket:
    engine = open_named("scene", settings)
    (ticket,) = prepare(engine, request, settings)
    return ticket


def _fate(ticket: Ticket, name: str = "prompt") -> tuple[str, Any] | None:
    fate = ticket.receipt.get(name)
    return None if fate is None else (fate.outcome, fate.asked)


def test_a_workflow_without_a_prompt_runs_without_one() -> None:
    ticket = _ticket(Request(), _settings(FIXED))
    assert ticket.payload["5"]["inputs"]["text"] == "a red barn"
    assert ticket.request.prompt is None
    assert _fate(ticket) is None


@pytest.mark.parametrize("asked", ["a fox", ""])
def test_a_workflow_without_a_prompt_reports_that_it_dropped_one(asked: str) -> None:
    assert _fate(_ticket(Request(prompt=asked), _settings(FIXED))) == ("dropped", asked)


@pytest.mark.parametrize(
    ("asked", "sent"), [(None, "a red barn"), ("", ""), ("a fox", "a fox")], ids=repr
)
def test_a_default_prompt_replaces_a_missing_prompt_but_not_an_empty_one(
    asked: str | None, sent: str
) -> None:
    ticket = _ticket(Request(prompt=asked), _settings(SAMPLED, OWN_WORDS))
    assert ticket.payload["5"]["inputs"]["text"] == sent
    assert ticket.request.prompt == sent
    assert _fate(ticket) == ("applied", sent)


@pytest.mark.parametrize("prompt", [[], [""], [" \n"], ["--prompt", ""]], ids=repr)
def test_a_missing_prompt_is_refused_by_the_command(
    prompt: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "--quiet", *prompt]) == 2
    assert (
        "This backend needs a prompt that says what the image should show."
        in capsys.readouterr().err
    )
    assert not Path("outputs").exists() or not list(Path("outputs").iterdir())


def test_an_empty_prompt_is_set_like_any_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "--set", "prompt=", "--quiet", "--json", "--size", "32x32"]) == 0
    printed = json.loads(capsys.readouterr().out)["generations"][0]
    assert printed["request"]["prompt"] == ""
    assert printed["receipt"]["prompt"]["outcome"] == "applied"


@pytest.mark.parametrize("prompt", [[], [""]], ids=repr)
def test_the_command_runs_a_workflow_without_a_prompt(
    prompt: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = _settings(FIXED)
    Path("imagen.yaml").write_text(json.dumps({"backends": settings.backends}), "utf-8")
    assert run(["generate", *prompt, "--backend", "scene", "--dry-run", "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plan"]
    assert plan["payload"]["5"]["inputs"]["text"] == "a red barn"
    assert "prompt" not in plan["request"]


@pytest.mark.parametrize("prompt", [[], [""]], ids=repr)
def test_image_to_image_works_without_a_prompt(
    prompt: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "a fox", "--quiet", "--size", "32x32", "-o", "fox.png"]) == 0
    capsys.readouterr()
    assert run(["generate", *prompt, "--image", "fox.png", "--quiet", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["generations"][0]
    assert printed["request"]["prompt"] == ""
    assert "prompt" not in printed["receipt"]


@pytest.mark.parametrize("asked", [Request(), Request(prompt="")], ids=["none", "empty"])
def test_a_missing_and_an_empty_prompt_differ_in_every_record(asked: Request) -> None:
    assert Request.model_validate_json(asked.model_dump_json()) == asked
    assert Request.of(asked.model_dump(mode="json", exclude_defaults=True)) == asked
    ticket = Ticket(id="x", backend="mock", request=asked, receipt={})
    job = Job(ticket=ticket, request=asked, output={})
    assert Job.model_validate_json(job.model_dump_json()).request == asked


def test_the_sidecars_of_a_missing_and_an_empty_prompt_differ() -> None:
    assert (
        run(["generate", "--set", "prompt=", "--quiet", "--size", "32x32", "-o", "empty.png"]) == 0
    )
    assert json.loads(Path("empty.png.json").read_text("utf-8"))["request"]["prompt"] == ""
    assert run(["upscale", "empty.png", "--quiet", "-o", "large.png"]) == 0
    assert "prompt" not in json.loads(Path("large.png.json").read_text("utf-8"))["request"]


@pytest.mark.parametrize(
    ("words", "prompt"), [({"prompt": ""}, ""), ({}, None)], ids=["as it was", "absent"]
)
def test_a_ticket_of_an_older_version_is_read(words: dict[str, str], prompt: str | None) -> None:
    ticket = {"id": "x", "backend": "mock", "request": words, "receipt": {}}
    job = Job.model_validate({"ticket": ticket, "asked": words, "output": {}})
    assert (job.request.prompt, job.ticket.request.prompt) == (prompt, prompt)


@pytest.mark.parametrize("words", [{"prompt": ""}, {}], ids=["as it was", "absent"])
def test_a_record_of_an_older_version_is_reproduced(words: dict[str, str]) -> None:
    assert run(["generate", "--set", "prompt=", "--quiet", "--size", "32x32", "-o", "a.png"]) == 0
    assert run(["upscale", "a.png", "--method", "mock-x2", "-b", "mock", "-q", "-o", "b.png"]) == 0
    sidecar = json.loads(Path("b.png.json").read_text("utf-8"))
    for part in ("request", "resolved"):
        sidecar[part].pop("prompt", None)
        sidecar[part] |= words
    Path("b.png.json").write_text(json.dumps(sidecar), "utf-8")
    assert run(["generate", "--from-json", "b.png.json", "--quiet", "-o", "c.png"]) == 0
    assert Path("c.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("graph", "manifest", "sent", "fate"),
    [
        pytest.param(SAMPLED, OWN_WORDS, "a red barn, in ink", None, id="its own prompt"),
        pytest.param(FIXED, MANIFEST, "a red barn", ("dropped", "{prompt}, in ink"), id="none"),
    ],
)
def test_a_style_wraps_the_default_prompt_of_the_backend(
    graph: Any, manifest: Any, sent: str, fate: tuple[str, str] | None
) -> None:
    settings = _settings(graph, manifest, ink="{prompt}, in ink")
    ticket = _ticket(Request(style="ink"), settings)
    assert ticket.payload["5"]["inputs"]["text"] == sent
    assert _fate(ticket, "style") == fate


def test_a_style_alone_is_not_a_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("styles: {ink: {prompt: '{prompt}, in ink'}}", "utf-8")
    assert run(["generate", "--style", "ink", "--quiet"]) == 2
    assert "This backend needs a prompt" in capsys.readouterr().err


def test_the_mock_needs_a_prompt_for_text_to_image() -> None:
    assert Mock(MockConfig(name="mock")).capabilities().parameters["prompt"].default is None
