"""A family of upscalers selects an installed file."""

from __future__ import annotations

import pytest

from imagen.model_files.upscalers import choose_upscaler

_NAMES = (
    "4x-UltraSharp.pth",
    "RealESRGAN_x2plus.pth",
    "RealESRGAN_x4plus.pth",
    "RealESRGAN_x4plus_anime_6B.pth",
    "SwinIR_4x.pth",
)


@pytest.mark.parametrize(
    ("method", "factor", "chosen"),
    [
        pytest.param("realesrgan", 4, "RealESRGAN_x4plus.pth", id="of the asked factor"),
        pytest.param("realesrgan", 2, "RealESRGAN_x2plus.pth", id="of another factor"),
        pytest.param("Real-ESRGAN", 3, "RealESRGAN_x2plus.pth", id="of none, the first"),
        pytest.param("esrgan", 2, "4x-UltraSharp.pth", id="esrgan before real-esrgan"),
        pytest.param("4x-UltraSharp", 4, None, id="a name is not a family"),
    ],
)
def test_upscaler_of_the_family_is_chosen(method: str, factor: float, chosen: str | None) -> None:
    assert choose_upscaler(method, _NAMES, factor) == chosen


def test_real_esrgan_is_used_for_esrgan_if_there_is_no_other() -> None:
    assert choose_upscaler("esrgan", _NAMES[1:], 4) == "RealESRGAN_x4plus.pth"


def test_no_upscaler_is_chosen_if_none_matches() -> None:
    assert choose_upscaler("realesrgan", ["SwinIR_4x.pth", "4x-UltraSharp.pth"], 4) is None
