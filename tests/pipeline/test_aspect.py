"""A request for a shape: `16:9` at the area that the backend draws by default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagen.cli import run
from imagen.config import Settings, Style
from imagen.core.capabilities import Capabilities, Parameter, ParameterOutcome
from imagen.core.request import Request, size_values
from imagen.errors import RequestError
from imagen.inputs import resolve_aspect
from imagen.pipeline.pools import open_named
from imagen.pipeline.prepare import prepare

_SDXL = Parameter(type="int", default=1024, multiple_of=64, max=2048)
_LARGEST = (16384, 16384)


def _backend(side: Parameter | None) -> Capabilities:
    sides = {} if side is None else {"width": side, "height": side}
    return Capabilities(parameters={"prompt": Parameter(type="string"), **sides})


def _size(aspect: str, side: Parameter, largest: tuple[int, int] = _LARGEST) -> str:
    return _resolved(Request(prompt="x", aspect=aspect), side, largest)


def _resolved(asked: Request, side: Parameter, largest: tuple[int, int] = _LARGEST) -> str:
    request, _ = resolve_aspect(asked, _backend(side), largest)
    assert request.aspect is None
    return f"{request.width}x{request.height}"


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        ("1:1", "1024x1024"),
        ("16:9", "1344x768"),
        ("9:16", "768x1344"),
        ("2.35:1", "1600x640"),
        ("1:16", "128x2048"),
    ],
)
def test_aspect_keeps_the_area_of_the_default_size(aspect: str, size: str) -> None:
    assert _size(aspect, _SDXL) == size


def test_aspect_gives_multiples_of_eight() -> None:
    assert _size("16:9", Parameter(type="int", default=512)) == "680x384"


def test_aspect_without_default_size_gives_a_megapixel() -> None:
    assert _size("16:9", Parameter(type="int")) == "1368x768"


def test_aspect_respects_configured_limits() -> None:
    assert _size("16:9", _SDXL, (960, 16384)) == "960x512"


@pytest.mark.parametrize(
    ("sides", "size"), [({"width": 1280}, "1280x704"), ({"height": 768}, "1344x768")], ids=repr
)
def test_aspect_keeps_a_given_side(sides: dict[str, int], size: str) -> None:
    assert _resolved(Request(aspect="16:9").with_values({**sides}), _SDXL) == size


def test_receipt_shows_the_size_of_an_aspect() -> None:
    _, receipt = resolve_aspect(Request(prompt="x", aspect="16:9"), _backend(_SDXL), _LARGEST)
    used = {"width": 1344, "height": 768}
    assert receipt == {"aspect": ParameterOutcome(outcome="mapped", asked="16:9", used=used)}


def test_backend_without_sizes_drops_an_aspect() -> None:
    request, receipt = resolve_aspect(Request(prompt="x", aspect="16:9"), _backend(None), _LARGEST)
    why = "this backend has no size parameters"
    assert receipt == {"aspect": ParameterOutcome(outcome="dropped", asked="16:9", why=why)}
    assert request == Request(prompt="x")


def test_backend_with_an_aspect_parameter_gets_it() -> None:
    asked = Request(prompt="x", aspect="16:9")
    capabilities = Capabilities(parameters={"aspect": Parameter(type="string"), "width": _SDXL})
    assert resolve_aspect(asked, capabilities, _LARGEST) == (asked, {})


def test_python_request_may_have_an_aspect() -> None:
    (ticket,) = prepare(
        open_named("mock", Settings()), Request(prompt="x", aspect="3:2"), Settings()
    )
    assert (ticket.request.width, ticket.request.height) == (1256, 840)
    assert ticket.request.aspect is None
    assert ticket.receipt["aspect"].outcome == "mapped"


def test_aspect_overrides_the_size_of_a_style() -> None:
    settings = Settings(styles={"wide": Style(width=1024, height=256)})
    request = Request(prompt="x", aspect="1:1", style="wide")
    (ticket,) = prepare(open_named("mock", settings), request, settings)
    assert (ticket.request.width, ticket.request.height) == (1024, 1024)


@pytest.mark.parametrize("aspect", ["", "16", "16x9", "0:9", "9:0", "1:65", "a:b", "-1:2", "1:2:3"])
def test_invalid_aspect_is_refused(aspect: str) -> None:
    with pytest.raises(RequestError, match="aspect: must be an aspect ratio such as 16:9"):
        Request.of({"aspect": aspect})


def test_aspect_with_width_and_height_is_refused() -> None:
    with pytest.raises(
        RequestError, match="aspect can be combined with a width or a height, not with both"
    ):
        Request.of({"aspect": "1:1", "width": 64, "height": 64})


@pytest.mark.parametrize(
    ("before", "after", "result"),
    [
        ({"width": 64, "height": 48}, {"aspect": "1:1"}, {"aspect": "1:1"}),
        ({"aspect": "1:1"}, {"width": 64, "height": 48}, {"width": 64, "height": 48}),
        ({"aspect": "1:1"}, {"width": 64}, {"aspect": "1:1", "width": 64}),
        ({"width": 64}, {"aspect": None}, {"width": 64}),
    ],
)
def test_later_of_size_and_aspect_wins(
    before: dict[str, object], after: dict[str, object], result: dict[str, object]
) -> None:
    assert Request.of(before).with_values(after) == Request.of(result)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1024x768", {"width": 1024, "height": 768}),
        ("768", {"width": 768, "height": 768}),
        ("16:9", {"aspect": "16:9"}),
    ],
)
def test_size_values_parses_a_size_or_an_aspect(text: str, values: dict[str, object]) -> None:
    assert size_values(text) == values


def test_sidecar_has_aspect_and_size() -> None:
    assert run(["generate", "x", "-q", "--size", "2:1", "-o", "a.png"]) == 0
    sidecar = json.loads(Path("a.png.json").read_text("utf-8"))
    assert sidecar["request"]["aspect"] == "2:1"
    assert (sidecar["resolved"]["width"], sidecar["resolved"]["height"]) == (1448, 728)
    assert "aspect" not in sidecar["resolved"]


def test_again_accepts_another_aspect(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "x", "-q", "--size", "96x64", "-o", "a.png"]) == 0
    capsys.readouterr()
    assert run(["again", "a.png", "--size", "1:1", "--dry-run", "--json"]) == 0
    request = json.loads(capsys.readouterr().out)["plan"][0]["request"]
    assert (request["width"], request["height"]) == (1024, 1024)


def test_comparison_varies_aspects(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = "size=1:1,2:1,64"
    assert run(["compare", "x", "-m", "mock", "--vary", sizes, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert [line.split(",")[1] for line in said.splitlines()[:3]] == [
        " size 1:1: 1024x1024",
        " size 2:1: 1448x728",
        " size 64: 64x64",
    ]


def test_later_versions_find_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields that a request gets later leave the folder and the keys of the cells as they were."""
    arguments = ["compare", "x", "-m", "mock", "--steps", "2", "--seed", "1", "-q"]
    assert run(arguments) == 0
    sheet = Path(capsys.readouterr().out.strip())
    assert sheet.parent.name == "compare-x-0149c44d"
    assert run([*arguments, "--size", "512x512"]) == 0
    sheet = Path(capsys.readouterr().out.strip())
    (cell,) = json.loads((sheet.parent / "compare.json").read_text("utf-8"))["cells"]
    assert cell["key"] == "4f4cb3c2e130bf7d1fa8400f816f96bb2285f884a2249c8f81da9b48b2145037"
