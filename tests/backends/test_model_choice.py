"""Models in a folder, and the one that a name means."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from imagen.backends.model_choice import find_name, is_path, list_models
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["sdxl/juggernaut_xl.safetensors", "flux-dev.safetensors", "flux-dev-fp8.safetensors"]


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_model_files_and_diffusers_folders_are_listed_by_path(
    tmp_path: Path,
) -> None:
    _touch(
        tmp_path / "a.safetensors",
        tmp_path / "sub" / "b.GGUF",
        tmp_path / "sub" / "notes.txt",
        tmp_path / "whole" / "model_index.json",
        tmp_path / "whole" / "unet" / "part.safetensors",
        tmp_path / "._a.safetensors",
        tmp_path / ".cache" / "c.safetensors",
    )
    assert list_models(tmp_path) == ["a.safetensors", "sub/b.GGUF", "whole"]


def test_a_missing_folder_has_no_models(tmp_path: Path) -> None:
    assert list_models(tmp_path / "nowhere") == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed_but_each_folder_is_read_once(tmp_path: Path) -> None:
    _touch(tmp_path / "elsewhere" / "a.safetensors")
    models = tmp_path / "models"
    models.mkdir()
    os.symlink(tmp_path / "elsewhere", models / "link")
    os.symlink(models, tmp_path / "elsewhere" / "loop")
    assert list_models(models) == ["link/a.safetensors"]


def test_very_deep_folders_are_not_read(tmp_path: Path) -> None:
    _touch(tmp_path.joinpath(*"abcdefgh", "deep.safetensors"))
    assert list_models(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("sdxl\\juggernaut_xl.safetensors", NAMES[0]),
        ("juggernaut_xl", NAMES[0]),
        ("JUGGERNAUT", NAMES[0]),
        ("flux-dev", NAMES[1]),
        ("fp8", NAMES[2]),
        ("sd15", None),
    ],
)
def test_a_name_means_the_most_similar_model(asked: str, found: str | None) -> None:
    assert find_name(asked, NAMES) == found


def test_a_name_of_several_equally_similar_models_is_refused() -> None:
    with pytest.raises(RequestError, match=r"'flux' matches 2 models: flux-dev.*, flux-dev-fp8"):
        find_name("flux", NAMES)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("~/models/a.safetensors", True),
        ("./a.safetensors", True),
        ("/models/a", True),
        ("C:\\models\\a", True),
        ("owner/name", False),
        ("a.safetensors", False),
    ],
)
def test_a_path_is_distinguished_from_a_name(model: str, expected: bool) -> None:
    assert is_path(model) is expected
