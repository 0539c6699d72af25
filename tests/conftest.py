"""Every test runs in an empty folder, with an environment of its own, and reaches no network."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

collect_ignore = [] if find_spec("diffusers") else ["with_torch"]
_OURS = (
    *("IMAGEN_", "XDG_", "APPDATA", "LOCALAPPDATA", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    *("REPLICATE_", "HF_"),
)


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration, state or proxy of the person who runs the tests is seen."""
    import os

    for name in list(os.environ):
        if name.upper().startswith(_OURS):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("NO_COLOR", "1")
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)


@pytest.fixture
def replicate_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the simulated Replicate accepts."""
    from imagen.testing.replicate import TOKEN

    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
