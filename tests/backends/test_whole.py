"""A picture that was cut short is told by its own format."""

from __future__ import annotations

import pytest

from imagen.backends.whole import is_whole, media_type, png_size

PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x40\0\0\0\x30\x08\x02\0\0\0xxxx"
    b"\0\0\0\x02IDATabXXXX\0\0\0\0IEND\xaeB`\x82"
)
JPEG = b"\xff\xd8\xff\xe0thumb\xff\xd8\xff\xd9\xff\xdapixels\xff\xd9"
WEBP = b"RIFF\x08\0\0\0WEBPVP8 "
GIF = b"GIF89a...;"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param(PNG, "image/png", id="png"),
        pytest.param(JPEG, "image/jpeg", id="jpeg"),
        pytest.param(WEBP, "image/webp", id="webp"),
        pytest.param(GIF, "image/gif", id="gif"),
        pytest.param(b"\0\0\0\x18ftypmp42", None, id="mp4"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_a_picture_is_known_by_how_it_begins(data: bytes, kind: str | None) -> None:
    """Whatever its name ends with."""
    assert media_type(data) == kind


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PNG, id="png"),
        pytest.param(PNG + b"a trailer", id="png with a trailer"),
        pytest.param(JPEG, id="jpeg"),
        pytest.param(JPEG + b"\0\0", id="jpeg with a trailer"),
        pytest.param(WEBP, id="webp"),
        pytest.param(b"any text", id="something else"),
    ],
)
def test_a_whole_file_is_whole(data: bytes) -> None:
    """What follows a picture does no harm."""
    assert is_whole(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PNG[:-1], id="png without its last byte"),
        pytest.param(PNG[:-12], id="png without its last chunk"),
        pytest.param(PNG[:20], id="png without anything"),
        pytest.param(JPEG[:-2], id="jpeg without its end, with a thumbnail's"),
        pytest.param(JPEG[:4], id="jpeg without anything"),
        pytest.param(WEBP[:-1], id="webp without its last byte"),
        pytest.param(b"", id="nothing at all"),
    ],
)
def test_a_file_cut_short_is_not_whole(data: bytes) -> None:
    """Though its first bytes are right."""
    assert not is_whole(data)


def test_a_png_says_its_size() -> None:
    """Before any pixel."""
    assert png_size(PNG) == (64, 48)
    assert png_size(JPEG) is None
