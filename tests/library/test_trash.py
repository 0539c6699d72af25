"""The trash: images move there with their sidecars, go back, or are deleted for good."""

from __future__ import annotations

import errno
import json
import os
import platform
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, update
from support.library_samples import (
    delete_images,
    make_delivery,
    make_image,
    make_record,
    record_all,
    trash_images,
    uuid_of,
)

from imagen.errors import OutputError, RequestError
from imagen.library import (
    check_consistency,
    find_image,
    record_generation,
    sum_usage,
)
from imagen.library.outbox import claim, deliveries_for, list_unsent, mark_sent
from imagen.library.schema import generations, images, prompts, tags, thumbnails
from imagen.library.tags import change_tags
from imagen.library.trash import delete_for_good, list_trashed, move_back, move_to_trash

if TYPE_CHECKING:
    from imagen.library import GenerationRecord, Library, LibraryImage, StoredImage

_TABLES = (generations, images, prompts, tags, thumbnails)
_ID = "00000001"


def _write_record(number: int, *names: str) -> GenerationRecord:
    """The generation of this number: its images are these files, with their sidecars."""
    files = tuple(_write(number, index, Path(name)) for index, name in enumerate(names))
    return make_record(number, images=files)


def _write(number: int, index: int, path: Path) -> StoredImage:
    path.write_bytes(f"{number}.{index}".encode())
    sidecar = path.with_name(f"{path.name}.json")
    sidecar.write_text("{}")
    image = make_image(number, index, path.absolute())
    return image.model_copy(update={"sidecar": sidecar.absolute()})


def _trash(library: Library, id: str) -> LibraryImage:
    trash_images(library, [find_image(library, id)])
    return find_image(library, id)


def _files() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.is_file())


def _count_rows(library: Library) -> dict[str, int]:
    with library.reading() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in _TABLES
        }


@pytest.fixture
def fox(library: Library) -> LibraryImage:
    """An image with a sidecar."""
    record_generation(library, _write_record(1, "fox.png"))
    return find_image(library, _ID)


def test_move_to_trash_moves_the_image_and_its_sidecar(library: Library, fox: LibraryImage) -> None:
    assert move_to_trash(library, fox) is True
    trashed = find_image(library, _ID)
    folder = library.trash_folder / f"{uuid_of(1)}.1"
    assert (trashed.path, trashed.sidecar) == (folder / "fox.png", folder / "fox.png.json")
    assert (trashed.path.read_bytes(), trashed.is_trashed) == (b"1.0", True)
    assert (trashed.trashed_from, _files()) == (fox.path, [])


def test_the_trash_says_where_an_image_came_from(library: Library, fox: LibraryImage) -> None:
    move_to_trash(library, fox)
    info = json.loads((find_image(library, _ID).path.parent / "trashed.json").read_text())
    assert (info["id"], info["path"]) == (_ID, str(fox.path))


def test_the_trash_is_private_to_its_owner(library: Library, fox: LibraryImage) -> None:
    move_to_trash(library, fox)
    assert find_image(library, _ID).path.parent.stat().st_mode & 0o077 == 0


def test_restore_puts_the_image_and_its_sidecar_back(library: Library, fox: LibraryImage) -> None:
    move_back(library, _trash(library, _ID))
    back = find_image(library, _ID)
    assert (back.path, back.sidecar, back.is_trashed) == (fox.path, fox.sidecar, False)
    assert (_files(), list(library.trash_folder.iterdir())) == (["fox.png", "fox.png.json"], [])


def test_restore_makes_the_folder_again(library: Library) -> None:
    Path("album").mkdir()
    record_generation(library, _write_record(1, "album/fox.png"))
    trashed = _trash(library, _ID)
    Path("album").rmdir()
    move_back(library, trashed)
    assert Path("album/fox.png").read_bytes() == b"1.0"


@pytest.mark.parametrize("name", ["fox.png", "fox.png.json"])
def test_restore_never_overwrites_another_file(
    library: Library, fox: LibraryImage, name: str
) -> None:
    trashed = _trash(library, _ID)
    Path(name).write_text("another file")
    with pytest.raises(OutputError, match="cannot be put back: there is another file") as caught:
        move_back(library, trashed)
    assert name in caught.value.message
    assert (Path(name).read_text(), find_image(library, _ID)) == ("another file", trashed)
    assert (trashed.path.read_bytes(), trashed.trashed_from) == (b"1.0", fox.path)


def test_two_images_of_the_same_name_are_kept_apart(library: Library) -> None:
    Path("a").mkdir()
    Path("b").mkdir()
    record_all(library, [_write_record(1, "a/fox.png"), _write_record(2, "b/fox.png")])
    first, second = _trash(library, _ID), _trash(library, "00000002")
    assert (first.path.read_bytes(), second.path.read_bytes()) == (b"1.0", b"2.0")


def test_images_move_between_file_systems(
    library: Library, fox: LibraryImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _part_file_systems(monkeypatch, library.trash_folder)
    trashed = _trash(library, _ID)
    assert (trashed.path.read_bytes(), _files()) == (b"1.0", [])
    move_back(library, trashed)
    assert (fox.path.read_bytes(), _files()) == (b"1.0", ["fox.png", "fox.png.json"])


def _part_file_systems(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the system refuse links and renames into or out of the folder."""
    for name in ("link", "replace"):
        plain = getattr(os, name)

        def refuse(source: Path, target: Path, plain: object = plain) -> None:
            if Path(source).is_relative_to(folder) != Path(target).is_relative_to(folder):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            plain(source, target)  # type: ignore[operator]

        monkeypatch.setattr(os, name, refuse)


def test_a_file_that_cannot_be_moved_stays_in_the_library(
    library: Library, fox: LibraryImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="cannot be moved: Permission denied"):
        move_to_trash(library, fox)
    assert (find_image(library, _ID), _files()) == (fox, ["fox.png", "fox.png.json"])


@pytest.mark.parametrize("step", range(1, 5))
def test_an_interrupted_move_is_undone(library: Library, fox: LibraryImage, step: int) -> None:
    _interrupt_move(library, fox, step)
    move_back(library, find_image(library, _ID))
    assert (find_image(library, _ID), _files()) == (fox, ["fox.png", "fox.png.json"])
    assert Path("fox.png").read_bytes() == b"1.0"


@pytest.mark.parametrize("step", range(1, 5))
def test_an_interrupted_move_is_finished_by_check(
    library: Library, fox: LibraryImage, step: int
) -> None:
    _interrupt_move(library, fox, step)
    report = check_consistency(library)
    assert [(one.path, one.is_fixed) for one in report.untrashed] == [(fox.path, False)]
    assert check_consistency(library, fix=True).is_ok
    assert (find_image(library, _ID).path.read_bytes(), _files()) == (b"1.0", [])
    assert check_consistency(library).untrashed == []


def _interrupt_move(library: Library, image: LibraryImage, step: int) -> None:
    """Kill the process before this link or unlink: the first writes the information beside it."""
    calls = iter(range(5))
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "link"), (Path, "unlink")):
            plain = getattr(owner, name)

            def count(*args: object, plain: object = plain, **more: object) -> None:
                if next(calls) == step:
                    raise _Killed
                plain(*args, **more)  # type: ignore[operator]

            patch.setattr(owner, name, count)
        with pytest.raises(_Killed):
            move_to_trash(library, image)


class _Killed(BaseException):
    """The process ends here."""


def test_a_changed_file_is_not_moved_unless_it_is_named(
    library: Library, fox: LibraryImage
) -> None:
    fox.path.write_bytes(b"another program's")
    assert move_to_trash(library, fox) is False
    assert (find_image(library, _ID).is_trashed, fox.path.exists()) == (True, True)
    move_back(library, find_image(library, _ID))
    assert move_to_trash(library, fox, fox.path) is True
    assert find_image(library, _ID).path.read_bytes() == b"another program's"


def test_a_new_file_at_the_old_path_is_left_alone(library: Library, fox: LibraryImage) -> None:
    _trash(library, _ID)
    fox.path.write_bytes(b"1.0")
    assert move_to_trash(library, find_image(library, _ID)) is True
    assert check_consistency(library, fix=True).is_ok
    assert delete_images(library, [find_image(library, _ID)]) == []
    assert fox.path.read_bytes() == b"1.0"


def test_an_image_without_a_file_is_trashed_and_restored(
    library: Library, fox: LibraryImage
) -> None:
    os.unlink("fox.png")
    assert move_to_trash(library, fox) is False
    assert find_image(library, _ID).is_trashed
    move_back(library, find_image(library, _ID))
    assert find_image(library, _ID) == fox


@pytest.mark.usefixtures("fox")
def test_images_are_listed_by_the_time_they_were_trashed(library: Library) -> None:
    _trash(library, _ID)
    now = datetime.now(UTC)
    assert [image.id for image in list_trashed(library)] == [_ID]
    assert [image.id for image in list_trashed(library, before=now + timedelta(1))] == [_ID]
    assert list(list_trashed(library, before=now - timedelta(1))) == []


def test_a_deleted_image_is_gone_except_for_the_ledger(library: Library, fox: LibraryImage) -> None:
    change_tags(library, [fox], add=["good"])
    assert delete_images(library, [_trash(library, _ID)]) == []
    assert (_files(), list(library.trash_folder.iterdir())) == ([], [])
    assert set(_count_rows(library).values()) == {0}
    assert sum_usage(library)[0].generations == 1


def test_one_image_of_a_batch_is_deleted(library: Library) -> None:
    record_generation(library, _write_record(1, "a.png", "b.png"))
    delete_images(library, [_trash(library, "00000001.2")])
    assert _files() == ["a.png", "a.png.json"]
    assert _count_rows(library)["generations"] == 1
    assert find_image(library, _ID).path.name == "a.png"


def test_an_image_outside_the_trash_is_not_deleted(library: Library, fox: LibraryImage) -> None:
    with pytest.raises(RequestError) as caught:
        delete_for_good(library, fox)
    assert (caught.value.message, caught.value.remedy) == (
        "00000001 is not in the trash.",
        "First: imagen rm 00000001",
    )
    assert Path("fox.png").is_file()


def test_an_image_on_another_machine_is_neither_trashed_nor_deleted(
    library: Library, fox: LibraryImage
) -> None:
    there = replace(fox, host="attic", sha256="0" * 64)
    with pytest.raises(RequestError, match="00000001 is on another machine, attic"):
        move_to_trash(library, there)
    with pytest.raises(RequestError, match="00000001 is on another machine, attic"):
        delete_for_good(library, replace(there, trashed=datetime.now(UTC)))
    assert Path("fox.png").is_file()


def test_a_machine_with_a_new_name_knows_its_images(library: Library, fox: LibraryImage) -> None:
    with library.writing() as connection:
        connection.execute(update(images).values(host=f"{platform.node()}.lan"))
    trashed = _trash(library, _ID)
    assert (trashed.host, fox.path.exists()) == (platform.node(), False)
    delete_images(library, [trashed])
    assert _count_rows(library)["images"] == 0


def test_an_image_without_a_file_is_deleted(library: Library, fox: LibraryImage) -> None:
    trashed = _trash(library, _ID)
    trashed.path.unlink()
    assert (delete_images(library, [trashed]), _count_rows(library)["images"]) == ([], 0)
    assert fox.path.exists() is False


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_text("changed")])
def test_what_is_not_the_image_any_more_stays(
    library: Library, fox: LibraryImage, make: object
) -> None:
    fox.path.unlink()
    make(fox.path)  # type: ignore[operator]
    assert delete_images(library, [_trash(library, _ID)]) == [fox.path]
    assert (fox.path.exists(), _count_rows(library)["images"]) == (True, 0)


def test_a_file_of_two_images_stays_until_both_are_deleted(library: Library) -> None:
    first = _write_record(1, "fox.png")
    record_all(library, [first, make_record(2, images=first.images)])
    left = delete_images(library, [_trash(library, _ID)])
    assert [path.name for path in left] == ["fox.png"]
    assert find_image(library, "fox.png").id == "00000002"
    assert delete_images(library, [_trash(library, "00000002")]) == []
    assert _files() == []


def test_another_machines_image_at_the_same_path_does_not_keep_a_file(library: Library) -> None:
    first = _write_record(1, "fox.png")
    record_all(library, [first, make_record(2, images=first.images)])
    theirs = update(images).where(images.c.generation == uuid_of(2)).values(host="attic")
    with library.writing() as connection:
        connection.execute(theirs)
    assert delete_images(library, [_trash(library, _ID)]) == []
    assert (_files(), find_image(library, "00000002").host) == ([], "attic")


def test_an_image_whose_file_cannot_be_deleted_stays_in_the_trash(
    library: Library, fox: LibraryImage
) -> None:
    trashed = _trash(library, _ID)
    assert trashed.sidecar is not None
    trashed.sidecar.unlink()
    trashed.sidecar.mkdir()
    with pytest.raises(OutputError, match="cannot be deleted: ") as caught:
        delete_for_good(library, trashed)
    assert caught.value.remedy == "The image is still in the trash."
    assert (trashed.path.is_file(), find_image(library, _ID)) == (True, trashed)
    assert fox.is_trashed is False


def test_deleting_an_image_cancels_its_upload(library: Library) -> None:
    queued = [
        make_delivery(1, "cloud", 0),
        make_delivery(1, "cloud", 1),
        make_delivery(1, "webhook"),
    ]
    record_generation(library, _write_record(1, "a.png", "b.png"), queued)
    delete_images(library, [_trash(library, "00000001.2")])
    left = [(one.delivery.kind, one.delivery.part) for one in list_unsent(library)]
    assert left == [("cloud", 0), ("webhook", 0)]


def test_deleting_an_image_keeps_the_record_that_it_was_sent(library: Library) -> None:
    record_generation(library, _write_record(1, "a.png"), [make_delivery(1, "cloud")])
    (pending,) = claim(library)
    mark_sent(library, pending, {"bucket": "b", "path": "fox.png"})
    delete_images(library, [_trash(library, _ID)])
    assert [one.state for one in deliveries_for(library, uuid_of(1), 0)] == ["sent"]
