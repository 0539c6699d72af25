"""The receipt reports prompt syntax that the engine does not support."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli import run
from imagen.config import Settings
from imagen.core.request import Lora, Request
from imagen.errors import RequestError
from imagen.pipeline.pools import open_named
from imagen.pipeline.prepare import prepare

if TYPE_CHECKING:
    from imagen.core.ticket import Ticket

UNREAD = "syntax not read by this engine: "


def _ticket(request: Request, *, strict: bool = False) -> Ticket:
    settings = Settings()
    (ticket,) = prepare(open_named("mock", settings), request, settings, strict=strict)
    return ticket


def _said(ticket: Ticket, name: str = "prompt") -> tuple[Any, ...]:
    fate = ticket.receipt[name]
    return fate.outcome, fate.asked, fate.used, fate.why


def test_unsupported_prompt_syntax_is_sent_unchanged_and_reported() -> None:
    asked = "a (fog:1.5) {red|blue} barn"
    ticket = _ticket(Request(prompt=asked, negative="(rain:1.2)"))
    assert ticket.request.prompt == asked
    assert _said(ticket) == ("applied", asked, None, f"{UNREAD}(fog:1.5), {{red|blue}}")
    assert _said(ticket, "negative") == ("applied", "(rain:1.2)", None, f"{UNREAD}(rain:1.2)")


def test_a_plain_prompt_has_no_remark() -> None:
    assert _said(_ticket(Request(prompt="a barn (red)"))) == ("applied", "a barn (red)", None, "")


def test_a_lora_tag_is_applied_as_a_lora() -> None:
    asked = "a fox <lora:sepia:0.8>"
    ticket = _ticket(Request(prompt=asked, loras=(Lora(name="moonlight"),)))
    loras = (Lora(name="moonlight", strength=1.0), Lora(name="sepia", strength=0.8))
    assert ticket.request.prompt == "a fox"
    assert ticket.request.loras == loras
    why = "<lora:sepia:0.8> is applied as --lora sepia:0.8"
    assert _said(ticket) == ("mapped", asked, "a fox", why)
    assert (ticket.receipt["loras"].outcome, ticket.receipt["loras"].asked) == ("applied", loras)


def test_a_lora_tag_with_two_strengths_stays_in_the_prompt_and_is_reported() -> None:
    ticket = _ticket(Request(prompt="a fox <lora:ink:1:0.5> <lora:sepia>"))
    assert ticket.request.prompt == "a fox <lora:ink:1:0.5>"
    assert ticket.request.loras == (Lora(name="sepia"),)
    why = f"<lora:sepia> is applied as --lora sepia:1; {UNREAD}<lora:ink:1:0.5>"
    assert ticket.receipt["prompt"].why == why


def test_a_lora_tag_out_of_range_is_refused() -> None:
    with pytest.raises(RequestError, match=r"loras\[0\]\.strength: must be at most 10"):
        _ticket(Request(prompt="a fox <lora:ink:99>"))


def test_a_lora_tag_gives_the_same_image_as_the_flag() -> None:
    small = ["--size", "32x32", "--seed", "7", "--quiet"]
    assert run(["generate", "a fox", "--lora", "sepia:0.8", *small, "-o", "flag.png"]) == 0
    assert run(["generate", "a fox <lora:sepia:0.8>", *small, "-o", "tag.png"]) == 0
    assert run(["generate", "--from-json", "tag.png.json", "--quiet", "-o", "again.png"]) == 0
    assert _pixels("flag.png") == _pixels("tag.png") == _pixels("again.png")


def _pixels(path: str) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        return image.tobytes()


def test_strict_refuses_unsupported_prompt_syntax() -> None:
    with pytest.raises(RequestError, match=r"prompt: syntax not read by this engine: \(fog:1\.5\)"):
        _ticket(Request(prompt="(fog:1.5)"), strict=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate"], "prompt: syntax not read by this engine: (fog:1.5)"),
        (["compare", "-m", "mock", "-o", "c"], "prompt: syntax not read by this engine: (fog:1.5)"),
    ],
    ids=["generate", "compare"],
)
def test_the_command_prints_the_remark(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *flags = arguments
    assert run([command, "a (fog:1.5)", "--size", "32x32", "--quiet", *flags]) == 0
    assert said in capsys.readouterr().err


def test_the_plan_and_the_json_hold_the_remark(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a (fog:1.5)", "--dry-run"]) == 0
    assert f"not honoured: prompt: {UNREAD}(fog:1.5)" in capsys.readouterr().out
    assert run(["generate", "a (fog:1.5)", "--dry-run", "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plan"]
    assert plan["receipt"]["prompt"]["why"] == f"{UNREAD}(fog:1.5)"
