"""What the library knows of a batch of which not all images could be put where they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.errors import OutputError
from imagen.library import Query, search_images
from imagen.pipeline.generate import generate
from imagen.pipeline.record import open_library_synced

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.result import Progress


def test_rescued_batch_is_recorded_with_seeds_and_sidecars(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    settings = Settings(
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=out, name="{index}/fox"),
        library=LibrarySettings(url=str(tmp_path / "library.db")),
    )

    def put_something_in_the_way(_: Progress) -> None:
        out.mkdir(exist_ok=True)
        (out / "1").write_text("a file in the way")

    asked = Request(prompt="a fox", seed=7, width=32, height=32, count=2)
    with pytest.raises(OutputError):
        generate(asked, settings, on_progress=put_something_in_the_way)
    with open_library_synced(settings) as library:
        second, first = search_images(library, Query()).images
    rescued = settings.state_dir / "rescued" / "fox.png"
    assert (first.seed, first.path, first.sidecar) == (
        7,
        out / "0" / "fox.png",
        out / "0" / "fox.png.json",
    )
    assert (second.seed, second.path, second.sidecar) == (
        8,
        rescued,
        rescued.with_name("fox.png.json"),
    )
