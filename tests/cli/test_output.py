"""The text and JSON of results and plans."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from imagen.cli.output import describe_changes, print_plan
from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Lora, Request, Upscale
from imagen.core.ticket import Estimate, InputImage, Ticket

if TYPE_CHECKING:
    import pytest

_RECEIPT = {
    "steps": ParameterOutcome(outcome="clamped", asked=50, used=10, why="at most 10"),
    "cfg": ParameterOutcome(outcome="dropped", asked=3.0, why="it has none"),
    "width": ParameterOutcome(
        outcome="mapped", asked=1024, used={"ratio": "16:9"}, why="it takes ratios"
    ),
    "height": ParameterOutcome(
        outcome="mapped", asked=576, used={"ratio": "16:9"}, why="it takes ratios"
    ),
    "count": ParameterOutcome(outcome="mapped", asked=4, used="4 runs"),
    "seed": ParameterOutcome(outcome="applied", asked=1),
    "negative": ParameterOutcome(outcome="dropped", asked="", why="it has none"),
}


def _ticket(**values: Any) -> Ticket:
    request = Request(prompt="a fox", seed=1, loras=(Lora(name="ink"),))
    return Ticket(id="1", backend="b", request=request, receipt=_RECEIPT, **values)


def test_changed_parameters_are_described() -> None:
    assert describe_changes(_ticket()) == [
        "steps: 50 became 10 (at most 10)",
        "cfg: 3.0 was dropped (it has none)",
        "width 1024, height 576 became ratio 16:9 (it takes ratios)",
    ]


def test_changed_parameters_with_parts_are_written_plainly() -> None:
    asked = Upscale(factor=2.0)
    fate = ParameterOutcome(
        outcome="mapped", asked=asked, used="x4.pth and lanczos", why="it enlarges by 4"
    )
    ticket = _ticket().model_copy(update={"receipt": {"upscale": fate}})
    printed = ["upscale factor 2.0 became 'x4.pth and lanczos' (it enlarges by 4)"]
    assert describe_changes(ticket) == printed


def test_mapped_parameters_that_were_not_requested_are_left_out() -> None:
    assert describe_changes(_ticket(), {"steps", "height"})[2:] == [
        "height 576 became ratio 16:9 (it takes ratios)"
    ]


def test_a_plan_shows_the_request_and_the_estimate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    estimate = Estimate(usd=0.003, basis="1 image at $0.003")
    print_plan([_ticket(estimate=estimate, warnings=("image: scaled.",))], as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "Would be sent to b:",
        "  prompt: a fox",
        "  seed: 1",
        '  loras: [{"name": "ink", "strength": 1.0}]',
        "  not honoured: steps: 50 became 10 (at most 10)",
        "  not honoured: cfg: 3.0 was dropped (it has none)",
        "  width 1024, height 576 became ratio 16:9 (it takes ratios)",
        "  image: scaled.",
        "Compute: unknown (megapixels × steps).",
        "Estimated cost: $0.003: 1 image at $0.003",
    ]


def test_a_plan_as_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    given = InputImage(parameter="image", name="fox.png", sha256="ab", width=6, height=4)
    estimate = Estimate(usd=None, basis="no price is known")
    print_plan([_ticket(estimate=estimate, inputs=(given,))], as_json=True)
    (plan,) = json.loads(capsys.readouterr().out)["plan"]
    assert plan["estimate"] == {"usd": None, "basis": "no price is known"}
    assert plan["receipt"]["count"]["used"] == "4 runs"
    assert plan["inputs"] == [
        {"parameter": "image", "name": "fox.png", "sha256": "ab", "width": 6, "height": 4}
    ]
