"""One image, by its ID, the beginning of one, or its file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update
from support.library_samples import NOON, make_image, make_record, record_all, trash_images

from imagen.errors import OutputError, RequestError
from imagen.library import find_image
from imagen.library.schema import images

if TYPE_CHECKING:
    from imagen.library import GenerationRecord, Library


def _drawn(number: int, name: str, data: bytes) -> GenerationRecord:
    """The generation of this number, with this file."""
    Path(name).write_bytes(data)
    return make_record(number, images=(make_image(number, 0, Path(name).absolute()),))


@pytest.fixture
def batch(library: Library) -> Library:
    """A generation of two images, and another whose id begins alike."""
    other = make_record(0x00000012, "an owl", began=NOON.replace(hour=13))
    record_all(library, [make_record(1, images=(make_image(1, 0), make_image(1, 1))), other])
    return library


@pytest.mark.parametrize(
    ("word", "id"),
    [
        pytest.param("00000001", "00000001", id="its ID"),
        pytest.param("00000001.2", "00000001.2", id="the second of a batch"),
        pytest.param("00000001.1", "00000001", id="the first of a batch"),
        pytest.param("00000001-0000-4000-8000-000000000000", "00000001", id="all of it"),
        pytest.param("00000001-0000-4000-8000-000000000000.2", "00000001.2", id="all, second"),
        pytest.param("00000012", "00000012", id="another"),
        pytest.param(" 00000001-0000 ", "00000001", id="blanks"),
        pytest.param("00000001-0000-4000-8000-00000000000", "00000001", id="all but one"),
    ],
)
def test_find_image_accepts_ids(batch: Library, word: str, id: str) -> None:
    assert find_image(batch, word).id == id


def test_find_image_refuses_an_ambiguous_beginning(batch: Library) -> None:
    with pytest.raises(RequestError) as caught:
        find_image(batch, "0000")
    assert caught.value.message.splitlines() == [
        "'0000' matches several; type more of it:",
        "00000012-0000-4000-8000-000000000000  an owl",
        "00000001-0000-4000-8000-000000000000  a fox",
    ]


@pytest.mark.parametrize(
    "word", ["00000001.3", "00000001.0", "fff", "00", "", "owl.png", "0000000g", "%", "0" * 40]
)
def test_find_image_refuses_unknown_words(batch: Library, word: str) -> None:
    with pytest.raises(RequestError) as caught:
        find_image(batch, word)
    assert caught.value.message == (
        f"Image {word!r} was not found in the library, and there is no such file."
    )
    assert caught.value.remedy == "List images and their IDs with: imagen history"


def test_find_image_accepts_a_file(library: Library) -> None:
    record_all(library, [_drawn(1, "fox.png", b"fox"), _drawn(2, "owl.png", b"owl")])
    assert find_image(library, "fox.png").id == "00000001"
    assert find_image(library, str(Path("owl.png").absolute())).id == "00000002"
    assert find_image(library, "../place/fox.png").id == "00000001"


def test_find_image_finds_a_moved_file_by_content(library: Library) -> None:
    record_all(library, [_drawn(1, "fox.png", b"fox")])
    shutil.move("fox.png", "moved.png")
    assert find_image(library, "moved.png").id == "00000001"


def test_find_image_finds_a_changed_file_by_path(library: Library) -> None:
    record_all(library, [_drawn(1, "fox.png", b"fox")])
    Path("fox.png").write_bytes(b"painted over")
    assert find_image(library, "fox.png").id == "00000001"


def test_find_image_prefers_the_image_whose_content_is_at_the_path(library: Library) -> None:
    record_all(library, [_drawn(1, "fox.png", b"first"), _drawn(2, "fox.png", b"second")])
    assert find_image(library, "fox.png").id == "00000002"
    Path("fox.png").write_bytes(b"first")
    assert find_image(library, "fox.png").id == "00000001"


def test_find_image_prefers_content_over_path(library: Library) -> None:
    record_all(library, [_drawn(1, "fox.png", b"fox"), _drawn(2, "owl.png", b"owl")])
    os.replace("owl.png", "fox.png")
    assert find_image(library, "fox.png").id == "00000002"


def test_find_image_refuses_an_unknown_file(library: Library) -> None:
    Path("fox.png").write_bytes(b"fox")
    with pytest.raises(RequestError) as caught:
        find_image(library, "fox.png")
    assert caught.value.message == "The image fox.png is not in the library."
    assert caught.value.remedy == "Add its folder with: imagen library add DIR"


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may read everything")
def test_find_image_refuses_an_unreadable_file(library: Library) -> None:
    Path("fox.png").write_bytes(b"fox")
    Path("fox.png").chmod(0)
    with pytest.raises(OutputError, match=r"fox\.png cannot be read: Permission denied"):
        find_image(library, "fox.png")


def test_find_image_finds_images_in_the_trash(library: Library) -> None:
    record_all(library, [make_record(1)])
    trash_images(library, [find_image(library, "00000001")])
    assert find_image(library, "00000001").is_trashed is True


def test_find_image_ignores_paths_of_other_machines(library: Library) -> None:
    record_all(library, [_drawn(1, "fox.png", b"theirs")])
    with library.writing() as connection:
        connection.execute(update(images).values(host="elsewhere"))
    Path("fox.png").write_bytes(b"ours")
    with pytest.raises(RequestError, match="is not in the library"):
        find_image(library, "fox.png")
