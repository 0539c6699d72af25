"""`output.metadata: false`: nothing in an image says how it was made, whichever way it went."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import OutputError
from imagen.jobs import file_store
from imagen.jobs.recover import resume
from imagen.pipeline.generate import generate
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen.core.result import Progress

_WORD = b"zyxomma"
_ASKED = Request(prompt="zyxomma in snow", seed=7, width=64, height=64, steps=2)


class _Killed(BaseException):
    """Ends a run as a kill does."""


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    with ComfyUI() as server:
        yield server


@pytest.fixture
def settings(server: ComfyUI, tmp_path: Path) -> Settings:
    return Settings(
        default_backend="studio",
        backends={"studio": {"type": "comfyui", "url": server.url, "workflow": "sd15"}},
        state_dir=tmp_path / "state",
        output=OutputSettings(directory=tmp_path / "out", metadata=False),
        library=LibrarySettings(url=str(tmp_path / "library.db")),
    )


def _with_metadata(settings: Settings) -> Settings:
    output = settings.output.model_copy(update={"metadata": True})
    return settings.model_copy(update={"output": output})


def test_graph_of_comfyui_is_removed(settings: Settings) -> None:
    (whole,) = generate(_ASKED, _with_metadata(settings))
    (bare,) = generate(_ASKED, settings)
    (output,) = bare.result.outputs
    assert _WORD in output.data
    assert _WORD in whole.saved[0].path.read_bytes()
    assert _WORD not in bare.saved[0].path.read_bytes()


def test_sidecar_is_independent_of_metadata(settings: Settings) -> None:
    (made,) = generate(_ASKED, settings)
    assert made.saved[0].sidecar is not None
    assert json.loads(made.saved[0].sidecar.read_text())["request"]["prompt"] == _ASKED.prompt
    output = settings.output.model_copy(update={"sidecar": False})
    (made,) = generate(_ASKED, settings.model_copy(update={"output": output}))
    assert made.saved[0].sidecar is None


def test_rescued_image_has_no_metadata(settings: Settings) -> None:
    def put_a_file_in_the_way(progress: Progress) -> None:
        if progress.stage == "done":
            settings.output.directory.write_text("not a folder")

    with pytest.raises(OutputError) as caught:
        generate(_ASKED, settings, on_progress=put_a_file_in_the_way)
    (path,) = caught.value.kept
    assert _WORD not in path.read_bytes()


def test_image_fetched_later_has_no_metadata(settings: Settings) -> None:
    def kill(progress: Progress) -> None:
        if progress.stage == "done":
            raise _Killed

    with pytest.raises(_Killed):
        generate(_ASKED, settings, on_progress=kill)
    (id,) = file_store.pending(settings.state_dir)
    made = resume(id, _with_metadata(settings), no_progress)
    assert _WORD not in made.saved[0].path.read_bytes()
