"""The HTML report of a comparison."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from imagen.comparison import Axis, CellFailure, CellImage, Comparison, ComparisonCell
from imagen.comparison.report import build_report, write_report
from imagen.core.capabilities import ParameterOutcome
from imagen.core.request import Request
from imagen.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

_EVIL = "</script><img src=//evil.example/x.png onerror=alert(1)> \u2028 {{data}} {{script}} &amp;"
_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


class _Page(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._inside, []).append(data)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = ""

    @property
    def data(self) -> Any:
        (text,) = (t for t in self.texts["script"] if t.startswith('{"axes"'))
        return json.loads(text)


def _comparison(prompt: str = "a fox", **cell: Any) -> Comparison:
    file = CellImage(path="one-#1 100%.png", sha256="", width=64, height=48)
    cells = (
        ComparisonCell(
            model="one",
            values={"steps": 4, "cfg": 1.5},
            **{
                "files": (file,),
                "seed": 7,
                "seconds": 2.5,
                "cost_usd": 0.003,
                "parameters": {"steps": 4, "cfg": None, "sampler": "euler"},
                "receipt": {"cfg": ParameterOutcome(outcome="dropped", asked=1.5, why="no cfg")},
                "warnings": ("It is slow.",),
                **cell,
            },
        ),
        ComparisonCell(
            model="two",
            values={"steps": 8, "cfg": 1.5},
            error=CellFailure(code="failed", message="Out of memory.", remedy="Use less."),
        ),
    )
    axes = (Axis(name="steps", values=(4, 8)), Axis(name="cfg", values=(1.5,)))
    request = Request(prompt=prompt)
    return Comparison(request=request, models=("one", "two"), axes=axes, cells=cells)


def test_the_report_has_every_cell_with_its_place() -> None:
    data = _Page(build_report(_comparison())).data
    assert [(axis["name"], [v["text"] for v in axis["values"]]) for axis in data["axes"]] == [
        ("backend", ["one", "two"]),
        ("steps", ["4", "8"]),
        ("cfg", ["1.5"]),
    ]
    assert data["cells"] == [
        {
            "images": [
                {
                    "src": "./one-%231%20100%25.png",
                    "name": "one-#1 100%.png",
                    "width": 64,
                    "height": 48,
                }
            ],
            "summary": "seed 7 · 2.5 s · $0.003",
            "parameters": {"steps": "4", "sampler": "euler"},
            "notes": ["cfg: 1.5 was dropped (no cfg)", "It is slow."],
            "error": "",
            "place": [0, 0, 0],
        },
        {
            "images": [],
            "summary": "",
            "parameters": {},
            "notes": [],
            "error": "Out of memory.\nUse less.",
            "place": [1, 1, 0],
        },
    ]


def test_a_single_backend_is_no_axis_of_the_report() -> None:
    comparison = _comparison().model_copy(update={"models": ("one",)})
    comparison = comparison.without([]).model_copy(update={"cells": comparison.cells[:1]})
    data = _Page(build_report(comparison)).data
    assert [axis["name"] for axis in data["axes"]] == ["steps", "cfg"]
    assert data["cells"][0]["place"] == [0, 0]


def test_a_comparison_without_axes_is_a_row_of_backends() -> None:
    cells = (ComparisonCell(model="one"),)
    comparison = Comparison(request=Request(prompt="x"), models=("one",), cells=cells)
    data = _Page(build_report(comparison)).data
    assert ([axis["name"] for axis in data["axes"]], data["cells"][0]["place"]) == (
        ["backend"],
        [0],
    )


def test_texts_from_outside_are_escaped() -> None:
    failure = CellFailure(code="x", message=_EVIL, remedy=_EVIL)
    cell = {"warnings": (_EVIL,), "error": failure, "parameters": {_EVIL: _EVIL}}
    page = _Page(build_report(_comparison(_EVIL, **cell), note=_EVIL))
    clean = _Page(build_report(_comparison()))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    assert _EVIL in page.data["cells"][0]["notes"]
    assert page.data["cells"][0]["error"] == f"{_EVIL}\n{_EVIL}"
    assert "".join(page.texts["h1"]) == _EVIL


def test_the_report_may_load_only_images_beside_it() -> None:
    page = _Page(build_report(_comparison()))
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    script = page.texts["script"][-1]
    assert rules == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "img-src": "'self' file:",
        "style-src": _hash_of("".join(page.texts["style"])),
        "script-src": _hash_of(script),
    }
    addresses = [a[n] for _, a in page.tags for n in ("src", "href", "action", "style") if n in a]
    assert addresses == ["contact-sheet.png"]
    assert re.findall(r"https?:|fetch|XMLHttp|innerHTML|eval\(", script) == []


def test_a_report_with_its_images_may_load_nothing(tmp_path: Path) -> None:
    page = _Page(build_report(_comparison(), folder=tmp_path))
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert "img-src data:;" in (policy or "")


def _hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def test_controls_of_the_report_have_labels() -> None:
    page = _Page(build_report(_comparison()))
    html = next(attributes for tag, attributes in page.tags if tag == "html")
    assert html["lang"] == "en"
    ids = [attributes.get("id") for tag, attributes in page.tags if tag in ("button", "output")]
    assert ids == ["zoom-out", "zoom", "zoom-in", "fit", "pixels", "options"]


def test_an_unwritable_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="The report cannot be written to"):
        write_report(_comparison(), tmp_path / "missing")


@pytest.mark.skipif(_CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_report(tmp_path: Path) -> None:
    write_report(_comparison(_EVIL), tmp_path)
    words = [
        *(str(_CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        f"--user-data-dir={tmp_path / 'profile'}",
        (tmp_path / "compare.html").as_uri(),
    ]
    ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    page = _Page(ran.stdout)
    headers = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]
    assert headers == ["col", "col", "row", "row"]
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert all("evil" not in str(image.get("src")) for image in images)
    assert "Out of memory." in ran.stdout
    assert "Not generated yet." in ran.stdout
