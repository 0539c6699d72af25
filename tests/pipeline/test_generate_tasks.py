"""Every task by the spine and the mock: images made ready, told of, and named in the record."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from imagen.config import Limits, OutputSettings, Settings, Style
from imagen.core.request import Request
from imagen.errors import RequestError
from imagen.inputs import locate_images
from imagen.outputs import read_record
from imagen.pipeline.generate import generate, open_named, prepare

if TYPE_CHECKING:
    from imagen.pipeline.generate import Generation


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        styles={"ink": Style(prompt="ink, {prompt}", strength=0.2)},
        output=OutputSettings(directory=tmp_path / "out"),
        state_dir=tmp_path / "state",
    )


@pytest.fixture(autouse=True)
def _images() -> None:
    Image.new("RGB", (96, 64), "teal").save("fox.png")
    mask = Image.new("L", (96, 64))
    mask.paste(255, (0, 0, 48, 64))
    mask.save("mask.png")


def test_upscaling_workflow_gets_the_original_image(settings: Settings) -> None:
    block = {"type": "comfyui", "workflow": "upscale-hybrid", "url": "http://127.0.0.1:1"}
    settings = settings.model_copy(update={"backends": {"finer": block}})
    asked = Request.of({**_FOX, "upscale": {"factor": 3, "method": "x4.pth"}})
    with closing(open_named("finer", settings)) as engine:
        (ticket,) = prepare(engine, asked, settings)
    inputs = ticket.payload["22"]["inputs"]
    assert (inputs["width"], inputs["height"]) == (288, 192)
    assert ticket.payload["20"]["inputs"] == {"model_name": "x4.pth"}
    assert (ticket.inputs[0].width, ticket.inputs[0].height) == (96, 64)
    assert ticket.payload["8"]["inputs"]["denoise"] == 0.3
    assert ticket.receipt["upscale"].outcome == "applied"
    assert ticket.warnings == ()


def _one(settings: Settings, **asked: Any) -> Generation:
    (made,) = generate(Request.of({"seed": 7, "steps": 2, **asked}), settings)
    return made


_FOX = {"prompt": "a fox", "image": "fox.png"}


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"prompt": "a fox", "width": 64, "height": 32}, (64, 32)),
        ({**_FOX, "strength": 0.5}, (96, 64)),
        ({**_FOX, "mask": "mask.png", "feather": 4}, (96, 64)),
        ({**_FOX, "outpaint": {"left": 32, "bottom": 16}}, (128, 80)),
        ({"prompt": "a fox", "references": ("fox.png", "mask.png")}, (96, 64)),
        (
            {
                "prompt": "a fox",
                "width": 64,
                "height": 64,
                "controls": ({"kind": "canny", "image": "fox.png"},),
            },
            (64, 64),
        ),
        (
            {"prompt": "a fox", "width": 64, "height": 64, "variation_seed": 8},
            (64, 64),
        ),
        ({"image": "fox.png", "upscale": {"factor": 2, "method": "mock-x2"}}, (192, 128)),
        ({"image": "fox.png", "upscale": {"factor": 2, "method": "area"}}, (192, 128)),
        ({**_FOX, "upscale": {"factor": 1.5}}, (144, 96)),
        ({"image": "fox.png", "restore": {}}, (96, 64)),
        ({"image": "fox.png", "preprocess": "depth"}, (96, 64)),
    ],
    ids=[
        "text-to-image",
        "image-to-image",
        "inpaint",
        "outpaint",
        "edit",
        "control",
        "variation",
        "upscale by a model",
        "upscale by interpolation",
        "upscale and redraw",
        "restore",
        "preprocess",
    ],
)
def test_each_task_generates_an_image_and_honours_parameters(
    settings: Settings, asked: dict[str, Any], size: tuple[int, int]
) -> None:
    drawing = {"seed": 7, "steps": 2} if "prompt" in asked else {}
    (made,) = generate(Request.of(drawing | asked), settings, strict=True)
    (saved,) = made.saved
    assert (saved.width, saved.height) == size
    assert made.ticket.receipt.keys() >= asked.keys() - {"variation_seed"}


def test_receipt_names_the_users_own_files(settings: Settings) -> None:
    made = _one(settings, **_FOX, mask="mask.png", feather=4)
    receipt = made.ticket.receipt
    assert receipt["image"].asked == "fox.png"
    assert receipt["mask"].asked == "mask.png"
    assert receipt["feather"].outcome == "applied"
    assert made.ticket.request.image != "fox.png"


def test_used_values_have_no_folders(settings: Settings) -> None:
    block = {"type": "comfyui", "workflow": "z-image-turbo"}
    settings = settings.model_copy(update={"backends": {"z": block}})
    control = {"kind": "canny", "image": "fox.png", "start": 0.5}
    with closing(open_named("z", settings)) as engine:
        (ticket,) = prepare(engine, Request.of({"controls": [control]}), settings)
    assert [used["image"] for used in ticket.receipt["controls"].used] == ["fox.png"]


def test_empty_prompt_is_not_in_the_receipt(settings: Settings) -> None:
    assert "prompt" not in _one(settings, image="fox.png", restore={}).ticket.receipt


def test_input_warnings_are_in_the_result(settings: Settings) -> None:
    made = _one(settings, **_FOX, width=48, height=48)
    told = "image: fox.png (96 × 64) was scaled and cropped to 48 × 48."
    assert made.result.warnings == (told,)
    assert made.saved[0].sidecar is not None
    assert json.loads(made.saved[0].sidecar.read_text("utf-8"))["warnings"] == [told]


def test_strength_without_an_image_is_dropped(settings: Settings) -> None:
    made = _one(settings, prompt="a fox", strength=0.5, width=32, height=32)
    assert made.ticket.receipt["strength"].why == "there is no initial image"
    with pytest.raises(RequestError, match="there is no initial image"):
        generate(Request(prompt="a fox", strength=0.5), settings, strict=True)


def test_style_strength_applies_to_initial_images(settings: Settings) -> None:
    without = _one(settings, prompt="a fox", style="ink", width=32, height=32)
    assert "strength" not in without.ticket.receipt
    assert _one(settings, **_FOX, style="ink").ticket.request.strength == 0.2


def test_mask_without_an_image_is_refused_first(settings: Settings) -> None:
    with pytest.raises(RequestError, match="but there is none"):
        _one(settings, prompt="a fox", mask="nowhere.png")
    assert not settings.state_dir.exists()


def test_limits_apply_to_the_size_of_input_images(settings: Settings) -> None:
    tight = settings.model_copy(update={"limits": Limits(max_width=48)})
    assert _one(tight, **_FOX).saved[0].width == 48


def test_preparing_twice_gives_the_same_payload(settings: Settings) -> None:
    engine = open_named("mock", settings)
    asked = Request.of({**_FOX, "seed": 1, "outpaint": {"right": 32}})
    (one,), (other,) = prepare(engine, asked, settings), prepare(engine, asked, settings)
    assert (one.request, one.payload) == (other.request, other.payload)


def _machine_paths(text: str, settings: Settings) -> list[str]:
    return [str(path) for path in (Path.cwd(), settings.state_dir) if str(path) in text]


def test_saved_files_do_not_reveal_folders(settings: Settings) -> None:
    asked = {
        **_FOX,
        "image": str(Path("fox.png").absolute()),
        "mask": str(Path("mask.png").absolute()),
        "references": (str(Path("fox.png").absolute()),),
        "controls": ({"kind": "canny", "image": str(Path("mask.png").absolute())},),
    }
    (saved,) = _one(settings, **asked).saved
    assert saved.sidecar is not None
    assert _machine_paths(saved.sidecar.read_text("utf-8"), settings) == []
    assert _machine_paths(saved.path.read_bytes().decode("latin-1"), settings) == []


@pytest.mark.parametrize("where", ["sidecar", "image"])
def test_sidecar_reproduces_the_image(settings: Settings, where: str) -> None:
    control = {"kind": "canny", "image": "mask.png", "strength": 0.5}
    first = _one(settings, **_FOX, mask="mask.png", feather=3, controls=(control,))
    (saved,) = first.saved
    assert saved.sidecar is not None
    record = read_record({"sidecar": saved.sidecar, "image": saved.path}[where])
    assert [known["parameter"] for known in record.inputs] == ["image", "mask", "controls.0"]
    again = locate_images(Request.of(record.request), record.inputs, saved.path.parent)
    (second,) = generate(again, settings)
    assert second.result.outputs[0].data == first.result.outputs[0].data


def test_a1111_text_has_strength_and_feather(settings: Settings) -> None:
    (saved,) = _one(settings, **_FOX, mask="mask.png", feather=3, variation_seed=5).saved
    with Image.open(saved.path) as image:
        text = str(image.text["parameters"])  # type: ignore[attr-defined]
    assert "Denoising strength: 1, Mask blur: 3, Variation seed: 5, " in text
    assert "Variation seed strength: 0.3" in text
