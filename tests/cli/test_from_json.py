"""--from-json: a request, or the sidecar of an image."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagen.cli import run
from imagen.cli.parsing import read_request
from imagen.core.request import Request
from imagen.errors import RequestError

_SMALL = ("--size", "32x32", "--quiet")


def _written(values: Any, name: str = "request.json") -> str:
    Path(name).write_text(json.dumps(values), encoding="utf-8")
    return name


def _request(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The request that `generate` used."""
    capsys.readouterr()
    assert run(["generate", *arguments, "--json", "--quiet"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    used: dict[str, Any] = printed["generations"][0]["request"]
    return used | {"backend": printed["backend"]}


def test_from_json_reads_a_request() -> None:
    values = {"prompt": "a fox", "steps": 3, "loras": [{"name": "ink", "strength": 0.5}]}
    assert read_request(_written(values)).request == Request.of(values)
    assert read_request(_written(values)).backend is None


def test_from_json_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO(b'\xef\xbb\xbf{"prompt": "a fox"}')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    assert read_request("-").request == Request(prompt="a fox")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-8"])
def test_from_json_detects_the_encoding(codec: str) -> None:
    Path("request.json").write_bytes('\ufeff{"prompt": "猫"}'.encode(codec))
    assert read_request("request.json").request == Request(prompt="猫")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"extra": ' + '{"a":' * 5000 + "1" + "}" * 5001, "is nested more than 100 levels deep."),
        (
            '{"seed": ' + "9" * 5000 + "}",
            "holds the number 99999999999999999999…, which is too large.",
        ),
        (
            '{"prompt": "' + "x" * 100 + '"',
            "is not valid JSON: Expecting ',' delimiter at line 1, column 114.",
        ),
    ],
    ids=["deep", "a huge number", "cut"],
)
def test_from_json_refuses_deep_huge_and_truncated_json(text: str, sentence: str) -> None:
    Path("request.json").write_text(text)
    with pytest.raises(RequestError) as caught:
        read_request("request.json")
    assert caught.value.message == f"request.json {sentence}"


def test_the_prompt_and_options_override_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    name = _written({"prompt": "a fox", "steps": 3, "seed": 5, "width": 64, "height": 64})
    used = _request(capsys, "a cat", "--from-json", name, "--steps", "4")
    assert (used["prompt"], used["steps"], used["seed"], used["width"]) == ("a cat", 4, 5, 64)


def test_a_sidecar_reproduces_its_image(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {studio: {type: mock, look: other}}")
    assert run(["generate", "a fox", "-b", "studio", *_SMALL, "-o", "fox.png"]) == 0
    used = _request(capsys, "--from-json", "fox.png.json", "-o", "again.png")
    assert used["backend"] == "studio"
    with Image.open("again.png") as again, Image.open("fox.png") as first:
        assert again.tobytes() == first.tobytes()


def test_another_backend_gets_the_requested_values_and_the_seed() -> None:
    Path("imagen.yaml").write_text("backends: {studio: {type: mock}}")
    assert run(["generate", "a fox", "-b", "studio", *_SMALL, "-o", "fox.png"]) == 0
    sidecar = json.loads(Path("fox.png.json").read_text(encoding="utf-8"))
    sidecar["resolved"] |= {"steps": 77, "seed": 12}
    found = read_request(_written(sidecar), ["mock"])
    assert found.request == Request(prompt="a fox", width=32, height=32, seed=12)


def test_from_json_reads_the_record_of_a_comparison() -> None:
    assert run(["compare", "a fox", "-m", "mock", *_SMALL, "--seed", "4", "-o", "c"]) == 0
    found = read_request("c/compare.json")
    assert found.request == Request(prompt="a fox", width=32, height=32, seed=4)
    assert found.backend is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"promt": "a fox"}, "request.json: promt: unknown key. Did you mean 'prompt'?"),
        ({"steps": -1}, "request.json: steps: "),
        ({"loras": [{"nme": "x"}]}, "request.json: loras[0].nme: unknown key."),
        ([1, 2], "request.json is not a request: expected a JSON object."),
        ({"imagen": 1, "request": {"promt": "x"}}, "request.json: promt: unknown key."),
        ({"imagen": 1, "request": 5, "resolved": {"seed": -2}}, "request.json: seed: "),
        ({"imagen": 99}, "request.json: unknown sidecar format 99; this imagen reads up to 1."),
        ({"imagen": "x"}, "request.json: unknown sidecar format 'x'"),
    ],
    ids=[
        "a slip",
        "a range",
        "inside",
        "a list",
        "a sidecar's slip",
        "a sidecar's range",
        "a newer sidecar",
        "no sidecar",
    ],
)
def test_from_json_names_what_is_wrong_in_the_file(values: Any, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(_written(values))
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("values", "request_values"),
    [
        ({"negative_prompt": "fog", "cfg_scale": 5}, {"negative": "fog", "cfg": 5}),
        ({"num_inference_steps": 9, "sampler_name": "Euler a"}, {"steps": 9, "sampler": "Euler a"}),
        ({"batch_size": 2}, {"count": 2}),
        ({"n": 2, "size": "64x32"}, {"count": 2, "width": 64, "height": 32}),
        ({"num_images": 2, "numImages": 2}, {"count": 2}),
        (
            {"init_image": "a.png", "denoising_strength": 0.5},
            {"image": "a.png", "strength": 0.5},
        ),
        ({"Negative Prompt": "fog", "negative": "fog"}, {"negative": "fog"}),
        ({"negative_prompt": None, "steps": 3}, {"steps": 3}),
        (
            {"guidance_scale": 3.5, "extra": {"shift": 1}},
            {"extra": {"guidance_scale": 3.5, "shift": 1}},
        ),
        ({"imagen": 1, "request": {"num_inference_steps": 9}}, {"steps": 9}),
    ],
    ids=lambda values: "-".join(values),
)
def test_from_json_understands_field_names_of_other_tools(
    values: dict[str, Any], request_values: dict[str, Any]
) -> None:
    assert read_request(_written(values)).request == Request.of(request_values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"negative": "fog", "negative_prompt": "rain"},
            "negative and negative_prompt mean the same and have different values: 'fog' and 'ra",
        ),
        ({"n": 2, "batch_size": 3}, "n and batch_size mean the same and have different values"),
        ({"width": 64, "size": "32x32"}, "width and size mean the same and have different values"),
        ({"size": "big"}, "request.json: 'big' is not a valid size."),
        ({"negativ_prompt": "x"}, "negativ_prompt: unknown key. Did you mean 'negative_prompt'?"),
        ({"override_settings": {}}, "override_settings: unknown key."),
    ],
    ids=lambda values: "-".join(values) if isinstance(values, dict) else "",
)
def test_from_json_refuses_contradicting_and_unknown_names(
    values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(_written(values))
    assert sentence in caught.value.message


def test_from_json_names_a_missing_file() -> None:
    with pytest.raises(RequestError, match=r"--from-json: cannot read gone.json: No such file"):
        read_request("gone.json")


def test_from_json_refuses_a_truncated_file() -> None:
    Path("cut.json").write_text('{"prompt": "a')
    with pytest.raises(RequestError, match=r"cut.json is not valid JSON: .* at line 1, column 12"):
        read_request("cut.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_from_json_refuses_numbers_that_are_not_json(number: str) -> None:
    Path("odd.json").write_text(f'{{"prompt": "a fox", "extra": {{"shift": {number}}}}}')
    with pytest.raises(
        RequestError, match=f"odd.json holds {number}, which JSON has no number for"
    ):
        read_request("odd.json")


def test_from_json_suggests_the_sidecar_of_an_image() -> None:
    assert run(["generate", "a fox", *_SMALL, "-o", "fox.png"]) == 0
    with pytest.raises(RequestError, match=r"fox.png is not text in UTF-8 or UTF-16") as caught:
        read_request("fox.png")
    assert caught.value.remedy == "Did you mean its sidecar, fox.png.json?"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-", "--from-json", "-"], "Only one of PROMPT and --from-json can be standard input."),
        (["--from-json", "empty.json"], "This backend needs a prompt"),
        (["--from-json", "unknown.json"], "Unknown backend 'gone'."),
        (["--from-json", "unknown.json"], "unknown.json names it. Choose another with --backend."),
        (["x", "--backend", "interpolation"], "Unknown backend 'interpolation'."),
    ],
    ids=["twice", "nothing to show", "a backend of another machine", "what to do", "no engine"],
)
def test_an_incomplete_command_line_is_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _written({}, "empty.json")
    _written({"imagen": 1, "backend": "gone", "resolved": {"prompt": "x"}}, "unknown.json")
    assert run(["generate", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_compare_from_json_uses_the_requested_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a fox", *_SMALL, "--seed", "9", "-o", "fox.png"]) == 0
    capsys.readouterr()
    arguments = ["compare", "--from-json", "fox.png.json", "-m", "mock", "-q", "-o", "c", "--json"]
    assert run(arguments) == 0
    asked = json.loads(capsys.readouterr().out)["request"]
    assert (asked["prompt"], asked["seed"], asked["width"]) == ("a fox", 9, 32)


@pytest.fixture
def fox() -> None:
    """An image and its mask."""
    Image.radial_gradient("L").convert("RGB").resize((64, 48)).save("fox.png")
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 24, 24))
    mask.save("mask.png")


@pytest.mark.usefixtures("fox")
@pytest.mark.parametrize(
    "line",
    [
        "generate x --image fox.png --strength 0.5",
        "generate x --image fox.png --mask mask.png --feather 5",
        "generate x --reference fox.png --reference mask.png",
        "generate x --control canny:fox.png:0.5 --preprocess",
        "outpaint fox.png x --all 16 --feather 4",
        "upscale fox.png --prompt x --strength 0.4",
        "restore fox.png",
        "preprocess depth fox.png",
    ],
)
def test_sidecars_of_image_tasks_reproduce_their_images(line: str) -> None:
    assert run([*line.split(), "--quiet", "-o", "a.png"]) == 0
    assert run(["generate", "--from-json", "a.png.json", "--quiet", "-o", "b.png"]) == 0
    with Image.open("a.png") as first, Image.open("b.png") as again:
        assert (again.size, again.tobytes()) == (first.size, first.tobytes())


@pytest.mark.usefixtures("fox")
@pytest.mark.parametrize(
    "options",
    [
        "--image fox.png --mask mask.png",
        "--reference fox.png --reference mask.png",
        "--control canny:fox.png:0.5",
    ],
)
def test_the_record_of_a_comparison_includes_its_input_images(options: str) -> None:
    line = f"compare x {options} -m mock -q -o c"
    assert run(line.split()) == 0
    assert run(["generate", "--from-json", "c/compare.json", "--quiet", "-o", "again.png"]) == 0
    (made,) = Path("c").glob("mock-*.png")
    with Image.open(made) as first, Image.open("again.png") as again:
        assert again.tobytes() == first.tobytes()


@pytest.mark.usefixtures("fox")
def test_the_record_of_a_comparison_of_images_leaves_them_out() -> None:
    line = "compare x --vary image=fox.png,mask.png -m mock -q -o c"
    assert run(line.split()) == 0
    assert read_request("c/compare.json").request.image is None


@pytest.mark.usefixtures("fox")
def test_an_old_record_of_a_comparison_needs_its_images_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["compare", "x", "--image", "fox.png", "-m", "mock", "-q", "-o", "c"]) == 0
    record = json.loads(Path("c/compare.json").read_text("utf-8"))
    del record["inputs"]
    _written(record, "old.json")
    capsys.readouterr()
    assert run(["generate", "--from-json", "old.json", "-q"]) == 2
    sentence = capsys.readouterr().err
    assert "image: the record names the file 'fox.png' without a hash of its content." in sentence
    assert "Name the file you want with its option." in sentence
    assert run(["generate", "--from-json", "old.json", "--image", "fox.png", "-q"]) == 0


@pytest.mark.usefixtures("fox")
def test_from_json_names_a_missing_image_unless_it_is_replaced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["generate", "x", "--image", "fox.png", "-q", "-o", "a.png"]) == 0
    Path("elsewhere").mkdir()
    Path("fox.png").rename("elsewhere/fox.png")
    assert run(["generate", "--from-json", "a.png.json", "-q"]) == 2
    assert "image: there is no image 'fox.png'" in capsys.readouterr().err
    assert run(["generate", "--from-json", "a.png.json", "--image", "elsewhere/fox.png", "-q"]) == 0


def test_show_says_that_a_record_of_a_comparison_is_not_one_image(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["compare", "x", "-m", "mock", "-q", "-o", "c"]) == 0
    capsys.readouterr()
    assert run(["show", "c/compare.json"]) == 5
    assert "is the record of a comparison, not of one image." in capsys.readouterr().err
