"""Comparisons as jobs of the queue."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from imagen.cli.axes import parse_axis
from imagen.comparison import Comparison, compare
from imagen.comparison.submit import submit_comparison
from imagen.config import LibrarySettings, Settings, load_settings
from imagen.core.request import Control, Request
from imagen.core.result import no_progress
from imagen.errors import RequestError
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submit import SubmitOptions
from imagen.jobs.worker import run_worker
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen.jobs.submit import Submission

_ASKED = Request(prompt="a fox", width=32, height=32, steps=1, seed=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        backends={
            "one": {"type": "mock", "look": "one"},
            "two": {"type": "mock", "look": "two"},
            "broken": {"type": "mock", "fail": "rejected"},
        },
        pools={"both": ("one", "two")},
        library=LibrarySettings(url=str(tmp_path / "library.db")),
        state_dir=tmp_path / "state",
    )


def _submit(
    settings: Settings, folder: Path, *axes: str, models: Sequence[str] = ("one",), **more: Any
) -> Submission | None:
    asked = more.pop("asked", _ASKED)
    own = [parse_axis(text) for text in axes]
    options = SubmitOptions(backend=models[0])
    return submit_comparison(asked, models, settings, options, folder=folder, axes=own, **more)


def _compare(
    settings: Settings, folder: Path, *axes: str, models: Sequence[str] = ("one",), **more: Any
) -> tuple[Comparison, list[str]]:
    worked: list[str] = []

    def watch(label: str) -> Any:
        worked.append(label)
        return nullcontext(no_progress)

    asked = more.pop("asked", _ASKED)
    own = [parse_axis(text) for text in axes]
    made = compare(asked, models, settings, folder=folder, axes=own, watch=watch, **more)
    return made, worked


def _read(folder: Path) -> Comparison:
    return Comparison.model_validate_json((folder / "compare.json").read_bytes())


def test_workers_generate_the_cells_and_draw_the_sheet(settings: Settings, tmp_path: Path) -> None:
    folder, axes = tmp_path / "c", ("steps=1,2", "seed=5,6")
    submission = _submit(settings, folder, *axes, models=("one", "two"))
    assert submission is not None
    assert (submission.jobs, _read(folder).job, _read(folder).cells) == (9, submission.id, ())
    run_worker(settings, drain=True)
    plain, _ = _compare(settings, tmp_path / "d", *axes, models=("one", "two"))
    made = _read(folder)
    assert (made.job, made.failed) == ("", ())
    assert [(c.model, c.values, c.seed, c.parameters, c.receipt) for c in made.cells] == [
        (c.model, c.values, c.seed, c.parameters, c.receipt) for c in plain.cells
    ]
    assert [c.files[0].path for c in made.cells] == [c.files[0].path for c in plain.cells]
    for name in ("contact-sheet.png", "contact-sheet-2.png"):
        with Image.open(folder / name) as sheet:
            assert sheet.format == "PNG"
    assert "one-01-01-5.png" in (folder / "compare.html").read_text(encoding="utf-8")
    with open_job_store(settings) as store:
        assert store.read(submission.id).state == "done"


def test_a_comparison_of_the_queue_continues_without_it(settings: Settings, tmp_path: Path) -> None:
    _submit(settings, tmp_path / "c", "seed=5,6")
    run_worker(settings, drain=True)
    made, worked = _compare(settings, tmp_path / "c", "seed=5,6,7")
    assert (worked, made.failed) == (["one, seed 7"], ())
    assert _submit(settings, tmp_path / "c", "seed=5,6,7") is None
    more = _submit(settings, tmp_path / "c", "seed=8", models=("one", "two"))
    assert more is not None
    assert more.jobs == 3
    run_worker(settings, drain=True)
    assert [(c.model, c.values["seed"]) for c in _read(tmp_path / "c").cells] == [
        *(("one", seed) for seed in (5, 6, 7, 8)),
        ("two", 8),
    ]


def test_a_comparison_in_the_queue_is_not_generated_twice(
    settings: Settings, tmp_path: Path
) -> None:
    submission = _submit(settings, tmp_path / "c", "seed=5,6")
    assert submission is not None
    for again in (_compare, _submit):
        with pytest.raises(RequestError, match=f"is in the queue, as job {submission.id}"):
            again(settings, tmp_path / "c", "seed=5,6,7")


def test_a_cancelled_comparison_continues_without_the_queue(
    settings: Settings, tmp_path: Path
) -> None:
    submission = _submit(settings, tmp_path / "c", "seed=5,6")
    assert submission is not None
    with open_job_store(settings) as store:
        store.cancel(submission.id)
    made, worked = _compare(settings, tmp_path / "c", "seed=5,6")
    assert (worked, made.failed, made.job) == (["one, seed 5", "one, seed 6"], (), "")


def test_a_comparison_that_was_never_submitted_can_be_generated(
    settings: Settings, tmp_path: Path
) -> None:
    _submit(settings, tmp_path / "c", "seed=5")
    other = settings.model_copy(update={"library": LibrarySettings(url=str(tmp_path / "other.db"))})
    made, worked = _compare(other, tmp_path / "c", "seed=5")
    assert (worked, made.failed) == (["one, seed 5"], ())


def test_a_failed_cell_has_the_error_of_its_job(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    submission = _submit(settings, folder, models=("broken", "one"))
    assert submission is not None
    run_worker(settings, drain=True)
    broken, one = _read(folder).cells
    assert broken.error is not None
    assert (broken.error.code, broken.key, broken.files, one.error) == ("rejected", "", (), None)
    repaired = settings.model_copy(
        update={"backends": {**settings.backends, "broken": {"type": "mock"}}}
    )
    with open_job_store(settings) as store:
        store.retry(submission.id)
    run_worker(repaired, drain=True)
    assert _read(folder).failed == ()


def test_a_cell_of_several_images_is_several_jobs(settings: Settings, tmp_path: Path) -> None:
    asked = _ASKED.with_values({"count": 3})
    submission = _submit(settings, tmp_path / "c", asked=asked)
    assert submission is not None
    assert submission.jobs == 4
    run_worker(settings, drain=True)
    (cell,) = _read(tmp_path / "c").cells
    assert ([file.seed for file in cell.files], cell.error) == ([1, 2, 3], None)
    assert _compare(settings, tmp_path / "c", asked=asked)[1] == []


def test_a_missing_image_is_a_failed_cell(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    submission = _submit(settings, folder, "seed=5,6")
    assert submission is not None
    run_worker(settings, drain=True)
    (folder / "one-01-5.png").unlink()
    made, worked = _compare(settings, folder, "seed=5,6")
    assert (worked, made.failed) == (["one, seed 5"], ())


def test_cells_of_a_pool_run_on_its_backends(settings: Settings, tmp_path: Path) -> None:
    _submit(settings, tmp_path / "c", "seed=5..8", models=("both",))
    run_worker(settings, drain=True)
    made = _read(tmp_path / "c")
    assert [(cell.model, cell.error) for cell in made.cells] == [("both", None)] * 4


def test_control_images_are_made_once_for_all_cells(settings: Settings, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((32, 32)).save(tmp_path / "fox.png")
    control = Control(kind="canny", image=str(tmp_path / "fox.png"), preprocess=True)
    asked = _ASKED.with_values({"controls": (control,)})
    submission = _submit(settings, tmp_path / "c", "steps=1,2", asked=asked)
    assert submission is not None
    assert submission.jobs == 4
    run_worker(settings, drain=True)
    assert _read(tmp_path / "c").failed == ()
    assert str(tmp_path) not in (tmp_path / "c" / "compare.json").read_text(encoding="utf-8")
    assert _compare(settings, tmp_path / "c", "steps=1,2", asked=asked)[1] == []


def test_skipped_values_are_not_submitted(settings: Settings, tmp_path: Path) -> None:
    skip = [parse_axis("seed=6", "--skip")]
    submission = _submit(settings, tmp_path / "c", "seed=5,6,7", skip=skip)
    assert submission is not None
    assert submission.jobs == 3
    run_worker(settings, drain=True)
    page = (tmp_path / "c" / "compare.html").read_text(encoding="utf-8")
    values = json.loads(page.split('id="data">')[1].split("<")[0])["axes"][0]["values"]
    assert [value["text"] for value in values] == ["5", "7"]


def test_an_interrupted_comparison_is_finished_before_it_is_submitted(
    settings: Settings, tmp_path: Path
) -> None:
    class _Killed(BaseException):
        pass

    def kill(_: object) -> None:
        raise _Killed

    with ComfyUI() as server:
        block = {"comfy": {"type": "comfyui", "workflow": "sd15", "url": server.url}}
        own = settings.model_copy(update={"backends": block, "pools": {}})
        with pytest.raises(_Killed):
            compare(
                _ASKED,
                ["comfy"],
                own,
                folder=tmp_path / "c",
                watch=lambda _: nullcontext(kill),
            )
        with pytest.raises(RequestError, match="was interrupted, and its jobs are not finished"):
            _submit(own, tmp_path / "c", models=("comfy",))


def test_a_refused_submission_leaves_no_trace(settings: Settings, tmp_path: Path) -> None:
    options = SubmitOptions(backend="one", after="missing")
    folder = tmp_path / "c"
    with pytest.raises(RequestError, match="missing"):
        submit_comparison(_ASKED, ["one"], settings, options, folder=folder)
    assert not folder.exists()
    _compare(settings, folder)
    before = (folder / "compare.json").read_bytes()
    with pytest.raises(RequestError, match="missing"):
        submit_comparison(_ASKED, ["two"], settings, options, folder=folder)
    assert (folder / "compare.json").read_bytes() == before


def test_the_sheet_shows_images_of_other_machines(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def machine(name: str) -> Settings:
        monkeypatch.setenv("IMAGEN_HOST", name)
        place = tmp_path / name
        block = {"library": {"url": postgres_url}, "state_dir": str(place / "state")}
        own = block | {"output": {"directory": str(place)}, "backends": {"one": {"type": "mock"}}}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(own))
        return load_settings(tmp_path / f"{name}.yaml")

    submission = _submit(machine("client"), Path("grid"), "seed=5,6")
    assert submission is not None
    for name in ("first", "second"):
        run_worker(machine(name), once=True)
    (tmp_path / "first").rename(tmp_path / "unplugged")
    run_worker(machine("second"), drain=True)
    folder = tmp_path / "second" / "grid"
    made = _read(folder)
    assert [(c.error, len(c.files)) for c in made.cells] == [(None, 1), (None, 1)]
    assert all(file.is_in(folder) for cell in made.cells for file in cell.files)
    assert (folder / "compare.html").is_file()

    made, worked = _compare(machine("client"), Path("grid"), "seed=5,6")
    assert (worked, made.failed, made.job) == ([], (), "")
    assert all(file.is_in(Path("grid")) for cell in made.cells for file in cell.files)
