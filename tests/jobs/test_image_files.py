"""Images of the library on other machines: found by their stored copies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulators.supabase import BUCKET, Supabase
from support import generation_records as records
from support.generation_records import make_image, make_record

from imagen.cli import run
from imagen.config import Settings, load_settings
from imagen.delivery import deliveries_of
from imagen.delivery.worker import sync
from imagen.errors import OutputError
from imagen.jobs.blobs import open_blobs
from imagen.jobs.image_files import copy_image, find_delivery_file, find_image_file, is_here
from imagen.library import find_image, open_library, record_generation
from imagen.reproduce.request import find_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.library import Library, LibraryImage


class _Fleet:
    """Two machines that share a library in PostgreSQL; the first has made an image."""

    def __init__(self, library: Library, settings: Settings, tmp_path: Path) -> None:
        self.library = library
        self.settings = settings
        made = tmp_path / "first"
        made.mkdir()
        self.stored = make_image(made)
        self.data = self.stored.path.read_bytes()
        record_generation(library, make_record(self.stored))

    def keep_copy(self) -> None:
        open_blobs(self.settings, self.library).put(self.stored.path)

    def move_to_second(self, monkeypatch: pytest.MonkeyPatch) -> LibraryImage:
        shutil.rmtree(self.stored.path.parent)
        monkeypatch.setenv("IMAGEN_HOST", "second")
        return find_image(self.library, "last")


@pytest.fixture
def fleet(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Fleet]:
    monkeypatch.setenv("IMAGEN_HOST", "first")
    Path("imagen.yaml").write_text(
        json.dumps({"library": {"url": postgres_url}, "state_dir": str(tmp_path / "state")})
    )
    settings = load_settings()
    with open_library(settings) as library:
        yield _Fleet(library, settings, tmp_path)


def test_an_image_of_this_machine_is_its_own_file(fleet: _Fleet) -> None:
    image = find_image(fleet.library, "last")
    assert image.host == "first"
    assert is_here(image)
    assert find_image_file(image, fleet.library, fleet.settings) == fleet.stored.path


def test_an_image_in_a_shared_folder_is_its_own_file(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_HOST", "second")
    image = find_image(fleet.library, "last")
    assert find_image_file(image, fleet.library, fleet.settings) == fleet.stored.path
    fleet.stored.path.write_bytes(bytes(len(fleet.data)))
    assert not is_here(image)


def test_an_image_of_another_machine_is_found_by_its_copy(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.keep_copy()
    image = fleet.move_to_second(monkeypatch)
    file = find_image_file(image, fleet.library, fleet.settings)
    assert file.read_bytes() == fleet.data
    assert file.name == "fox.png"
    open_blobs(fleet.settings, fleet.library).delete(image.sha256)
    assert find_image_file(image, fleet.library, fleet.settings) == file  # not fetched again


def test_an_image_without_a_copy_is_a_sentence(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = fleet.move_to_second(monkeypatch)
    with pytest.raises(OutputError, match="is on another machine, first: "):
        find_image_file(image, fleet.library, fleet.settings)


def test_an_uploaded_image_is_found_in_the_cloud(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Supabase() as cloud:
        environ = records.environ(cloud)
        settings = fleet.settings.model_copy(update={"owner_user_id": records.OWNER})
        record = make_record(fleet.stored, id=records.ID.replace("1", "2"))
        record_generation(fleet.library, record, deliveries_of(record, settings, environ))
        assert len(sync(fleet.library, settings, environ).sent) == 2  # and the ledger
        fleet.move_to_second(monkeypatch)
        image = find_image(fleet.library, record.id)
        file = find_image_file(image, fleet.library, settings, environ)
        ((_, uploaded),) = [
            (place, stored) for place, stored in cloud.objects.items() if place[0] == BUCKET
        ]
        assert file.read_bytes() == uploaded.data


def test_a_copy_has_its_sidecar_and_a_name_of_its_own(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fleet.keep_copy()
    image = fleet.move_to_second(monkeypatch)
    folder = tmp_path / "new"
    path = copy_image(image, folder, fleet.library, fleet.settings)
    assert path == folder / "fox.png"
    assert path.read_bytes() == fleet.data
    assert json.loads((folder / "fox.png.json").read_text())["request"]["prompt"] == records.PROMPT
    assert copy_image(image, folder, fleet.library, fleet.settings) == path
    path.write_bytes(b"another image")
    other = copy_image(image, folder, fleet.library, fleet.settings)
    assert other == folder / "fox-2.png"
    assert sorted(one.name for one in folder.iterdir()) == [
        "fox-2.png",
        "fox-2.png.json",
        "fox.png",
        "fox.png.json",
    ]


@pytest.mark.parametrize("has_copy", [True, False])
def test_any_machine_sends_an_image_of_which_it_has_a_copy(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch, *, has_copy: bool
) -> None:
    with Supabase() as cloud:
        environ = records.environ(cloud)
        settings = fleet.settings.model_copy(update={"owner_user_id": records.OWNER})
        record = make_record(fleet.stored, id=records.ID.replace("1", "2"))
        record_generation(fleet.library, record, deliveries_of(record, settings, environ))
        if has_copy:
            fleet.keep_copy()
        fleet.move_to_second(monkeypatch)
        result = sync(
            fleet.library,
            settings,
            environ,
            find_file=lambda one: find_delivery_file(one, fleet.library, settings, environ),
        )
        assert ("cloud" in {one.kind for one in result.sent}) == has_copy
        assert bool(cloud.objects) == has_copy


def test_library_fetch_brings_images_to_this_machine(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.keep_copy()
    image = fleet.move_to_second(monkeypatch)
    assert run(["library", "fetch", "--all", "-o", "copies", "--json"]) == 0
    path = Path("copies/fox.png").absolute()
    expected = {"images": [{"id": image.id, "path": str(path)}], "here": 0, "problems": []}
    assert json.loads(capsys.readouterr().out) == expected
    assert path.read_bytes() == fleet.data
    assert run(["library", "fetch", "last"]) == 0
    assert capsys.readouterr().out == f"{Path('outputs/fox.png').absolute()}\n"


def test_library_fetch_names_what_it_cannot_bring(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.move_to_second(monkeypatch)
    assert run(["library", "fetch", "--all"]) == 5
    assert "is on another machine, first: " in capsys.readouterr().err


def test_library_fetch_leaves_images_of_this_machine(
    fleet: _Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet.stored.path.exists()
    assert run(["library", "fetch", "last", "-o", "copies"]) == 0
    assert capsys.readouterr().out == "Every image is on this machine already.\n"
    assert not Path("copies").exists()


@pytest.mark.parametrize("words", [[], ["last", "--all"]])
def test_library_fetch_wants_images_or_all(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "fetch", *words]) == 2
    assert "or give --all" in capsys.readouterr().err


def test_again_compares_with_the_copy(fleet: _Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.keep_copy()
    fleet.move_to_second(monkeypatch)
    source = find_source("last", fleet.settings)
    assert source.image is not None
    assert source.image.read_bytes() == fleet.data
