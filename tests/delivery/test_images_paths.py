"""Paths in the cloud are plain ASCII and unique."""

from __future__ import annotations

import pytest

from imagen.delivery import images, supabase


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        pytest.param("a-red-fox", "a-red-fox", id="ASCII"),
        pytest.param("füchse-im-schnee", "fuchse-im-schnee", id="marks"),
        pytest.param("straße-nach-łódź", "strasse-nach-lodz", id="letters of their own"),
        pytest.param("猫-and-dog", "and-dog", id="some of it"),
        pytest.param("雪の中の狐", "e854b1ade654", id="none of it"),
    ],
)
def test_a_slug_is_converted_to_ascii(slug: str, expected: str) -> None:
    assert images.ascii_slug(slug) == expected


@pytest.mark.parametrize("path", ["2026-11-24/a-1.png", "a.b_c/d.png", "x"])
def test_a_plain_path_is_valid(path: str) -> None:
    assert supabase.is_valid_path(path)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/./b", "a b", "é.png", "a?b"])
def test_a_path_out_of_the_bucket_is_not_valid(path: str) -> None:
    assert not supabase.is_valid_path(path)


def test_the_last_candidate_path_is_unique() -> None:
    paths = list(images.candidate_paths("day/fox-1", ".PNG", "id"))
    assert paths[:3] == ["day/fox-1.png", "day/fox-1-2.png", "day/fox-1-3.png"]
    assert (len(paths), paths[-1]) == (21, "day/fox-1-id.png")


def test_an_unusual_suffix_becomes_bin() -> None:
    assert next(images.candidate_paths("fox", ".p ng", "id")) == "fox.bin"
