"""Truncated images are recognized by their format."""

from __future__ import annotations

import pytest

from imagen.core.image_file import download_fault, is_complete, media_type, png_size

PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x40\0\0\0\x30\x08\x02\0\0\0.)\xebH"
    b"\0\0\0\x02IDATab\xa3\xa1\xe7(\0\0\0\0IEND\xaeB`\x82"
)
JPEG = b"\xff\xd8\xff\xe0thumb\xff\xd8\xff\xd9\xff\xdapixels\xff\xd9"
WEBP = b"RIFF\x08\0\0\0WEBPVP8 "
GIF = b"GIF89a...;"
AVIF = b"\0\0\0\x10ftypavif\0\0\0\0\0\0\0\x0amdat.."
BMP = b"BM\x1e\0\0\0\0\0\0\0pixels"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param(PNG, "image/png", id="png"),
        pytest.param(JPEG, "image/jpeg", id="jpeg"),
        pytest.param(WEBP, "image/webp", id="webp"),
        pytest.param(GIF, "image/gif", id="gif"),
        pytest.param(AVIF, "image/avif", id="avif"),
        pytest.param(BMP, "image/bmp", id="bmp"),
        pytest.param(b"BMW is a car", None, id="a text that begins like a bmp"),
        pytest.param(b"II*\0tags", "image/tiff", id="tiff"),
        pytest.param(b"\0\0\0\x18ftypmp42", None, id="mp4"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_media_type_is_detected_by_the_first_bytes(data: bytes, kind: str | None) -> None:
    """The extension does not matter."""
    assert media_type(data) == kind


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PNG, id="png"),
        pytest.param(PNG + b"a trailer", id="png with a trailer"),
        pytest.param(JPEG, id="jpeg"),
        pytest.param(JPEG + b"\0\0", id="jpeg with a trailer"),
        pytest.param(WEBP, id="webp"),
        pytest.param(GIF + b"\0", id="gif with a zero after it"),
        pytest.param(AVIF, id="avif"),
        pytest.param(AVIF[:16] + b"\0\0\0\0mdat...", id="avif with a box to the end"),
        pytest.param(b"any text", id="something else"),
    ],
)
def test_complete_images_are_complete(data: bytes) -> None:
    """Data after an image is harmless."""
    assert is_complete(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PNG[:-1], id="png without its last byte"),
        pytest.param(PNG[:-12], id="png without its last chunk"),
        pytest.param(PNG[:20], id="png without anything"),
        pytest.param(PNG.replace(b"ab", b"aB"), id="png with another byte among its pixels"),
        pytest.param(GIF[:-1], id="gif without its last byte"),
        pytest.param(AVIF[:-1], id="avif without its last byte"),
        pytest.param(JPEG[:-2], id="jpeg without its end, with a thumbnail's"),
        pytest.param(JPEG[:4], id="jpeg without anything"),
        pytest.param(WEBP[:-1], id="webp without its last byte"),
        pytest.param(b"", id="nothing at all"),
    ],
)
def test_truncated_images_are_not_complete(data: bytes) -> None:
    """The first bytes are right."""
    assert not is_complete(data)


@pytest.mark.parametrize(
    ("data", "name", "told", "what"),
    [
        pytest.param(PNG, "a.png", "image/png", "", id="the image"),
        pytest.param(WEBP, "a.png", "image/webp", "", id="an image of another kind"),
        pytest.param(PNG[:-1], "a.png", "image/png", "came cut short or damaged", id="cut short"),
        pytest.param(
            b"<html>Log in</html>", "a.PNG", "text/html", "is not an image but text/html", id="page"
        ),
        pytest.param(
            b'{"error": "no"}', "a.jpg", "", "is not an image but something else", id="JSON"
        ),
        pytest.param(
            b"no",
            "a.jpg",
            "image/jpeg",
            "is not an image, although its type is given as image/jpeg",
            id="text that is called an image",
        ),
        pytest.param(
            b"\n<!DOCTYPE html>", "a.mp4", "", "is not the file but a web page", id="for a video"
        ),
        pytest.param(
            b"{}", "a.glb", "application/json", "is not the file but application/json", id="a model"
        ),
        pytest.param(b"{}", "a.json", "application/json", "", id="JSON that was asked for"),
        pytest.param(b"<html>", "a.html", "text/html", "", id="a page that was asked for"),
        pytest.param(b"moov", "a.mp4", "video/mp4", "", id="a video"),
        pytest.param(b"", "a.mp4", "", "came cut short or damaged", id="nothing"),
    ],
)
def test_download_fault_reports_a_wrong_file(data: bytes, name: str, told: str, what: str) -> None:
    assert download_fault(data, name, told) == what


def test_png_size_reads_the_header() -> None:
    """The file ends before its first pixel."""
    assert png_size(PNG) == (64, 48)
    assert png_size(JPEG) is None
