"""Marks: tags, stars, the trash, and what is deleted for good."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, update
from support.library_samples import make_delivery, make_image, make_record, record_all, uuid_of

from imagen.errors import LibraryError, RequestError
from imagen.library import Query, find_image, record_generation, search_images, sum_usage
from imagen.library.outbox import claim, deliveries_for, list_unsent, mark_sent
from imagen.library.schema import generations, images, prompts, tags, thumbnails
from imagen.library.tags import change_tags, parse_tag, purge, set_rating, trash, untrash

if TYPE_CHECKING:
    from imagen.library import GenerationRecord, Library, LibraryImage, StoredImage

_TABLES = (generations, images, prompts, tags, thumbnails)


def _drawn(number: int, *names: str) -> GenerationRecord:
    """The generation of this number, whose pictures are these files, with their sidecars."""
    pictures = tuple(_written(number, index, Path(name)) for index, name in enumerate(names))
    return make_record(number, images=pictures)


def _written(number: int, index: int, path: Path) -> StoredImage:
    path.write_bytes(f"{number}.{index}".encode())
    sidecar = path.with_name(f"{path.name}.json")
    sidecar.write_text("{}")
    found = make_image(number, index, path.absolute())
    return found.model_copy(update={"sidecar": sidecar.absolute()})


def _trashed(library: Library, id: str) -> LibraryImage:
    trash(library, [find_image(library, id)])
    return find_image(library, id)


def _rows(library: Library) -> dict[str, int]:
    with library.reading() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in _TABLES
        }


@pytest.fixture
def fox(library: Library) -> LibraryImage:
    """A picture that lies nowhere."""
    record_generation(library, make_record(1))
    return find_image(library, "00000001")


def _tags(library: Library) -> tuple[str, ...]:
    return find_image(library, "00000001").tags


def test_tags_are_given_and_taken_away(library: Library, fox: LibraryImage) -> None:
    change_tags(library, [fox], add=["good", "fox"])
    assert _tags(library) == ("fox", "good")
    change_tags(library, [fox], add=["print"], remove=["fox", "never given"])
    assert _tags(library) == ("good", "print")


def test_a_tag_may_be_given_twice(library: Library, fox: LibraryImage) -> None:
    change_tags(library, [fox, fox], add=["good", "Good"])
    change_tags(library, [fox], add=["good"])
    assert _tags(library) == ("good",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Good", "good"),
        ("  to   print ", "to print"),
        ("CAFE\u0301", "café"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("🦊", "🦊"),
        ("-draft", "-draft"),
        ("x" * 100, "x" * 100),
    ],
)
def test_a_tag_is_kept_in_one_form(text: str, name: str) -> None:
    assert parse_tag(text) == name


@pytest.mark.parametrize("text", ["", "  ", "a,b", "a\x1b[31m", "a\0", "\u202eevil", "x" * 101])
def test_what_is_no_tag_is_refused(library: Library, fox: LibraryImage, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        change_tags(library, [fox], add=["good", text])
    assert caught.value.message.startswith(f"{text!r} can't be a tag: it must be a word or a few")
    assert _tags(library) == ()


def test_stars_are_given_and_taken_away(library: Library, fox: LibraryImage) -> None:
    set_rating(library, [fox], 4)
    assert find_image(library, "00000001").rating == 4
    set_rating(library, [fox], None)
    assert find_image(library, "00000001").rating is None


@pytest.mark.parametrize("stars", [0, 6, -1])
def test_what_is_no_rating_is_refused(library: Library, fox: LibraryImage, stars: int) -> None:
    with pytest.raises(RequestError) as caught:
        set_rating(library, [fox], stars)
    assert caught.value.message == f"A rating is 1 to 5, not {stars}."


def test_marks_of_thousands_go_at_once(library: Library) -> None:
    pictures = tuple(make_image(1, index) for index in range(1020))
    record_all(library, [make_record(number, images=pictures) for number in range(2)])
    found = search_images(library, Query(), limit=5000).images
    set_rating(library, found, 2)
    trash(library, found)
    marked = search_images(library, Query(in_trash=True, rating=2), limit=5000).images
    assert len(marked) == 2040


def test_the_trash_keeps_files(library: Library) -> None:
    record_generation(library, _drawn(1, "fox.png"))
    assert _trashed(library, "00000001").is_trashed is True
    assert Path("fox.png").is_file()
    untrash(library, [find_image(library, "00000001")])
    assert find_image(library, "00000001").is_trashed is False


def test_what_is_purged_is_gone_but_for_the_ledger(library: Library) -> None:
    record_generation(library, _drawn(1, "fox.png"))
    change_tags(library, [find_image(library, "00000001")], add=["good"])
    assert purge(library, [_trashed(library, "00000001")]) == []
    assert [path.name for path in Path().iterdir()] == []
    assert set(_rows(library).values()) == {0}
    assert sum_usage(library)[0].generations == 1


def test_of_a_batch_only_what_is_meant_is_purged(library: Library) -> None:
    record_generation(library, _drawn(1, "a.png", "b.png"))
    purge(library, [_trashed(library, "00000001.2")])
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "a.png.json"]
    assert _rows(library)["generations"] == 1
    assert find_image(library, "00000001").path.name == "a.png"


def test_what_is_not_in_the_trash_is_not_purged(library: Library) -> None:
    record_all(library, [_drawn(1, "fox.png"), _drawn(2, "owl.png")])
    both = [_trashed(library, "00000001"), find_image(library, "00000002")]
    with pytest.raises(RequestError) as caught:
        purge(library, both)
    assert (caught.value.message, caught.value.remedy) == (
        "00000002 is not in the trash.",
        "First: imagen rm 00000002",
    )
    assert Path("fox.png").is_file()


def test_what_lies_on_another_machine_is_not_purged(library: Library) -> None:
    record_generation(library, make_record(1))
    there = replace(_trashed(library, "00000001"), host="attic")
    with pytest.raises(RequestError) as caught:
        purge(library, [there])
    assert caught.value.message == (
        "00000001 lies on the machine 'attic', and can be purged only there."
    )


def test_a_machine_may_have_got_another_name(library: Library) -> None:
    record_generation(library, _drawn(1, "fox.png"))
    with library.writing() as connection:
        connection.execute(update(images).values(host=f"{platform.node()}.lan"))
    purge(library, [_trashed(library, "00000001")])
    assert not Path("fox.png").exists()


def test_a_file_that_is_gone_already_is_no_obstacle(library: Library) -> None:
    record_generation(library, _drawn(1, "fox.png"))
    os.unlink("fox.png")
    purge(library, [_trashed(library, "00000001")])
    assert (list(Path().iterdir()), _rows(library)["images"]) == ([], 0)


def test_what_took_the_place_of_a_purged_picture_stays(library: Library) -> None:
    record_generation(library, _drawn(1, "fox.png"))
    Path("fox.png").write_bytes(b"somebody's own")
    kept_files = purge(library, [_trashed(library, "00000001")])
    assert [path.name for path in kept_files] == ["fox.png"]
    assert Path("fox.png").read_bytes() == b"somebody's own"
    assert _rows(library)["images"] == 0


def test_a_file_that_is_another_picture_s_too_stays(library: Library) -> None:
    first = _drawn(1, "fox.png")
    record_all(library, [first, make_record(2, images=first.images)])
    assert [path.name for path in purge(library, [_trashed(library, "00000001")])] == ["fox.png"]
    assert find_image(library, "fox.png").id == "00000002"
    assert purge(library, [_trashed(library, "00000002")]) == []
    assert not Path("fox.png").exists()


def test_a_picture_whose_file_can_not_be_deleted_stays(library: Library) -> None:
    record_generation(library, _drawn(1, "fox.png"))
    os.unlink("fox.png.json")
    Path("fox.png.json").mkdir()  # which nobody can unlink
    with pytest.raises(LibraryError) as caught:
        purge(library, [_trashed(library, "00000001")])
    assert caught.value.message.endswith("It stays in the trash.")
    assert (Path("fox.png").is_file(), _rows(library)["images"]) == (True, 1)


def test_what_is_purged_is_not_sent_to_the_cloud_any_more(library: Library) -> None:
    told = [make_delivery(1, "cloud", 0), make_delivery(1, "cloud", 1), make_delivery(1, "webhook")]
    record_generation(library, _drawn(1, "a.png", "b.png"), told)
    purge(library, [_trashed(library, "00000001.2")])
    left = [(w.delivery.kind, w.delivery.part) for w in list_unsent(library)]
    assert left == [("cloud", 0), ("webhook", 0)]


def test_that_a_purged_picture_was_sent_is_not_forgotten(library: Library) -> None:
    record_generation(library, _drawn(1, "a.png"), [make_delivery(1, "cloud")])
    (waiting,) = claim(library)
    mark_sent(library, waiting, {"bucket": "b", "path": "fox.png"})
    purge(library, [_trashed(library, "00000001")])
    assert [w.state for w in deliveries_for(library, uuid_of(1), 0)] == ["sent"]


def test_where_a_picture_lies_in_the_cloud_is_known(library: Library) -> None:
    record_generation(
        library,
        make_record(1, images=(make_image(1, 0), make_image(1, 1))),
        [make_delivery(1, "cloud", 1)],
    )
    (waiting,) = claim(library)
    mark_sent(library, waiting, {"bucket": "b", "path": "2026-11-27/fox.png"})
    assert find_image(library, "00000001.2").cloud == {
        "bucket": "b",
        "path": "2026-11-27/fox.png",
    }
    assert find_image(library, "00000001").cloud == {}
    assert find_image(library, uuid_of(1)).cloud == {}


def test_a_file_of_another_machine_at_the_same_path_does_not_keep_this_one(
    library: Library,
) -> None:
    first = _drawn(1, "fox.png")
    record_all(library, [first, make_record(2, images=first.images)])
    theirs = update(images).where(images.c.generation == uuid_of(2)).values(host="attic")
    with library.writing() as connection:
        connection.execute(theirs)
    assert purge(library, [_trashed(library, "00000001")]) == []
    assert not Path("fox.png").exists()
    assert find_image(library, "00000002").host == "attic"


def test_a_file_that_can_not_be_read_is_not_taken_for_the_picture(library: Library) -> None:
    record_generation(library, _drawn(1, "fox.png"))
    Path("fox.png").unlink()
    Path("fox.png").mkdir()
    with pytest.raises(LibraryError, match=r"fox\.png can't be read: "):
        purge(library, [_trashed(library, "00000001")])
    assert (Path("fox.png").is_dir(), _rows(library)["images"]) == (True, 1)
