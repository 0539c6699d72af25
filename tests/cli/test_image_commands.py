"""Commands that generate images from images, from the command line to the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagen.cli import run


@pytest.fixture(autouse=True)
def _images() -> None:
    """An image, a mask of its size, a mask of another size, and a file that is not an image."""
    Image.radial_gradient("L").convert("RGB").resize((64, 48)).save("fox.png")
    for name, size in (("mask.png", (64, 48)), ("other.png", (48, 48))):
        mask = Image.new("L", size)
        mask.paste(255, (0, 0, 24, 24))
        mask.save(name)
    Path("text.png").write_text("not an image")


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json", "--quiet"]) == code
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def _planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    (plan,) = _json(capsys, *arguments, "--dry-run")["plan"]
    assert isinstance(plan, dict)
    return plan


def _size(printed: dict[str, Any]) -> tuple[int, int]:
    (image,) = printed["images"]
    with Image.open(image["path"]) as opened:
        assert opened.size == (image["width"], image["height"])
        return opened.size


def test_img2img_keeps_the_size_of_the_image(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "generate", "a fox", "--image", "fox.png", "--strength", "0.5")
    assert _size(printed) == (64, 48)
    assert printed["generations"][0]["request"]["strength"] == 0.5
    assert printed["generations"][0]["receipt"]["image"]["outcome"] == "applied"


def test_img2img_needs_no_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    assert _size(_json(capsys, "generate", "--image", "fox.png")) == (64, 48)


def test_inpainting_keeps_unmasked_areas(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["a fox", "--image", "fox.png", "--mask", "mask.png", "--seed", "1"]
    (image,) = _json(capsys, "generate", *arguments)["images"]
    with Image.open(image["path"]) as made, Image.open("fox.png") as given:
        assert made.crop((40, 30, 64, 48)).tobytes() == given.crop((40, 30, 64, 48)).tobytes()
        assert made.crop((0, 0, 20, 20)).tobytes() != given.crop((0, 0, 20, 20)).tobytes()


def test_preprocess_creates_and_lists_the_control_image(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "generate", "a fox", "--control", "canny:fox.png:0.5", "--preprocess")
    assert [run["request"].get("preprocess") for run in printed["generations"]] == ["canny", None]
    assert [Path(image["path"]).is_file() for image in printed["images"]] == [True, True]


def test_loras_and_variations_reach_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--lora", "sepia:0.5", "--variation-seed", "3", "--variation-strength", "0.2"]
    used = _planned(capsys, "generate", "a fox", *flags)["request"]
    assert used["loras"] == [{"name": "sepia", "strength": 0.5}]
    assert (used["variation_seed"], used["variation_strength"]) == (3, 0.2)


def test_edit_passes_its_files_as_references(capsys: pytest.CaptureFixture[str]) -> None:
    used = _planned(capsys, "edit", "fox.png", "mask.png", "the fox wears it")["request"]
    assert used["prompt"] == "the fox wears it"
    assert [Path(path).name for path in used["references"]] == ["fox.png", "mask.png"]


def test_edit_with_a_mask_is_inpainting(capsys: pytest.CaptureFixture[str]) -> None:
    used = _planned(capsys, "edit", "fox.png", "a tail", "--mask", "mask.png")["request"]
    assert (Path(used["image"]).name, Path(used["mask"]).name) == ("fox.png", "mask.png")
    assert "references" not in used


@pytest.mark.parametrize(
    ("flags", "size"),
    [
        (["--left", "16"], (80, 48)),
        (["--all", "16"], (96, 80)),
        (["--all", "16", "--bottom", "0"], (96, 64)),
        (["--to", "128x48"], (128, 48)),
        (["--to", "80x64", "--left", "0"], (80, 64)),
    ],
    ids=str,
)
def test_outpaint_extends_the_given_sides(
    flags: list[str], size: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _size(_json(capsys, "outpaint", "fox.png", "a wide field", *flags)) == size


def test_upscale_interpolates_without_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "upscale", "fox.png", "--factor", "4", "-o", "large.png")
    assert _size(printed) == (256, 192)
    assert (printed["backend"], printed["images"][0]["path"]) == ("interpolation", "large.png")


def test_an_interpolation_is_reproduced_from_its_sidecar(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _json(capsys, "upscale", "fox.png", "--method", "nearest", "-o", "a.png")
    printed = _json(capsys, "generate", "--from-json", "a.png.json", "-o", "b.png")
    assert printed["backend"] == "interpolation"
    with Image.open("a.png") as first, Image.open("b.png") as second:
        assert first.tobytes() == second.tobytes()


def test_upscale_uses_an_upscale_model(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "upscale", "fox.png", "--method", "mock-x2")
    assert (printed["backend"], _size(printed)) == ("mock", (128, 96))


def test_upscale_with_a_prompt_redraws_the_image(capsys: pytest.CaptureFixture[str]) -> None:
    printed = _json(capsys, "upscale", "fox.png", "--prompt", "a fox", "--strength", "0.2")
    assert _size(printed) == (128, 96)
    assert printed["generations"][0]["request"]["strength"] == 0.2


def test_upscale_dry_run_generates_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    plan = _planned(capsys, "upscale", "fox.png")
    assert (plan["backend"], plan["estimate"]) == ("interpolation", None)
    assert not Path("outputs").exists()


def test_upscale_dry_run_of_interpolation_needs_no_engine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("asked.json").write_text('{"image": "fox.png", "upscale": {"method": "area"}}')
    plan = _planned(capsys, "generate", "--from-json", "asked.json", "--backend", "mock")
    assert (plan["backend"], plan["receipt"]["upscale"]["outcome"]) == ("interpolation", "applied")


def test_restore_passes_fidelity_and_model(capsys: pytest.CaptureFixture[str]) -> None:
    used = _planned(capsys, "restore", "fox.png", "--fidelity", "0.9", "--model", "mock-restorer")
    assert used["request"]["restore"] == {"model": "mock-restorer", "fidelity": 0.9}


def test_preprocess_turns_an_image_into_a_control_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert _size(_json(capsys, "preprocess", "canny", "fox.png", "-o", "e.png")) == (64, 48)


def test_an_image_without_prompt_is_named_after_its_input() -> None:
    assert run(["upscale", "fox.png", "--quiet"]) == 0
    (made,) = Path("outputs").glob("*.png")
    assert made.name.endswith("-fox-noseed.png")


def test_compare_starts_from_an_initial_image(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {one: {type: mock, look: other}}")
    arguments = ["a fox", "--image", "fox.png", "--strength", "0.5", "-m", "one,mock", "-o", "c"]
    printed = _json(capsys, "compare", *arguments)
    sizes = [(file["width"], file["height"]) for c in printed["cells"] for file in c["files"]]
    assert sizes == [(64, 48), (64, 48)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("generate x --image gone.png", "image: there is no file gone.png."),
        ("generate x --image text.png", "image: text.png is not an image that imagen can read."),
        ("generate x --image .", "text.png: image: text.png is not an image that imagen can read"),
        ("generate x --mask mask.png", "A mask marks areas of the initial image"),
        ("generate x --image fox.png --mask other.png", "mask: other.png is 48 × 48 pixels, but"),
        ("generate x --image fox.png --strength 2", "strength: must be"),
        ("generate x --image fox.png --feather -1", "feather: must be"),
        ("generate x --lora :0.8", "--lora ':0.8' does not name a LoRA"),
        ("generate x --lora ink:99", "loras[0].strength: must be"),
        ("generate x --control fox.png", "'fox.png' is not a control image"),
        ("generate x --control cany:fox.png", "no control 'cany'. Did you mean 'canny'?"),
        ("generate x --control canny:gone.png", "there is no file gone.png."),
        ("generate x --preprocess", "--preprocess needs --control"),
        ("generate --control canny:fox.png:0.5:2-3", "controls[0].start: must be"),
        ("generate --variation-strength 0.1", "This backend needs a prompt"),
        ("edit fox.png", "The instruction is missing. Put it after fox.png"),
        ("edit fox.png mask.png", "The instruction is missing. Put it after mask.png"),
        ("edit fox.png snow --feather 3", "--feather and --strength need --mask"),
        ("edit gone.png snow", "there is no file gone.png."),
        ("outpaint fox.png x", "Say how far to extend the image: --left"),
        ("outpaint fox.png x --left 0", "outpaint: must name at least one side"),
        ("outpaint fox.png x --left -5", "outpaint.left: must be"),
        ("outpaint fox.png x --all 5 --to 80x80", "--all and --to exclude each other"),
        (
            "outpaint fox.png x --to 60x48",
            "--to 60x48 is smaller than the image, which is already 64 × 48",
        ),
        (
            "outpaint fox.png x --to 80x48 --left 32",
            "--to 80x48 is smaller than the image, which is already 96 × 48",
        ),
        ("outpaint fox.png x --to 90x48 --left 5 --right 5", "--to 90x48 cannot be reached"),
        ("outpaint gone.png x --to 90x90", "image: there is no file gone.png."),
        ("upscale gone.png", "image: there is no file gone.png."),
        ("upscale last~1", "`imagen show last~1` prints the path of that image."),
        ("upscale text.png", "image: text.png is not an image that imagen can read."),
        ("upscale fox.png --factor 0.5", "upscale.factor: must be"),
        ("upscale fox.png --seed 3", "Interpolation does not use --seed"),
        ("upscale fox.png --set a=3", "Interpolation does not use --set a"),
        ("upscale fox.png --method area -b mock", "area runs without a backend"),
        (
            "upscale fox.png --method lancos",
            "Unknown interpolation 'lancos'. Did you mean 'lanczos'?",
        ),
        (
            "upscale fox.png --method mock-x2 --prompt x",
            "mock cannot upscale with mock-x2 and redraw",
        ),
        ("restore fox.png --fidelity 3", "restore.fidelity: must be"),
        ("preprocess cany fox.png", "preprocess cannot be 'cany'. Did you mean 'canny'?"),
        (
            "generate x --control canny:fox.png:strong",
            "'strong' is not a valid strength for fox.png",
        ),
        ("generate x --control canny:fox.png:0.8-0.2", "controls[0]: must end after it starts"),
        ("preprocess fox.png canny", "KIND comes first: imagen preprocess canny fox.png"),
        ("compare x --image gone.png -m mock -o c", "imagen: image: there is no file gone.png."),
        ("compare x --control canny:text.png -m mock -o c", "imagen: controls: text.png is no"),
    ],
    ids=lambda value: value[:50],
)
def test_invalid_image_input_is_explained(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*line.split(), "--quiet"]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            "klein: {type: comfyui, workflow: flux2-klein}, m: {type: mock}",
            "Backends that can do it: klein.",
        ),
        ("m: {type: mock}, broken: {type: nope}", "No other configured backend can do it."),
    ],
    ids=["one can", "none can"],
)
def test_an_unsupported_task_names_backends_that_can_do_it(
    others: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("imagen.yaml").write_text(f"backends: {{sd: {{type: comfyui, workflow: sd15}}, {others}}}")
    error = _json(capsys, "edit", "fox.png", "snow", "-b", "sd", code=2)["error"]
    assert error["message"] == "This backend cannot do edit."
    assert error["remedy"].splitlines()[-1] == message


def test_the_refused_task_is_that_of_the_completed_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = "type: comfyui, workflow"
    Path("imagen.yaml").write_text(
        f"backends: {{k: {{{block}: flux2-klein}}, s: {{{block}: sd15}}}}"
    )
    error = _json(capsys, "generate", "x", "--variation-seed", "1", "-b", "k", code=2)["error"]
    assert error["message"] == "This backend cannot do variation."
    assert error["remedy"].splitlines()[-1] == "Backends that can do it: s."


def test_an_invalid_request_does_not_suggest_other_backends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = _json(capsys, "generate", "x", "--mask", "mask.png", code=2)["error"]
    assert error["remedy"] == "Add the initial image with --image, or image in the request."
