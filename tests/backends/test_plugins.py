"""Adapters of other packages are found by their entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagen.backends import kinds, load_adapter
from imagen.errors import ConfigError, UnknownBackend

if TYPE_CHECKING:
    from pathlib import Path

WORKING = """
from imagen.backends.base import Adapter, BackendConfig
adapter = Adapter(BackendConfig, lambda config: None, summary="Ours.")
other = 3
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, target: str, module: str) -> None:
    """A package that names `target` as its adapter for the kind `acme`."""
    (folder / f"{module}.py").write_text(WORKING)
    info = folder / f"{module}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[imagen.backends]\nacme = {target}\n")
    monkeypatch.syspath_prepend(folder)


def test_a_plug_in_is_listed_and_loaded_as_a_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "acme_working:adapter", "acme_working")
    assert kinds() == [
        "a1111",
        "acme",
        "comfyui",
        "diffusers",
        "mock",
        "openai",
        "replicate",
        "sdcpp",
    ]
    assert load_adapter("acme").summary == "Ours."


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(
        UnknownBackend, match=r"Unknown kind of backend 'mok'\. Did you mean 'mock'"
    ):
        load_adapter("mok")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        pytest.param("acme_gone:adapter", "cannot be loaded: No module named", id="no-module"),
        pytest.param("acme_broken:adaptor", "cannot be loaded: module .* has no", id="no-name"),
        pytest.param("acme_broken:other", "is not an Adapter", id="no-adapter"),
    ],
)
def test_a_broken_plug_in_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, sentence: str
) -> None:
    install(tmp_path, monkeypatch, target, "acme_broken")
    with pytest.raises(ConfigError, match=f"plug-in for backends of type 'acme' {sentence}"):
        load_adapter("acme")
