"""Facets: what the images that match can be filtered by, in both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from support.library_samples import make_image, make_record, record_all, trash_images

from imagen.errors import RequestError
from imagen.library import Query, images_of
from imagen.library.albums import change_album, create_album
from imagen.library.facets import count_facets
from imagen.library.tags import change_tags, set_rating

if TYPE_CHECKING:
    from imagen.library import Library

_SQUARE = {"width": 64, "height": 64}


@pytest.fixture
def filled(library: Library) -> Library:
    """Two red foxes of the studio, a blue one of the cloud, and one in the trash."""
    square = make_image(2).model_copy(update=_SQUARE)
    dream, grey = {"model": "dream"}, {"model": "grey"}
    record_all(
        library,
        [
            make_record(1, "a red fox", images=(make_image(1, 0), make_image(1, 1)), facts=dream),
            make_record(
                2,
                "a blue fox",
                backend="cloud",
                images=(square,),
                facts=grey,
                loras=("ink",),
                estimated_usd=0.02,
                began=datetime(2026, 10, 31, 23, 30, tzinfo=UTC),
            ),
            make_record(3, "a red owl", facts=grey),
        ],
    )
    red, blue, owl = (images_of(library, make_record(number).id) for number in (1, 2, 3))
    set_rating(library, red[:1], 5)
    change_tags(library, [*red, *blue], add=["fox"])
    change_tags(library, blue, add=["sea"])
    album = create_album(library, "foxes")
    change_album(library, album.id, add=[*blue, *owl])
    trash_images(library, owl)
    return library


def test_everything_outside_the_trash_is_counted(filled: Library) -> None:
    facets = count_facets(filled, Query())
    assert facets.total == 3
    assert facets.backends == {"studio": 2, "cloud": 1}
    assert facets.models == {"dream": 2, "grey": 1}
    assert facets.ratings == {"5": 1}
    assert facets.tags == {"fox": 3, "sea": 1}
    assert facets.loras == {"ink": 1}
    assert list(facets.albums.values()) == [1]
    assert facets.shapes == {"landscape": 2, "square": 1}
    assert facets.sizes == {"64x48": 2, "64x64": 1}
    assert facets.costs == {"free": 2, "paid": 1}
    assert facets.days == {"2026-11-27": 2, "2026-10-31": 1}
    assert list(facets.months) == ["2026-11", "2026-10"]


def test_a_facet_ignores_its_own_filter_and_heeds_the_others(filled: Library) -> None:
    facets = count_facets(filled, Query(models=("grey",), text="fox"))
    assert facets.total == 1
    assert facets.models == {"dream": 2, "grey": 1}
    assert facets.backends == {"cloud": 1}
    assert facets.tags == {"fox": 1, "sea": 1}
    assert facets.loras == {"ink": 1}
    assert facets.costs == {"paid": 1}
    shaped = count_facets(filled, Query(shape="square"))
    assert shaped.shapes == {"landscape": 2, "square": 1}
    assert shaped.backends == {"cloud": 1}


def test_only_a_filter_by_one_thing_counts_all_of_it(filled: Library) -> None:
    facets = count_facets(filled, Query(backend="studio"))
    assert facets.backends == {"studio": 2, "cloud": 1}
    assert facets.models == {"dream": 2}


def test_a_second_tag_narrows_the_first(filled: Library) -> None:
    assert count_facets(filled, Query(tags=("sea",))).tags == {"fox": 1, "sea": 1}


def test_the_trash_has_facets_of_its_own(filled: Library) -> None:
    facets = count_facets(filled, Query(in_trash=True))
    assert (facets.total, facets.models) == (1, {"grey": 1})


def test_days_are_those_of_the_users_clock(filled: Library) -> None:
    facets = count_facets(filled, Query(), utc_offset_minutes=60)
    assert facets.days == {"2026-11-27": 2, "2026-11-01": 1}
    assert facets.months == {"2026-11": 3}
    text = count_facets(filled, Query(text="blue"), utc_offset_minutes=60)
    assert text.days == {"2026-11-01": 1}


def test_an_empty_library_has_no_facets(library: Library) -> None:
    facets = count_facets(library, Query())
    assert (facets.total, facets.models, facets.costs, facets.days) == (0, {}, {}, {})


def test_a_text_without_a_word_is_refused(filled: Library) -> None:
    with pytest.raises(RequestError, match="no word"):
        count_facets(filled, Query(text="-"))
