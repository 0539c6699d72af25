"""Finding the input images of a record by name and hash."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from imagen.core.request import Request
from imagen.errors import RequestError
from imagen.inputs import locate_images

_FOLDER = Path("album")


def _known(parameter: str, name: str, data: bytes = b"fox") -> dict[str, Any]:
    digest = sha256(data).hexdigest()
    return {"parameter": parameter, "name": name, "sha256": digest, "width": 1, "height": 1}


@pytest.fixture(autouse=True)
def _album() -> None:
    _FOLDER.mkdir()
    (_FOLDER / "fox.png").write_bytes(b"fox")
    Path("den.png").write_bytes(b"den")


def test_an_input_image_is_found_beside_the_sidecar() -> None:
    found = locate_images(Request(image="fox.png"), [_known("image", "fox.png")], _FOLDER)
    assert found.image == str(_FOLDER / "fox.png")


def test_an_input_image_is_found_in_the_working_directory() -> None:
    found = locate_images(Request(mask="den.png"), [_known("mask", "den.png", b"den")], _FOLDER)
    assert found.mask == "den.png"


def test_the_file_with_the_recorded_hash_is_chosen() -> None:
    Path("fox.png").write_bytes(b"another fox")
    known = [_known("image", "fox.png", b"another fox")]
    assert locate_images(Request(image="fox.png"), known, _FOLDER).image == "fox.png"


def test_references_and_controls_keep_their_positions() -> None:
    request = Request.of(
        {
            "references": ("den.png", "fox.png"),
            "controls": (
                {"kind": "canny", "image": "fox.png", "strength": 0.4},
                {"kind": "depth", "image": "den.png"},
            ),
            "extra": {"style_image": "fox.png"},
        }
    )
    known = [
        _known("references.1", "fox.png"),
        _known("references.0", "den.png", b"den"),
        _known("controls.0", "fox.png"),
        _known("controls.1", "den.png", b"den"),
        _known("style_image", "fox.png"),
    ]
    found = locate_images(request, known, _FOLDER)
    fox = str(_FOLDER / "fox.png")
    assert found.references == ("den.png", fox)
    assert [(c.image, c.strength) for c in found.controls] == [(fox, 0.4), ("den.png", 1.0)]
    assert found.extra == {"style_image": fox}


def test_a_record_without_inputs_leaves_the_request_unchanged() -> None:
    request = Request(prompt="a fox")
    assert locate_images(request, [], _FOLDER) is request


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (
            _known("image", "wolf.png"),
            "image: there is no image 'wolf.png' in album or the working directory.",
        ),
        (
            _known("image", "fox.png", b"younger"),
            f"image: {_FOLDER / 'fox.png'} has changed since it was used.",
        ),
        (
            _known("image", "../den.png", b"den"),
            "image: there is no image '../den.png' in album or the working directory.",
        ),
        (
            _known("image", ".."),
            "image: there is no image '..' in album or the working directory.",
        ),
        (
            _known("image", "x" * 300),
            f"image: there is no image '{'x' * 79}…' in album or the working directory.",
        ),
        (_known("controls.3", "fox.png"), "inputs: this request has no controls.3."),
        ({"parameter": "image"}, "inputs: an entry has no name: {'parameter': 'image'}."),
    ],
    ids=["missing", "changed", "a path", "a folder", "too long", "no such control", "no name"],
)
def test_a_missing_or_changed_input_image_is_an_error(known: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        locate_images(Request(image="fox.png"), [known], _FOLDER)
    assert caught.value.message == sentence


_SECRET = Path("private.png")


@pytest.fixture
def secret() -> str:
    _SECRET.write_bytes(b"private")
    return str(_SECRET.absolute())


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        pytest.param({"image": "PATH"}, "image", id="the image"),
        pytest.param({"mask": "PATH"}, "mask", id="the mask"),
        pytest.param({"references": ["fox.png", "PATH"]}, "references.1", id="a reference"),
        pytest.param(
            {"controls": [{"kind": "canny", "image": "PATH"}]}, "controls.0", id="control"
        ),
        pytest.param({"extra": {"style_image": "PATH"}}, "style_image", id="a backend's own"),
        pytest.param({"extra": {"images": [["PATH"]]}}, "images", id="within a list"),
        pytest.param({"extra": {"references": "PATH"}}, "references", id="a field's name, beside"),
    ],
)
@pytest.mark.parametrize("form", ["absolute", "beside the caller", "in the home folder"])
def test_a_file_that_the_record_names_without_a_hash_is_refused(
    values: dict[str, Any],
    parameter: str,
    form: str,
    secret: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(Path().absolute()))
    monkeypatch.setenv("USERPROFILE", str(Path().absolute()))
    home = "~/private.png"
    path = {"absolute": secret, "beside the caller": "private.png"}.get(form, home)
    request = Request.of(json.loads(json.dumps(values).replace("PATH", json.dumps(path)[1:-1])))
    with pytest.raises(RequestError) as caught:
        locate_images(
            request, [_known("references.0", "fox.png")] * bool(request.references), _FOLDER
        )
    assert caught.value.message.startswith(f"{parameter}: the record names the file ")


def test_the_hash_of_one_file_does_not_allow_another(secret: str) -> None:
    request = Request(image="fox.png", extra={"image": secret})
    with pytest.raises(RequestError, match="image: the record names the file"):
        locate_images(request, [_known("image", "fox.png")], _FOLDER)
    with pytest.raises(RequestError, match="image: the record names the file"):
        locate_images(request, [], _FOLDER, replaced={"image"})


def test_a_replaced_parameter_is_not_looked_up_in_the_record(secret: str) -> None:
    request = Request.of({"image": secret, "extra": {"style_image": secret}})
    found = locate_images(request, [], _FOLDER, replaced={"image", "style_image"})
    assert found is request


@pytest.mark.parametrize("name", ["//evil.example/share/ink", "\\\\evil.example\\share\\ink"])
@pytest.mark.parametrize("field", ["loras", "upscale", "restore", "style_image", "prompt"])
def test_a_record_that_names_a_network_share_is_refused(name: str, field: str) -> None:
    values: dict[str, Any] = {
        "loras": [{"name": name}],
        "upscale": {"method": name},
        "restore": {"model": name},
        "prompt": f"a fox <lora:{name}:0.5>",
        "extra": {"style_image": name},
    }
    key = field if field in values else "extra"
    with pytest.raises(RequestError, match=f"{field}: the record names"):
        locate_images(Request.of({key: values[key]}), [], _FOLDER)
