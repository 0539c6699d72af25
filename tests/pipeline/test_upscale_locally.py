"""Enlarging without an engine, and what is written down of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.config import OutputSettings, Settings
from imagen.core.request import Request, Restore, Upscale
from imagen.errors import ConfigError, RequestError
from imagen.outputs import read_record
from imagen.pipeline.generate import upscale_locally

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        output=OutputSettings(directory=tmp_path / "out", name="{slug}"),
        state_dir=tmp_path / "state",
    )


@pytest.fixture(autouse=True)
def _fox() -> None:
    Image.new("RGB", (30, 20), "teal").save("fox.jpg")


def test_upscaled_image_is_saved_like_others(settings: Settings) -> None:
    asked = Request(image="fox.jpg", upscale=Upscale(factor=2.5, method="bicubic"))
    (made,) = upscale_locally(asked, settings)
    (saved,) = made.saved
    assert saved.path == settings.output.directory / "fox.png"
    assert (saved.width, saved.height, made.ticket.backend) == (75, 50, "interpolation")
    record = read_record(saved.path)
    assert record.request["upscale"] == {"factor": 2.5, "method": "bicubic"}
    assert record.inputs[0]["name"] == "fox.jpg"
    assert (made.result.facts.model, made.result.facts.cost_usd) == ("bicubic", 0.0)


def test_upscale_reports_missing_cloud_settings_first(settings: Settings) -> None:
    output = settings.output.model_copy(update={"cloud_sync": "on"})
    with pytest.raises(ConfigError, match="SUPABASE_URL"):
        upscale_locally(
            Request(image="fox.jpg", upscale=Upscale()),
            settings.model_copy(update={"output": output}),
        )
    assert not output.directory.exists()


def test_upscale_overwrites_nothing(settings: Settings) -> None:
    asked = Request(image="fox.jpg", upscale=Upscale())
    names = [upscale_locally(asked, settings)[0].saved[0].path.name for _ in range(2)]
    assert names == ["fox.png", "fox-2.png"]


def test_upscale_defaults_to_lanczos_and_factor_two(settings: Settings) -> None:
    (made,) = upscale_locally(Request(image="fox.jpg"), settings)
    assert made.ticket.request.upscale == Upscale(factor=2.0, method=None)
    assert (made.saved[0].width, made.result.facts.model) == (60, "lanczos")


def test_upscale_drops_engine_parameters(settings: Settings) -> None:
    asked = Request(image="fox.jpg", upscale=Upscale(), prompt="a fox", strength=0.2, seed=1)
    (made,) = upscale_locally(asked, settings)
    dropped = [n for n, fate in made.ticket.receipt.items() if fate.outcome == "dropped"]
    assert sorted(dropped) == ["prompt", "seed", "strength"]
    with pytest.raises(RequestError, match="Refused under --strict"):
        upscale_locally(asked, settings, strict=True)


def test_upscale_refuses_an_unknown_style(settings: Settings) -> None:
    with pytest.raises(RequestError, match="Unknown style 'ink'"):
        upscale_locally(Request(image="fox.jpg", upscale=Upscale(), style="ink"), settings)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Request(upscale=Upscale()), "Upscaling enlarges the initial image, but there is none"),
        (Request(), "Upscaling enlarges the initial image, but there is none"),
        (Request(image="fox.jpg", restore=Restore()), "This backend cannot do restore"),
        (
            Request(image="fox.jpg", upscale=Upscale(method="esrgan.pth")),
            "Unknown interpolation 'esrgan.pth'",
        ),
    ],
    ids=["no image", "nothing", "restoring", "a model"],
)
def test_upscale_refuses_other_tasks(settings: Settings, asked: Request, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        upscale_locally(asked, settings)
    assert not settings.output.directory.exists()
