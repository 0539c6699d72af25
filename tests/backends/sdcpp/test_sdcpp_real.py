"""The real sd-cli behaves like its fake; run where IMAGEN_TEST_SDCPP or the PATH names one."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.sdcpp_setup import LORA
from support.tiny_weights import controlnet, esrgan, sd15, taesd, write

from imagen.backends import open_backend
from imagen.core.request import Control, Lora, Request, Upscale
from imagen.core.result import no_progress
from imagen.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagen.core.result import Progress, Result

_PROGRAM = os.environ.get("IMAGEN_TEST_SDCPP") or shutil.which("sd-cli") or ""

pytestmark = pytest.mark.skipif(
    not _PROGRAM, reason="no sd-cli: IMAGEN_TEST_SDCPP and the PATH name none"
)
_REQUEST = Request(prompt="a fox", width=64, height=64, seed=1, steps=1)


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "loras").mkdir()
    write(folder / "loras" / "ink.safetensors", LORA)
    return {
        "type": "sdcpp",
        "binary": _PROGRAM,
        "model": str(write(folder / "sd15.safetensors", sd15())),
        "taesd": str(write(folder / "taesd.safetensors", taesd(), noise=random.Random(1))),
        "loras_dir": str(folder / "loras"),
        "upscale_models": [str(write(folder / "up.safetensors", esrgan()))],
        "controlnets": {"canny": str(write(folder / "canny.safetensors", controlnet()))},
        "cache_dir": str(folder / "cache"),
    }


def _generate(
    block: dict[str, Any], request: Request, tell: Callable[[Progress], None] = no_progress
) -> Result:
    with closing(open_backend("real", {"real": block})) as engine:
        return engine.collect(engine.prepare(request), tell)


def _save_image(tmp_path: Path, name: str, mode: str, color: str) -> str:
    Image.new(mode, (64, 64), color).save(tmp_path / name)
    return str(tmp_path / name)


def _size(result: Result) -> tuple[int, int]:
    with Image.open(BytesIO(result.images[0].data)) as image:
        return image.size


def test_the_real_program_is_healthy(block: dict[str, Any]) -> None:
    assert open_backend("real", {"real": block}).check().ok


def test_a_seed_reproduces_its_image_and_another_seed_does_not(block: dict[str, Any]) -> None:
    two = _generate(block, _REQUEST.with_values({"count": 2}))
    one = _generate(block, _REQUEST.with_values({"seed": 2}))
    assert [output.seed for output in two.outputs] == [1, 2]
    assert two.images[1].data == one.images[0].data != two.images[0].data
    assert (two.warnings, two.facts.engine["model_version"]) == ((), "SD 1.x")


def test_an_image_is_inpainted_under_a_mask(block: dict[str, Any], tmp_path: Path) -> None:
    image = _save_image(tmp_path, "image.png", "RGB", "teal")
    mask = _save_image(tmp_path, "mask.png", "L", "white")
    steps: list[int | None] = []
    request = _REQUEST.with_values({"image": image, "mask": mask, "strength": 0.5, "steps": 2})
    result = _generate(block, request, lambda progress: steps.append(progress.step))
    assert (_size(result), 1 in steps) == ((64, 64), True)


def test_a_lora_is_applied(block: dict[str, Any]) -> None:
    result = _generate(block, _REQUEST.with_values({"loras": (Lora(name="ink", strength=0.5),)}))
    assert (len(result.images), result.warnings) == (1, ())


def test_a_control_image_is_preprocessed_and_applied(block: dict[str, Any], tmp_path: Path) -> None:
    image = _save_image(tmp_path, "image.png", "RGB", "teal")
    control = Control(kind="canny", image=image, strength=0.5, preprocess=True)
    result = _generate(block, _REQUEST.with_values({"controls": (control,)}))
    assert (_size(result), result.warnings) == ((64, 64), ())


def test_an_image_is_upscaled(block: dict[str, Any], tmp_path: Path) -> None:
    image = _save_image(tmp_path, "image.png", "RGB", "teal")
    assert _size(_generate(block, Request(image=image, upscale=Upscale(factor=3)))) == (192, 192)


@pytest.mark.parametrize("stage", ["loading", "running"])
def test_the_real_program_ends_when_cancelled(block: dict[str, Any], stage: str) -> None:
    def tell(progress: Progress) -> None:
        if progress.stage == stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        _generate(block, _REQUEST.with_values({"steps": 500}), tell)
