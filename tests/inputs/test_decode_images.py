"""Decoding: upright, 8 bits per channel, sRGB."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from support.input_samples import write_image

from imagen.errors import RequestError
from imagen.inputs.decode import decode_file, encode_png, flatten


def _two_halves(name: str, **options: Any) -> str:
    """Red on the left, blue on the right; 4 × 2 pixels."""
    image = Image.new("RGB", (4, 2), "red")
    image.paste((0, 0, 255), (2, 0, 4, 2))
    image.save(name, **options)
    return name


def test_the_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = decode_file(_two_halves("held.png", exif=exif), "image")
    assert file.size == (2, 4)
    assert (file.image.getpixel((0, 0)), file.image.getpixel((0, 3))) == ((255, 0, 0), (0, 0, 255))
    assert not file.is_untouched


@pytest.mark.parametrize(
    ("mode", "name", "colour", "seen"),
    [
        ("L", "a.png", 200, (200, 200, 200)),
        ("1", "a.png", 1, (255, 255, 255)),
        ("P", "a.gif", 0, (0, 0, 0)),
        ("CMYK", "a.tiff", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", "a.png", 51400, (200, 200, 200)),
        ("F", "a.tiff", 0.5, (128, 128, 128)),
        ("F", "b.tiff", 200.0, (200, 200, 200)),
        ("RGB", "a.bmp", (1, 2, 3), (1, 2, 3)),
    ],
    ids=["grey", "bits", "palette", "CMYK", "16 bits", "fractions", "floats", "BMP"],
)
def test_every_pixel_mode_is_decoded_to_rgb(
    mode: str, name: str, colour: Any, seen: tuple[int, int, int]
) -> None:
    file = decode_file(write_image(name, (3, 2), colour, mode), "image")
    assert (file.image.mode, file.size) == ("RGB", (3, 2))
    assert file.image.getpixel((1, 1)) == seen
    assert not file.is_untouched


def test_sixteen_bit_files_with_eight_bit_values_are_not_darkened() -> None:
    file = decode_file(write_image("a.png", (3, 2), 200, "I;16"), "image")
    assert file.image.getpixel((0, 0)) == (200, 200, 200)


@pytest.mark.parametrize(
    ("alpha", "mode"), [(255, "RGB"), (10, "RGBA")], ids=["says nothing", "says something"]
)
def test_decoding_keeps_transparency(alpha: int, mode: str) -> None:
    file = decode_file(write_image("a.png", (2, 2), (9, 9, 9, alpha), "RGBA"), "image")
    assert (file.image.mode, file.is_transparent) == (mode, mode == "RGBA")


def _profile(name: str, *, red_is_green: bool) -> bytes:
    """An sRGB profile under another name; two of its primaries may be exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = data.replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))
    swapped = data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    return swapped if red_is_green else data


def test_colour_profiles_are_converted_to_srgb() -> None:
    profile = _profile("odd.", red_is_green=True)
    file = decode_file(write_image("a.png", (2, 2), (255, 0, 0), icc_profile=profile), "image")
    assert file.image.getpixel((0, 0)) == (0, 255, 0)
    assert not file.is_untouched


@pytest.mark.parametrize(
    "profile",
    [_profile("sRGB", red_is_green=False), b"garbage"],
    ids=["sRGB", "damaged"],
)
def test_an_srgb_profile_leaves_the_image_unchanged(profile: bytes) -> None:
    file = decode_file(write_image("a.png", (2, 2), (255, 0, 0), icc_profile=profile), "image")
    assert file.image.getpixel((0, 0)) == (255, 0, 0)
    assert file.is_untouched


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_a_plain_image_is_untouched(name: str) -> None:
    assert decode_file(write_image(name), "image").is_untouched


def test_an_image_with_private_metadata_is_not_untouched() -> None:
    texts = PngInfo()
    texts.add_text("prompt", "my secret garden")
    file = decode_file(write_image("a.png", pnginfo=texts), "image")
    assert not file.is_untouched
    assert b"secret" not in encode_png(file.image)


def test_gps_metadata_is_not_passed_on() -> None:
    exif = Image.Exif()
    exif[0x010E] = "at home"
    file = decode_file(write_image("a.jpg", exif=exif), "image")
    assert not file.is_untouched
    assert b"at home" not in encode_png(file.image)


def test_the_first_frame_of_an_animation_is_used_with_a_warning() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    file = decode_file("a.gif", "references.0")
    assert file.image.getpixel((0, 0)) == (255, 0, 0)
    assert file.warnings == ("references.0: a.gif has 3 frames; the first one is used.",)


def test_the_second_image_of_an_mpo_file_is_ignored() -> None:
    """The second image is a preview, or the other eye's view."""
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save("a.jpg", "MPO", save_all=True, append_images=[second])
    file = decode_file("a.jpg", "image")
    assert (file.source.kind, file.warnings) == ("MPO", ())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (None, r"image: there is no file fox\.png\."),
        (b"<html>not found</html>", r"image: fox\.png is not an image that imagen can read\."),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08", r"image: fox\.png cannot be decoded: "),
    ],
    ids=["missing", "no image", "cut short"],
)
def test_files_that_are_not_images_are_errors(data: bytes | None, sentence: str) -> None:
    if data is not None:
        Path("fox.png").write_bytes(data)
    with pytest.raises(RequestError, match=sentence):
        decode_file("fox.png", "image")


def test_a_truncated_image_is_an_error() -> None:
    write_image("fox.jpg", (200, 200))
    Path("fox.jpg").write_bytes(Path("fox.jpg").read_bytes()[:-400])
    with pytest.raises(RequestError, match=r"image: fox\.jpg cannot be decoded: "):
        decode_file("fox.jpg", "image")


def test_an_unsupported_variant_is_an_error() -> None:
    sizes = (124, 0x1007, 8, 8, 0, 0, 0)
    header = struct.pack("<4s7I44x2I4s10I", b"DDS ", *sizes, 32, 4, b"XXXX", *[0] * 10)
    Path("fox.dds").write_bytes(header)
    with pytest.raises(RequestError, match=r"image: fox\.dds cannot be decoded: Unimplemented"):
        decode_file("fox.dds", "image")


def test_a_file_beyond_the_size_limit_is_not_read_to_its_end() -> None:
    with Path("fox.png").open("wb") as file:
        file.truncate(2**40)  # it takes no room, and would take all of the memory
    with pytest.raises(RequestError, match=r"^image: fox\.png is larger than 256 MiB"):
        decode_file("fox.png", "image")


def test_damaged_metadata_does_not_prevent_decoding() -> None:
    write_image("fox.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode_file("fox.jpg", "image").size == (64, 48)


@pytest.mark.parametrize(
    ("colour", "seen"), [("white", (255, 255, 255)), ("black", (0, 0, 0))], ids=str
)
def test_flatten_places_transparency_on_a_colour(colour: str, seen: tuple[int, int, int]) -> None:
    image = flatten(Image.new("RGBA", (2, 2), (200, 0, 0, 0)), colour)
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", seen)
