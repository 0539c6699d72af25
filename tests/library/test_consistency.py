"""`imagen library check`: the library compared with the disk."""

from __future__ import annotations

import json
import os
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, literal, select, text, update
from support.library_samples import make_image, make_record
from support.other_tools_images import A1111, noise, png

from imagen.cli import run
from imagen.library import (
    Query,
    add_files,
    check_consistency,
    count_images,
    forget_missing,
    record_generation,
    search_images,
    sum_usage,
)
from imagen.library.schema import images, thumbnails

if TYPE_CHECKING:
    from imagen.library import ConsistencyReport, Library

_PATH = Path("album/cat.png")


@pytest.fixture
def cat(library: Library) -> Library:
    """A library of one image."""
    png(_PATH, parameters=A1111)
    add_files(library, [Path("album")])
    return library


def _paths(report: ConsistencyReport, name: str) -> list[tuple[str, bool]]:
    return [(one.path.name, one.is_fixed) for one in getattr(report, name)]


def test_check_finds_no_problem_in_an_unchanged_library(cat: Library) -> None:
    report = check_consistency(cat)
    assert (report.checked, report.is_ok) == (1, True)


def test_check_reports_and_notes_a_missing_image_but_keeps_it(cat: Library) -> None:
    _PATH.unlink()
    assert _paths(check_consistency(cat), "missing") == [("cat.png", False)]
    assert not search_images(cat, Query()).images[0].is_missing
    report = check_consistency(cat, fix=True)
    assert (report.is_ok, _paths(report, "missing")) == (False, [("cat.png", False)])
    assert search_images(cat, Query()).images[0].is_missing


def test_missing_images_are_searched_for(cat: Library) -> None:
    png("album/tom.png", parameters=A1111)
    add_files(cat, [Path("album")])
    _PATH.unlink()
    check_consistency(cat, fix=True)
    missing = Query(is_missing=True)
    assert [image.path.name for image in search_images(cat, missing).images] == ["cat.png"]
    assert (
        count_images(cat, missing),
        count_images(cat, Query(is_missing=True, text="-cat x")),
    ) == (1, 0)


def test_forget_missing_deletes_the_row_of_a_missing_image(cat: Library) -> None:
    png("album/tom.png", parameters=A1111)
    add_files(cat, [Path("album")])
    _PATH.unlink()
    report = check_consistency(cat)
    forget_missing(cat, report)
    assert (report.is_ok, report.missing) == (True, [])
    assert _paths(report, "forgotten") == [("cat.png", False)]
    assert [image.path.name for image in search_images(cat, Query()).images] == ["tom.png"]
    assert check_consistency(cat).is_ok


def test_forget_missing_keeps_an_image_that_returned(cat: Library) -> None:
    data = _PATH.read_bytes()
    _PATH.unlink()
    report = check_consistency(cat, fix=True)
    _PATH.write_bytes(data)
    forget_missing(cat, report)
    assert (report.forgotten, count_images(cat, Query())) == ([], 1)


def test_forget_missing_keeps_the_ledger(cat: Library) -> None:
    record_generation(cat, make_record(1))  # its file does not exist
    report = check_consistency(cat)
    forget_missing(cat, report)
    assert [total.generations for total in sum_usage(cat)] == [1]
    assert (len(report.forgotten), count_images(cat, Query())) == (1, 1)


def test_check_keeps_the_first_time_an_image_was_missing(cat: Library) -> None:
    _PATH.unlink()
    check_consistency(cat, fix=True)
    with cat.writing() as connection:
        connection.execute(update(images).values(missing_ms=7))
    check_consistency(cat, fix=True)
    with cat.reading() as connection:
        assert connection.execute(select(images.c.missing_ms)).scalar() == 7


def test_an_image_of_another_size_is_changed_whatever_its_time(cat: Library) -> None:
    _PATH.write_bytes(b"\x89PNG and more")
    os.utime(_PATH, (1, 1))
    assert _paths(check_consistency(cat), "changed") == [("cat.png", False)]


def test_another_known_image_with_the_same_content_is_not_its_new_path(cat: Library) -> None:
    Path("album/tom.png").write_bytes(_PATH.read_bytes())
    path = Path("album/tom.png").absolute()
    record_generation(cat, make_record(1, images=(make_image(1, 0, path),)))
    _PATH.unlink()
    report = check_consistency(cat)
    assert (_paths(report, "missing"), report.moved) == ([("cat.png", False)], [])


def test_check_clears_the_missing_mark_of_a_returned_image(cat: Library) -> None:
    data = _PATH.read_bytes()
    _PATH.unlink()
    check_consistency(cat, fix=True)
    _PATH.write_bytes(data)
    report = check_consistency(cat, fix=True)
    assert (_paths(report, "returned"), report.is_ok) == ([("cat.png", True)], True)
    assert not search_images(cat, Query()).images[0].is_missing


def test_check_finds_a_moved_image_by_its_content(cat: Library) -> None:
    png("album/other.png")
    _PATH.rename("album/tom.png")
    found = check_consistency(cat).moved[0]
    assert (found.path.name, found.now, found.is_fixed) == (
        "cat.png",
        Path("album/tom.png").absolute(),
        False,
    )
    assert check_consistency(cat, fix=True).is_ok
    assert search_images(cat, Query()).images[0].path.name == "tom.png"


def test_a_file_of_the_same_size_is_not_taken_for_a_moved_image(cat: Library) -> None:
    data = _PATH.read_bytes()
    _PATH.unlink()
    Path("album/tom.png").write_bytes(data[:-1] + b"\0")
    report = check_consistency(cat)
    assert (_paths(report, "moved"), _paths(report, "missing")) == ([], [("cat.png", False)])


@pytest.mark.parametrize("grown", [b"", b"x"], ids=["of the same size", "of another size"])
def test_check_reports_a_changed_image(cat: Library, grown: bytes) -> None:
    data = _PATH.read_bytes()
    _PATH.write_bytes(data[:-13] + b"x" + data[-12:] + grown)
    later = _PATH.stat().st_mtime + 3600
    os.utime(_PATH, (later, later))
    report = check_consistency(cat, fix=True)
    assert (_paths(report, "changed"), report.is_ok) == ([("cat.png", False)], False)


def test_an_image_with_only_a_new_modification_time_is_unchanged(cat: Library) -> None:
    later = _PATH.stat().st_mtime + 3600
    os.utime(_PATH, (later, later))
    assert check_consistency(cat).is_ok


def test_check_writes_a_lost_sidecar_again(library: Library) -> None:
    noise().save("den.png")
    line = "generate x --image den.png --size 64x48 --seed 5 -q -o album/fox.png"
    assert run(line.split()) == 0
    add_files(library, [Path("album")])
    beside = Path("album/fox.png.json")
    before = json.loads(beside.read_text())
    beside.unlink()
    assert _paths(check_consistency(library), "sidecars") == [("fox.png", False)]
    assert check_consistency(library, fix=True).is_ok
    after = json.loads(beside.read_text())
    same = ("imagen", "sha256", "seed", "index", "ticket", "backend", "request", "resolved")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert (after["inputs"], after["receipt"]) == (before["inputs"], before["receipt"])


def test_check_writes_a_sidecar_beside_a_moved_image(library: Library) -> None:
    assert run(["generate", "x", "--size", "64x48", "-q", "-o", "album/fox.png"]) == 0
    add_files(library, [Path("album")])
    Path("album/fox.png").rename("album/tod.png")
    report = check_consistency(library, fix=True)
    assert (_paths(report, "moved"), report.is_ok) == ([("fox.png", True)], True)
    assert json.loads(Path("album/tod.png.json").read_text())["resolved"]["prompt"] == "x"


def test_check_counts_and_deletes_orphaned_thumbnails(library: Library) -> None:
    _orphan_a_thumbnail(library)
    assert (check_consistency(library).thumbnails, check_consistency(library).is_ok) == (
        1,
        False,
    )
    assert check_consistency(library, fix=True).is_ok
    with library.reading() as connection:
        assert 1 not in connection.scalars(select(thumbnails.c.image)).all()


def _orphan_a_thumbnail(library: Library) -> None:
    """Such a row can only come about where the database did not watch."""
    unwatched = ["ALTER TABLE thumbnails DROP CONSTRAINT thumbnails_image_fkey"]
    if library.is_sqlite:
        unwatched = ["COMMIT", "PRAGMA foreign_keys=OFF", "BEGIN IMMEDIATE"]
    with library.writing() as connection:
        for statement in unwatched:
            connection.execute(text(statement))
        connection.execute(insert(thumbnails).values(image=1, webp=b"x"))


def test_check_skips_images_of_other_machines(cat: Library) -> None:
    with cat.writing() as connection:
        connection.execute(update(images).values(host="another machine"))
    _PATH.unlink()
    report = check_consistency(cat, fix=True)
    assert (report.checked, report.elsewhere, report.is_ok) == (0, 1, True)


def test_check_reads_many_images_in_batches(library: Library) -> None:
    path = png(_PATH).absolute()
    images = tuple(make_image(index=number, path=path) for number in range(1001))
    record_generation(library, make_record(images=images))
    assert check_consistency(library).checked == 1001


def test_check_goes_on_after_a_sidecar_that_cannot_be_written(cat: Library) -> None:
    _PATH.with_name("cat.png.json").write_text("somebody's own")
    with cat.writing() as connection:
        connection.execute(update(images).values(sidecar=str(Path("gone.json").absolute())))
    report = check_consistency(cat, fix=True)
    assert (_paths(report, "sidecars"), report.is_ok) == ([("cat.png", False)], False)
    assert _PATH.with_name("cat.png.json").read_text() == "somebody's own"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no such files")
def test_check_goes_on_past_files_it_cannot_read(
    cat: Library,
) -> None:
    _PATH.rename("album/tom.png")
    Path("album/a-link-to-nowhere.png").symlink_to("nowhere.png")
    with closing(socket.socket(socket.AF_UNIX)) as odd:  # it has no bytes and can't be opened
        odd.bind("album/a-socket")
    with cat.writing() as connection:
        connection.execute(insert(images).from_select(*_copy_of_an_empty_one()))
    report = check_consistency(cat)
    assert [(one.path.name, one.now and one.now.name) for one in report.moved] == [
        ("cat.png", "tom.png")
    ]
    assert _paths(report, "missing") == [("empty.png", False)]


def _copy_of_an_empty_one() -> tuple[list[str], Any]:
    """Another image, of no bytes, whose file is missing."""
    other = {"id": 77, "number": 2, "size_bytes": 0, "sha256": "0" * 64}
    other |= {"path": str(Path("album/empty.png").absolute()), "sidecar": None}
    names = [column.name for column in images.c]
    values = (literal(other[n]).label(n) if n in other else images.c[n] for n in names)
    return names, select(*values)
