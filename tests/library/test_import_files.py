"""`imagen library add`: images in folders are added, each once."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from sqlalchemy import select
from support.library_samples import make_image, make_record, record_all
from support.other_tools_images import A1111, comfyui, png

from imagen.cli import run
from imagen.library import (
    Query,
    add_files,
    check_consistency,
    find_image,
    images_of,
    load_record,
    search_images,
)
from imagen.library.import_files import AddedFiles, AddProblem
from imagen.library.schema import images, thumbnails
from imagen.outputs.provenance import find_provenance

if TYPE_CHECKING:
    from imagen.library import Library

_HERE = Path("album")


def _generated(name: str, *arguments: str) -> None:
    command = ["generate", "a fox", "--size", "64x48", "-q", "-o", f"album/{name}", *arguments]
    assert run(command) == 0


def _digest(sidecar: str) -> str:
    return sidecar.split('"sha256": "')[1].split('"')[0]


def _add(library: Library, **options: bool) -> AddedFiles:
    return add_files(library, [_HERE], **options)  # type: ignore[arg-type]


def test_add_files_adds_a_folder_and_its_subfolders(library: Library) -> None:
    png("album/cat.png", parameters=A1111)
    comfyui("album/deep/er/fox.png")
    png("album/plain.png")
    _generated("ours.png")
    added = _add(library)
    assert Counter(one.tool for one in added.added) == {
        "a1111": 1,
        "comfyui": 1,
        "": 1,
        "imagen": 1,
    }
    found = {image.path.name: image for image in search_images(library, Query()).images}
    assert sorted(found) == ["cat.png", "fox.png", "ours.png", "plain.png"]
    assert (found["cat.png"].prompt, found["cat.png"].seed) == ("a cat, (masterpiece:1.2)", 1234)
    assert found["fox.png"].model == "sd_xl_base_1.0.safetensors"


def _ring(start: str, end: str) -> str:
    """A graph whose links lead back to where they came from."""
    nodes = {
        start: {"class_type": "BasicGuider", "inputs": {"conditioning": [end, 0]}},
        end: {"class_type": "BasicGuider", "inputs": {"conditioning": [start, 0]}},
        "3": {"class_type": "SamplerCustomAdvanced", "inputs": {"guider": [start, 0]}},
    }
    return json.dumps(nodes)


def test_a_file_with_invalid_metadata_does_not_stop_others(library: Library) -> None:
    deep = '{"a":' * 300 + "1" + "}" * 300
    png("album/a-deep-entry.png", imagen='{"imagen": 1, "request": ' + deep + "}")
    png("album/b-deep-graph.png", prompt=deep)
    png("album/c-many.png", prompt='{"a": [' + "{}," * 200_000 + "1]}")
    png("album/d-ring.png", prompt=_ring("1", "2"))
    png("album/e-infinite-slot.png", prompt=_ring("1", "2").replace("0]", "Infinity]"))
    png("album/f-half.png", imagen='{"imagen": 1, "request": {"prompt": "\\ud83d"}, "seed": 1e999}')
    png("album/g-huge.png", imagen='{"imagen": 1, "seed": 1' + "0" * 30 + ', "index": -1}')
    path = png("album/h-beside.png", parameters=A1111)
    path.with_name("h-beside.png.json").write_text('{"imagen": 1, "graph": ' + deep + "}")
    png("album/z-good.png", parameters=A1111)
    added = _add(library)
    troubles = {trouble.path.name[0]: trouble.what for trouble in added.problems}
    assert "nested more than 100 levels deep" in troubles["a"]
    assert "nested more than 100 levels deep" in troubles["b"]
    assert "holds more than 200,000 values" in troubles["c"]
    taken = {one.path.name[0]: one.tool for one in added.added}
    assert taken.keys() | troubles.keys() == set("abcdefghz")
    assert (taken["f"], taken["g"], taken["h"], taken["z"]) == (
        "imagen",
        "imagen",
        "a1111",
        "a1111",
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "cannot be added: out of memory."),
        (RuntimeError("odd"), "cannot be added: its metadata is not valid (RuntimeError: odd)."),
    ],
    ids=["memory", "anything"],
)
def test_an_unexpected_error_is_reported_for_its_file(
    library: Library, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    read = Path.read_bytes

    def fail_for_one(path: Path) -> bytes:
        if path.name == "odd.png":
            raise error
        return read(path)

    png("album/odd.png")
    png("album/z-good.png", parameters=A1111)
    monkeypatch.setattr(Path, "read_bytes", fail_for_one)
    added = _add(library)
    assert [(one.path.name, one.what) for one in added.problems] == [
        ("odd.png", f"{Path('album/odd.png')} {words}")
    ]
    assert [one.path.name for one in added.added] == ["z-good.png"]


@pytest.mark.parametrize("ending", ["webp", "avif", "jpg"])
def test_an_image_of_any_format_is_added_with_its_record(library: Library, ending: str) -> None:
    _generated(f"fox.{ending}", "--no-sidecar")
    (taken,) = _add(library).added
    assert taken.path.name == f"fox.{ending}"
    (image,) = search_images(library, Query()).images
    assert (image.prompt, image.width, image.height) == ("a fox", 64, 48)
    with library.reading() as connection:
        assert len(connection.execute(select(thumbnails.c.webp)).all()) == 1


def test_a_huge_image_is_added_without_a_thumbnail(library: Library) -> None:
    """Its pixels are never decoded: a few kilobytes may claim any number of them."""
    _HERE.mkdir()
    for name, side in (("huge", 7000), ("large", 3000)):
        Image.new("1", (side, side)).save(_HERE / f"{name}.png")
    assert len(_add(library).added) == 2
    with library.reading() as connection:
        chosen = select(images.c.path).where(images.c.id.in_(select(thumbnails.c.image)))
        paths = connection.execute(chosen).scalars().all()
    assert [Path(path).name for path in paths] == ["large.png"]


def test_adding_a_folder_again_changes_nothing(library: Library) -> None:
    png("album/cat.png", parameters=A1111)
    _add(library)
    copyfile("album/cat.png", "album/copy.png")
    assert _add(library) == AddedFiles(known=2)
    assert len(search_images(library, Query()).images) == 1


def test_a_copy_in_the_same_folder_is_added_once(library: Library) -> None:
    png("album/cat.png", parameters=A1111)
    copyfile("album/cat.png", "album/copy.png")
    added = _add(library)
    assert (len(added.added), added.known) == (1, 1)


def test_images_of_one_batch_become_one_generation(library: Library) -> None:
    _generated("fox.png", "--count", "3", "--latent-batch", "--seed", "5")
    added = _add(library)
    assert len({one.id for one in added.added}) == 1
    batch = images_of(library, added.added[0].id)
    assert [(one.number, one.path.name, one.seed) for one in batch] == [
        (0, "fox.png", 5),
        (1, "fox-2.png", 6),
        (2, "fox-3.png", 7),
    ]


def test_another_image_of_a_known_batch_becomes_its_own_generation(library: Library) -> None:
    _generated("fox.png", "--count", "2", "--seed", "5")
    Path("later").mkdir()
    for name in ("fox-2.png", "fox-2.png.json"):
        Path(f"album/{name}").rename(f"later/{name}")
    first = _add(library).added[0].id
    second = add_files(library, [Path("later")]).added[0].id
    assert first != second
    assert find_image(library, "later/fox-2.png").seed == 6


def test_an_edited_copy_becomes_its_own_generation(library: Library) -> None:
    _generated("fox.png")
    text = Path("album/fox.png.json").read_text()
    _generated("other.png", "--seed", "8")
    digest = _digest(Path("album/other.png.json").read_text())
    Path("album/other.png.json").write_text(text.replace(_digest(text), digest))
    added = _add(library)
    assert len({one.id for one in added.added}) == 2


def test_an_unreadable_file_is_reported_and_others_are_added(library: Library) -> None:
    png("album/b.png")
    Path("album/a.png").write_bytes(Path("album/b.png").read_bytes()[:300])
    added = _add(library)
    assert added.problems == (
        AddProblem(
            _HERE / "a.png", "album/a.png cannot be read: the PNG is cut short at byte 300."
        ),
    )
    assert [one.path.name for one in added.added] == ["b.png"]


def test_other_files_and_hidden_files_are_skipped(library: Library) -> None:
    png("album/thumbnails/a.png")
    png("album/.cache/b.png")
    png("album/.imagen-1.part.png")
    Path("album/c.png").write_text("not an image")
    Path("album/d.txt").write_text("a text")
    Path("album/fox.png.json").write_text("{}")
    assert _add(library) == AddedFiles(skipped=1)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_pipe_named_like_an_image_is_skipped(library: Library) -> None:
    png("album/cat.png", parameters=A1111)
    os.mkfifo("album/pipe.png")
    assert [one.path.name for one in _add(library).added] == ["cat.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_symbolic_links_are_not_followed(library: Library) -> None:
    png("outside/a.png")
    png("album/b.png")
    os.symlink(Path("outside").absolute(), "album/link")
    os.symlink(Path("outside/a.png").absolute(), "album/a.png")
    os.symlink(_HERE.absolute(), "album/round")
    assert [one.path.name for one in _add(library).added] == ["b.png"]


def test_adding_a_moved_image_updates_its_path(library: Library) -> None:
    png("album/cat.png", parameters=A1111)
    _add(library)
    Path("album/cat.png").rename("album/tom.png")
    added = _add(library)
    assert (added.known, added.moved) == (1, (Path("album/tom.png").absolute(),))
    assert search_images(library, Query()).images[0].path.name == "tom.png"


def test_a_dry_run_reports_and_writes_nothing(library: Library) -> None:
    png("album/cat.png", parameters=A1111)
    assert len(_add(library, is_dry=True).added) == 1
    assert search_images(library, Query()).images == ()


def test_the_record_of_another_tools_image_is_loaded_again(library: Library) -> None:
    path = png("album/cat.png", parameters=A1111)
    _add(library)
    record = load_record(library, find_image(library, str(path)))
    assert (record.source, record.backend) == ("parameters", "")
    assert find_provenance(record).values["clip_skip"] == 2


def test_characters_that_databases_refuse_do_not_stop_an_import(library: Library) -> None:
    png("album/a.png", parameters="a \0 cat\nSteps: 4, Seed: 7, Size: 64x48")
    comfyui("album/b.png", prompt="half \ud83d and \0")
    added = _add(library)
    assert (len(added.added), added.problems) == (2, ())


def test_a_copy_is_not_a_move_while_the_original_exists(library: Library) -> None:
    first = png("album/cat.png", parameters=A1111).read_bytes()
    Path("other").mkdir()
    Path("other/cat.png").write_bytes(first)
    paths = [Path("album/cat.png"), Path("other/cat.png")]
    record_all(
        library,
        [
            make_record(n, images=(make_image(n, 0, path.absolute()),))
            for n, path in enumerate(paths)
        ],
    )
    Path("third").mkdir()
    copyfile("album/cat.png", "third/cat.png")
    Path("album/cat.png").unlink()
    assert add_files(library, [Path("third")]).moved == ()


def test_adding_a_missing_image_clears_the_missing_mark(library: Library) -> None:
    png("album/cat.png", parameters=A1111)
    _add(library)
    Path("album/cat.png").rename("cat.png")
    check_consistency(library, fix=True)
    Path("elsewhere").mkdir()
    Path("cat.png").rename("elsewhere/cat.png")
    assert add_files(library, [Path("elsewhere")]).moved == (Path("elsewhere/cat.png").absolute(),)
    (image,) = search_images(library, Query()).images
    assert (image.path, image.is_missing) == (Path("elsewhere/cat.png").absolute(), False)
