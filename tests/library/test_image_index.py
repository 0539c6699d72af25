"""The index, the revision and the counts are alike in SQLite and PostgreSQL."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from support.library_samples import make_image, make_record, record_all, uuid_of

from imagen.library import (
    Query,
    find_image,
    find_image_by_id,
    find_images_by_uid,
    record_generation,
)
from imagen.library.image_index import build_index, read_revision
from imagen.library.search import find_image_at
from imagen.library.tags import change_tags, count_values, set_rating
from imagen.library.trash import move_to_trash

if TYPE_CHECKING:
    from imagen.library import Library


def _ids(index: bytes) -> list[str]:
    """The generation and the number of each image in an index."""
    (count,) = struct.unpack_from("<I", index, 24)
    keys = struct.unpack_from(f"<{count}q", index, 32)
    start = 32 + 8 * count
    generations = [index[start + 16 * n : start + 16 * n + 16].hex() for n in range(count)]
    return [f"{one}.{(key & 1023) + 1}" for one, key in zip(generations, keys, strict=True)]


def test_the_index_finds_what_a_search_finds(library: Library) -> None:
    batch = tuple(make_image(2, index) for index in range(3))
    record_all(library, [make_record(1), make_record(2, "a cat", backend="b", images=batch)])
    cats = [f"{uuid_of(2).replace('-', '')}.{number}" for number in (3, 2, 1)]
    everything = _ids(build_index(library, Query()))
    assert sorted(everything[:3]) == sorted(cats) or sorted(everything[1:]) == sorted(cats)
    assert sorted(_ids(build_index(library, Query(text="cat")))) == sorted(cats)
    assert sorted(_ids(build_index(library, Query(backend="b")))) == sorted(cats)
    first = build_index(library, Query(), None, 2)
    after = struct.unpack_from("<q", first, 8)[0]
    assert _ids(first) + _ids(build_index(library, Query(), after)) == everything
    assert build_index(library, Query(text="dog"))[:4] == b"IMGX"


def test_each_change_of_an_image_changes_the_revision(library: Library) -> None:
    seen = [read_revision(library)]
    record_generation(library, make_record(1))
    seen.append(read_revision(library))
    image = find_image(library, f"{uuid_of(1)}.1")
    for change in (
        lambda: change_tags(library, [image], add=["x"]),
        lambda: set_rating(library, [image], 2),
        lambda: move_to_trash(library, image),
    ):
        change()
        seen.append(read_revision(library))
    assert len({*seen}) == len(seen)
    assert read_revision(library) == seen[-1]


def test_values_are_counted_outside_the_trash(library: Library) -> None:
    record_all(library, [make_record(n, backend="ab"[n % 2]) for n in range(1, 6)])
    images = [find_image(library, f"{uuid_of(n)}.1") for n in range(1, 6)]
    change_tags(library, images, add=["x"])
    change_tags(library, images[:2], add=["y"])
    set_rating(library, images[:3], 5)
    move_to_trash(library, images[0])
    assert count_values(library, "backend") == {"a": 2, "b": 2}
    assert count_values(library, "tag") == {"x": 4, "y": 1}
    assert count_values(library, "rating") == {"5": 2}
    assert count_values(library, "model") == {"dream.safetensors": 4}


def test_images_are_found_by_ids_and_paths(library: Library) -> None:
    record_all(library, [make_record(n) for n in (1, 2)])
    uids = [f"{uuid_of(n)}.1" for n in (2, 1)]
    found = find_images_by_uid(library, [uids[0], "a\0", f"{uuid_of(1)}.9", uids[1]])
    assert [image.uid for image in found] == uids
    assert find_image_by_id(library, "last").uid in uids
    assert find_image_at(library, found[0].path) == found[0]
    assert find_image_at(library, found[0].path / "x") is None
