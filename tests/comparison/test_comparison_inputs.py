"""A comparison with input images that move."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.comparison import Comparison, compare
from imagen.config import Settings
from imagen.core.request import Control, Request
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the input images."""
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Image.linear_gradient("L").resize((64, 48)).save("mine/fox.png")
    return tmp_path / "mine"


def _asked(folder: Path) -> Request:
    fox = str(folder / "fox.png")
    control = Control(kind="canny", image=fox, preprocess=True)
    return Request(prompt="a fox", seed=7, steps=1, image=fox, controls=(control,))


def _compared(
    asked: Request, state: str = "state", models: Sequence[str] = ("mock",)
) -> Comparison:
    settings = Settings(backends={"other": {"type": "mock"}}, state_dir=Path(state))
    return compare(asked, models, settings, folder=Path("out"))


def _files(comparison: Comparison) -> list[str]:
    return [file.path for cell in comparison.cells for file in cell.files]


def test_another_state_directory_repeats_nothing(folder: Path) -> None:
    made = _files(_compared(_asked(folder)))
    assert _files(_compared(_asked(folder), state="elsewhere")) == made


def test_no_file_of_a_comparison_contains_a_path_of_the_inputs(
    folder: Path, tmp_path: Path
) -> None:
    _compared(_asked(folder))
    record = Path("out/compare.json").read_text("utf-8")
    assert '"image": "fox.png"' in record
    assert str(tmp_path) not in record


def test_a_comparison_continues_after_its_inputs_were_moved(folder: Path) -> None:
    made = _files(_compared(_asked(folder)))
    moved = folder.rename("moved")
    assert _files(_compared(_asked(moved))) == made


def test_an_added_model_gets_the_input_images(folder: Path) -> None:
    _compared(_asked(folder))
    added = _compared(_asked(folder), models=("mock", "other"))
    assert [cell.error for cell in added.cells] == [None, None]


def test_an_input_with_another_name_is_another_request(folder: Path) -> None:
    _compared(_asked(folder))
    other = folder / "hen.png"
    (folder / "fox.png").rename(other)
    with pytest.raises(RequestError, match="holds a comparison of another request"):
        _compared(_asked(folder).with_values({"image": str(other), "controls": ()}))
