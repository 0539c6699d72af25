"""Images named by URLs: refused whole unless the settings allow them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen.cli import run
from imagen.config import InputSettings, Settings
from imagen.core.request import Control, Request
from imagen.net.public_images import FetchedImage
from imagen.pipeline.prepare import with_local_images

if TYPE_CHECKING:
    from collections.abc import Sequence

_URL = "http://127.0.0.1:9//fox.png?x=1"


def _configure(**keys: Any) -> None:
    Path("imagen.yaml").write_text(json.dumps({"state_dir": "state"} | keys))


_WAYS: list[Any] = [
    pytest.param(["generate", "a fox", "--image", _URL], "image", id="image"),
    pytest.param(["generate", "a fox", "--image", "i.png", "--mask", _URL], "mask", id="mask"),
    pytest.param(
        ["generate", "a fox", "--control", f"canny:{_URL}:0.8"], "controls.0", id="control"
    ),
    pytest.param(["generate", "a fox", "--reference", _URL], "references.0", id="reference"),
    pytest.param(["generate", "--from-json", "request.json"], "image", id="from JSON"),
    pytest.param(["upscale", _URL, "--method", "lanczos"], "image", id="interpolation"),
    pytest.param(["outpaint", _URL, "a fox", "--to", "128x128"], "image", id="outpaint"),
    pytest.param(["compare", "a fox", "-m", "mock", "--image", _URL], "image", id="compare"),
    pytest.param(["generate", "a fox", "--image", _URL, "--dry-run"], "image", id="dry run"),
]


def test_image_urls_become_files_if_allowed() -> None:
    settings = Settings(inputs=InputSettings(allow_urls=True), state_dir=Path("state"))
    asked = Request(
        prompt="a fox",
        image="https://example.org/i/fox.png",
        mask="i.png",
        references=("i.png", "https://example.org/r.png?size=8"),
        controls=(Control(kind="canny", image="https://example.org/c.png"),),
    )
    image = FetchedImage(Path("i.png").read_bytes(), "fox.png")
    seen: list[tuple[str, str]] = []

    def fetch(url: str, what: str) -> FetchedImage:
        seen.append((url, what))
        return image

    found = with_local_images(asked, settings, fetch)
    assert seen == [
        ("https://example.org/i/fox.png", "image"),
        ("https://example.org/r.png?size=8", "references.1"),
        ("https://example.org/c.png", "controls.0"),
    ]
    (local,) = {found.image, found.references[1], found.controls[0].image}
    assert local is not None
    assert Path(local).name == "fox.png"
    assert Path(local).read_bytes() == image.data
    assert (found.mask, found.references[0]) == ("i.png", "i.png")


def test_request_without_urls_is_unchanged() -> None:
    settings = Settings(inputs=InputSettings(allow_urls=True))
    asked = Request(prompt="a fox", image="i.png")
    assert with_local_images(asked, settings) is asked


@pytest.fixture(autouse=True)
def _files() -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "teal").save("i.png")
    Path("request.json").write_text(json.dumps({"prompt": "a fox", "image": _URL}))


@pytest.mark.parametrize(("words", "what"), _WAYS)
def test_url_is_refused_with_its_full_address(
    words: Sequence[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _configure()
    assert run([*words]) == 2
    said = capsys.readouterr().err
    assert f"{what}: {_URL} is a URL, and imagen reads files only." in said
    assert "set inputs.allow_urls: true in imagen.yaml" in said


@pytest.mark.parametrize(("words", "what"), _WAYS)
def test_private_addresses_are_never_allowed(
    words: Sequence[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _configure(inputs={"allow_urls": True})
    assert run([*words]) == 2
    assert (
        f"{what}: {_URL} leads to 127.0.0.1, which is not an address of the public internet."
        in capsys.readouterr().err
    )


def test_from_json_does_not_read_a_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "--from-json", "https://example.org//a.json"]) == 2
    said = capsys.readouterr().err
    assert (
        "--from-json expects a file, got a URL. Download it first: https://example.org//a.json"
        in said
    )


def test_show_names_the_full_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "https://example.org//a.png"]) == 2
    said = capsys.readouterr().err
    assert "Expected a file, got a URL. Download it first: https://example.org//a.png" in said
