"""One request on several backends: generated, kept and repeated cells."""

from __future__ import annotations

import json
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from imagen.comparison import Axis, Comparison, compare
from imagen.config import OutputSettings, Settings
from imagen.core.request import Request
from imagen.core.result import no_progress
from imagen.errors import Cancelled, ConfigError, Failed, OutputError, RequestError, UnknownBackend
from imagen.library import Query, search_images
from imagen.pipeline.record import open_library_synced
from imagen.pipeline.resolve import draw_small_seed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from imagen.core.result import OnProgress, Progress

_ASKED = Request(prompt="a fox", width=64, height=48, steps=2)


class _Watch:
    """Records the labels of the cells; may cancel at one of them."""

    def __init__(self, cancel_at: str = "", fail_in_run: int = 0) -> None:
        self.labels: list[str] = []
        self.places: list[tuple[int | None, int | None]] = []
        self._cancel_at = cancel_at
        self._runs_left = fail_in_run

    def __call__(self, label: str) -> AbstractContextManager[OnProgress]:
        self.labels.append(label)

        @contextmanager
        def watched() -> Iterator[OnProgress]:
            yield self._tell

        return watched()

    def _tell(self, progress: Progress) -> None:
        self.places.append((progress.image, progress.images))
        if self._cancel_at and self.labels[-1] == self._cancel_at and progress.step:
            raise Cancelled
        self._runs_left -= progress.stage == "submitted"
        if self._runs_left == 0 and progress.stage == "submitted":
            raise Failed("as the test wants it")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        backends={
            "one": {"type": "mock", "look": "one"},
            "two": {"type": "mock", "look": "two"},
            "broken": {"type": "mock", "fail": "failed"},
            "wrong": {"type": "mock", "colour": "blue"},
        },
        state_dir=tmp_path / "state",
    )


def _compare(
    settings: Settings, folder: Path, *models: str, **more: Any
) -> tuple[Comparison, list[str]]:
    watch = more.pop("watch", _Watch())
    asked = more.pop("asked", _ASKED)
    made = compare(asked, models, settings, folder=folder, watch=watch, draw=lambda: 11, **more)
    return made, watch.labels


def test_every_model_generates_with_the_same_seed(settings: Settings, tmp_path: Path) -> None:
    made, _ = _compare(settings, tmp_path / "c", "one", "two", "mock")
    assert [(cell.model, cell.seed, cell.cost_usd) for cell in made.cells] == [
        ("one", 11, 0.0),
        ("two", 11, 0.0),
        ("mock", 11, 0.0),
    ]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "compare.html",
        "compare.json",
        "contact-sheet.png",
        "mock-11.png",
        "mock-11.png.json",
        "one-11.png",
        "one-11.png.json",
        "two-11.png",
        "two-11.png.json",
    ]


def test_a_failing_backend_becomes_a_failed_cell(settings: Settings, tmp_path: Path) -> None:
    made, _ = _compare(settings, tmp_path / "c", "broken", "wrong", "one")
    assert [(cell.model, cell.error and cell.error.code) for cell in made.cells] == [
        ("broken", "failed"),
        ("wrong", "config"),
        ("one", None),
    ]
    with Image.open(tmp_path / "c" / "contact-sheet.png") as sheet:
        assert sheet.format == "PNG"


def test_a_second_run_repeats_no_finished_cell(settings: Settings, tmp_path: Path) -> None:
    first, _ = _compare(settings, tmp_path / "c", "one", "two")
    second, worked = _compare(settings, tmp_path / "c", "one", "two")
    assert (worked, second.model_dump_json()) == ([], first.model_dump_json())


def test_a_second_run_repeats_failed_cells(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one", "broken")
    repaired = settings.model_copy(
        update={"backends": settings.backends | {"broken": {"type": "mock"}}}
    )
    made, worked = _compare(repaired, tmp_path / "c", "one", "broken")
    assert (worked, made.failed) == (["broken"], ())


def test_a_model_can_be_added_to_a_comparison(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one")
    made, worked = _compare(settings, tmp_path / "c", "two")
    assert (made.models, worked) == (("one", "two"), ["two"])
    assert [cell.seed for cell in made.cells] == [11, 11]


def test_a_deleted_or_damaged_image_is_generated_again(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one", "two", "mock")
    (tmp_path / "c" / "one-11.png").unlink()
    (tmp_path / "c" / "two-11.png").write_bytes(b"\x89PNG cut off")
    made, worked = _compare(settings, tmp_path / "c", "one", "two", "mock")
    assert worked == ["one", "two"]
    assert [file.path for cell in made.cells for file in cell.files] == [
        "one-11-2.png",
        "two-11-2.png",
        "mock-11.png",
    ]


def test_the_library_has_an_image_and_its_replacement(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one")
    (tmp_path / "c" / "one-11.png").unlink()
    _compare(settings, tmp_path / "c", "one")
    with open_library_synced(settings) as library:
        known = search_images(library, Query()).images
    assert [image.path.name for image in known] == ["one-11-2.png", "one-11.png"]


def test_images_saved_before_a_kill_belong_to_their_cell(
    settings: Settings, tmp_path: Path
) -> None:
    asked = _ASKED.with_values({"count": 12, "latent_batch": True})
    first, _ = _compare(settings, tmp_path / "c", "one", asked=asked)
    record = json.loads((tmp_path / "c" / "compare.json").read_text(encoding="utf-8"))
    (tmp_path / "c" / "compare.json").write_text(json.dumps(record | {"cells": []}))
    second, _ = _compare(settings, tmp_path / "c", "one", asked=asked)
    assert second.cells[0].files == first.cells[0].files


def test_an_image_changed_after_a_kill_is_not_used(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one")
    record = json.loads((tmp_path / "c" / "compare.json").read_text(encoding="utf-8"))
    (tmp_path / "c" / "compare.json").write_text(json.dumps(record | {"cells": []}))
    (tmp_path / "c" / "one-11.png").write_bytes(b"\x89PNG cut off")
    made, _ = _compare(settings, tmp_path / "c", "one")
    assert [file.path for file in made.cells[0].files] == ["one-11-2.png"]


def test_a_model_with_a_changed_graph_is_generated_again(
    settings: Settings, tmp_path: Path
) -> None:
    _compare(settings, tmp_path / "c", "one", "two")
    changed = {"one": {"type": "mock", "look": "new"}}
    other = settings.model_copy(update={"backends": settings.backends | changed})
    _, worked = _compare(other, tmp_path / "c", "one", "two")
    assert worked == ["one"]


def test_a_second_axis_generates_a_cell_for_each_value(settings: Settings, tmp_path: Path) -> None:
    vary = Axis(name="steps", values=(2, 4))
    made, worked = _compare(settings, tmp_path / "c", "one", "two", axes=[vary])
    assert worked == ["one, steps 2", "one, steps 4", "two, steps 2", "two, steps 4"]
    assert [(c.model, c.values["steps"], c.facts["steps"]) for c in made.cells] == [
        ("one", 2, 2),
        ("one", 4, 4),
        ("two", 2, 2),
        ("two", 4, 4),
    ]


def test_values_can_be_added_to_an_axis(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    _compare(settings, folder, "one", axes=[Axis(name="seed", values=(0, 1))])
    made, worked = _compare(settings, folder, "one", axes=[Axis(name="seed", values=(1, 2))])
    assert ([cell.seed for cell in made.cells], worked) == ([0, 1, 2], ["one, seed 2"])


def test_an_axis_of_sizes_sets_width_and_height(settings: Settings, tmp_path: Path) -> None:
    vary = Axis(name="size", values=("32x48", "48x32"))
    made, _ = _compare(settings, tmp_path / "c", "one", axes=[vary])
    assert [(cell.files[0].width, cell.files[0].height) for cell in made.cells] == [
        (32, 48),
        (48, 32),
    ]


@pytest.mark.parametrize(
    "vary",
    [Axis(name="steps", values=(2, -1)), Axis(name="size", values=("64x64", "64x"))],
    ids=["out of range", "no size"],
)
def test_an_impossible_value_is_refused_before_generating(
    settings: Settings, tmp_path: Path, vary: Axis
) -> None:
    with pytest.raises(RequestError):
        _compare(settings, tmp_path / "c", "one", axes=[vary])
    assert not (tmp_path / "c").exists()


def test_an_incomplete_cloud_configuration_is_refused_before_generating(
    settings: Settings, tmp_path: Path
) -> None:
    on = settings.model_copy(update={"output": OutputSettings(cloud_sync="on")})
    with pytest.raises(ConfigError, match="SUPABASE_URL"):
        _compare(on, tmp_path / "c", "one")
    assert not (tmp_path / "c").exists()


def test_an_unwritable_folder_is_refused_before_generating(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "c").write_text("a file")
    watch = _Watch()
    with pytest.raises(OutputError, match="The comparison cannot be written to"):
        _compare(settings, tmp_path / "c", "one", watch=watch)
    assert watch.labels == []


def test_no_partial_record_is_left_behind(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one")
    assert [path.name for path in (tmp_path / "c").glob(".*")] == []


def test_strict_turns_a_dropped_parameter_into_a_failed_cell(
    settings: Settings, tmp_path: Path
) -> None:
    asked = _ASKED.with_values({"cfg": 3})
    made, _ = _compare(settings, tmp_path / "c", "one", asked=asked, strict=True)
    assert made.cells[0].error is not None
    assert made.cells[0].error.code == "request"


def test_a_folder_with_another_request_is_refused(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one")
    with pytest.raises(RequestError, match="holds a comparison of another request: its prompt is"):
        _compare(settings, tmp_path / "c", "one", asked=Request(prompt="a dog"))


def test_a_folder_with_another_prompt_is_refused(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one")
    with pytest.raises(RequestError, match="of another request: its prompt is 'a fox'"):
        _compare(settings, tmp_path / "c", "one", asked=_ASKED.with_values({"prompt": "a dog"}))


def test_a_folder_with_another_axis_is_refused(settings: Settings, tmp_path: Path) -> None:
    _compare(settings, tmp_path / "c", "one", axes=[Axis(name="steps", values=(2,))])
    with pytest.raises(RequestError, match="holds a comparison with steps as its axes"):
        _compare(settings, tmp_path / "c", "one")


def test_compare_refuses_an_unknown_backend_before_generating(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(UnknownBackend, match="Did you mean 'two'"):
        _compare(settings, tmp_path / "c", "one", "twoo")
    assert not (tmp_path / "c").exists()


def test_a_file_that_is_not_a_comparison_record_is_an_error(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "compare.json").write_text("{")
    with pytest.raises(OutputError, match="is not the record of a comparison"):
        _compare(settings, tmp_path, "one")


def test_a_cancelled_comparison_keeps_finished_cells_and_continues_later(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "c"
    with pytest.raises(Cancelled):
        _compare(settings, folder, "one", "two", watch=_Watch(cancel_at="two"))
    assert (folder / "contact-sheet.png").is_file()
    kept = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    assert [cell["model"] for cell in kept["cells"]] == ["one"]
    _, worked = _compare(settings, folder, "one", "two")
    assert worked == ["two"]


def test_all_images_of_a_cell_are_recorded(settings: Settings, tmp_path: Path) -> None:
    made, _ = _compare(settings, tmp_path / "c", "one", asked=_ASKED.with_values({"count": 3}))
    assert [file.path for file in made.cells[0].files] == [
        "one-11.png",
        "one-12.png",
        "one-13.png",
    ]


def test_a_cell_keeps_its_image_if_its_backend_fails_later(
    settings: Settings, tmp_path: Path
) -> None:
    first, _ = _compare(settings, tmp_path / "c", "one")
    wrong = {"one": {"type": "mock", "look": "one", "colour": "blue"}}
    broken = settings.model_copy(update={"backends": settings.backends | wrong})
    second, _ = _compare(broken, tmp_path / "c", "one")
    third, worked = _compare(settings, tmp_path / "c", "one")
    assert [c.cells[0].error and c.cells[0].error.code for c in (first, second, third)] == [
        None,
        "config",
        None,
    ]
    assert first.cells[0].files == second.cells[0].files == third.cells[0].files
    assert worked == []


def test_images_before_a_failed_job_stay_in_the_record(settings: Settings, tmp_path: Path) -> None:
    watch = _Watch(fail_in_run=2)
    asked = _ASKED.with_values({"count": 3, "steps": 1})
    made, _ = _compare(settings, tmp_path / "c", "one", asked=asked, watch=watch)
    (cell,) = made.cells
    assert (len(cell.files), cell.key, cell.error and cell.error.code) == (1, "", "failed")


def test_a_comparison_record_of_a_newer_imagen_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    _compare(settings, tmp_path, "one")
    record = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))
    (tmp_path / "compare.json").write_text(json.dumps(record | {"imagen": 3}))
    with pytest.raises(OutputError, match="was written by a newer imagen"):
        _compare(settings, tmp_path, "one")


def test_an_axis_that_no_backend_has_is_refused(settings: Settings, tmp_path: Path) -> None:
    vary = Axis(name="stpes", values=(2, 4))
    with pytest.raises(RequestError, match=r"to vary\. Did you mean 'steps'"):
        _compare(settings, tmp_path / "c", "one", axes=[vary])
    assert not (tmp_path / "c").exists()


def test_the_shared_seed_has_31_bits() -> None:
    assert 0 <= draw_small_seed() < 2**31


def test_an_unwritable_record_does_not_hide_the_failure_of_the_cell(
    settings: Settings, tmp_path: Path
) -> None:
    record = tmp_path / "c" / "compare.json"

    @contextmanager
    def put_a_folder_in_its_place(_: str) -> Iterator[OnProgress]:
        record.unlink()
        record.mkdir()
        yield no_progress

    with pytest.raises(OutputError) as caught:
        compare(_ASKED, ["broken"], settings, folder=record.parent, watch=put_a_folder_in_its_place)
    first, second = caught.value.message.splitlines()
    assert first == "The mock fails as configured (`fail: failed`)."
    assert second.startswith(f"The comparison cannot be written to {record.parent}: ")
    assert list(record.parent.glob(".compare.json*")) == []


def test_an_unreadable_comparison_record_is_an_error(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "compare.json").mkdir()
    with pytest.raises(OutputError, match=r"compare\.json cannot be read: "):
        _compare(settings, tmp_path, "one")


def test_varied_prompts_that_look_like_numbers_are_texts(
    settings: Settings, tmp_path: Path
) -> None:
    vary = Axis(name="prompt", values=(8, True))
    made, _ = _compare(settings, tmp_path / "c", "one", axes=[vary])
    asked = [cell.receipt["prompt"].asked for cell in made.cells]
    assert asked == ["8", "True"]


def test_a_parameter_with_several_values_cannot_be_varied(
    settings: Settings, tmp_path: Path
) -> None:
    vary = Axis(name="loras", values=("ink", "oil"))
    with pytest.raises(
        RequestError, match=r"^loras cannot be varied: it is not a single value\. Use lora\.$"
    ):
        _compare(settings, tmp_path / "c", "one", axes=[vary])
    assert not (tmp_path / "c").exists()


def test_an_old_record_with_an_empty_prompt_continues(settings: Settings, tmp_path: Path) -> None:
    """Old records have an empty prompt if none was given."""
    Image.new("RGB", (64, 48)).save(tmp_path / "fox.png")
    asked = Request(image=str(tmp_path / "fox.png"), steps=2)
    _compare(settings, tmp_path / "c", "one", asked=asked)
    path = tmp_path / "c" / "compare.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["request"]["prompt"] = ""
    path.write_text(json.dumps(record))
    made, worked = _compare(settings, tmp_path / "c", "one", "two", asked=asked)
    assert ([cell.model for cell in made.cells], worked) == (["one", "two"], ["two"])


def test_a_missing_prompt_is_refused_before_generating(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^two: This backend needs a prompt"):
        _compare(settings, tmp_path / "c", "wrong", "two", asked=Request(steps=2))
    assert not (tmp_path / "c").exists()


def test_a_varied_prompt_needs_no_other(settings: Settings, tmp_path: Path) -> None:
    vary = Axis(name="prompt", values=("a fox", "a cat"))
    asked = Request(width=64, height=48, steps=2)
    made, worked = _compare(settings, tmp_path / "c", "one", asked=asked, axes=[vary])
    assert (made.failed, worked) == ((), ["one, prompt a fox", "one, prompt a cat"])


def test_varied_images_are_recorded_by_their_names_and_hashes(
    settings: Settings, tmp_path: Path
) -> None:
    paths = [tmp_path / "mine" / name for name in ("fox.png", "cat.png")]
    (tmp_path / "mine").mkdir()
    for number, path in enumerate(paths):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(path)
    vary = Axis(name="image", values=tuple(map(str, paths)))
    folder = tmp_path / "c"
    made, worked = _compare(settings, folder, "one", axes=[vary])
    assert worked == ["one, image fox.png", "one, image cat.png"]
    assert made.failed_among(["one"], [vary]) == made.failed == ()
    text = (folder / "compare.json").read_text(encoding="utf-8")
    assert "mine" not in text
    assert [
        (one["parameter"], one["name"], one["sha256"]) for one in json.loads(text)["inputs"]
    ] == [("image", path.name, sha256(path.read_bytes()).hexdigest()) for path in paths]
    assert _compare(settings, folder, "one", axes=[vary])[1] == []
    paths[1].write_bytes(paths[0].read_bytes())
    assert _compare(settings, folder, "one", axes=[vary])[1] == ["one, image cat.png"]


def test_varied_images_with_the_same_name_are_refused(settings: Settings, tmp_path: Path) -> None:
    vary = Axis(name="image", values=("a/fox.png", "b/fox.png"))
    with pytest.raises(RequestError, match=r"--vary image has 2 files named 'fox\.png'\."):
        _compare(settings, tmp_path / "c", "one", axes=[vary])


def test_a_varied_image_that_cannot_be_read_is_refused(settings: Settings, tmp_path: Path) -> None:
    vary = Axis(name="image", values=(str(tmp_path / "gone.png"),))
    with pytest.raises(RequestError, match=r"gone\.png"):
        _compare(settings, tmp_path / "c", "one", axes=[vary])
    assert not (tmp_path / "c").exists()


def test_where_neither_image_nor_record_can_be_written_the_error_names_the_rescued_image(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "c"

    @contextmanager
    def watch(_: str) -> Iterator[OnProgress]:
        def block_folder(_: Progress) -> None:
            if folder.is_dir():
                folder.rename(tmp_path / "moved")
                folder.write_text("in the way")

        yield block_folder

    with pytest.raises(OutputError) as caught:
        _compare(settings, folder, "one", watch=watch)
    (rescued,) = (settings.state_dir / "rescued").rglob("*.png")
    assert str(rescued) in caught.value.message
    assert "The comparison cannot be written to" in caught.value.message


def test_progress_counts_the_images_of_all_cells(settings: Settings, tmp_path: Path) -> None:
    watch = _Watch()
    _compare(settings, tmp_path / "c", "one", "two", watch=watch)
    assert list(dict.fromkeys(watch.places)) == [(1, 2), (2, 2)]
