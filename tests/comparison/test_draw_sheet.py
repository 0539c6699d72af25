"""Drawing a contact sheet from any input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.comparison.sheet.draw import draw_sheet
from imagen.comparison.sheet.fonts import FontSet, system_fonts
from imagen.comparison.sheet.layout import LONGEST_SIDE, MOST_PIXELS, SheetCell
from imagen.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

_RED = (200, 30, 30)


@pytest.fixture
def fonts() -> FontSet:
    """The fonts of a machine without system fonts and raqm."""
    return FontSet((), shaping=False)


def _image(path: Path, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> Path:
    Image.new("RGB", size, _RED).convert(mode).save(path)
    return path


def _sheet(path: Path) -> Image.Image:
    with Image.open(path) as sheet:
        sheet.load()
        return sheet


def _has(sheet: Image.Image, colour: tuple[int, int, int]) -> bool:
    return colour in {found for _, found in sheet.getcolors(2**24) or ()}


def test_a_sheet_scales_images_to_their_cells(tmp_path: Path, fonts: FontSet) -> None:
    cells = [SheetCell(title="flux", image=_image(tmp_path / "a.png", (1024, 512)))]
    draw_sheet(cells, tmp_path / "sheet.png", title="a fox", columns=1, fonts=fonts)
    sheet = _sheet(tmp_path / "sheet.png")
    reds = sum(n for n, colour in sheet.getcolors(2**24) or () if colour == _RED)
    assert (sheet.mode, sheet.format, reds) == ("RGB", "PNG", 512 * 256)


def test_the_same_cells_give_an_identical_sheet(tmp_path: Path, fonts: FontSet) -> None:
    cells = [SheetCell(title=f"m{i}", image=_image(tmp_path / f"{i}.png")) for i in range(5)]
    draw_sheet(cells, tmp_path / "one.png", title="a fox", columns=3, fonts=fonts)
    draw_sheet(cells, tmp_path / "two.png", title="a fox", columns=3, fonts=fonts)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_failed_cell_is_labelled(tmp_path: Path, fonts: FontSet) -> None:
    cells = [SheetCell(title="sd35", error="The engine can't be reached.")]
    draw_sheet(cells, tmp_path / "sheet.png", title="a fox", columns=1, fonts=fonts)
    assert _has(_sheet(tmp_path / "sheet.png"), (244, 228, 222))


@pytest.mark.parametrize("count", [1, 2, 3, 9, 100])
def test_a_sheet_holds_any_number_of_cells(count: int, tmp_path: Path, fonts: FontSet) -> None:
    image = _image(tmp_path / "a.png", (600, 600))
    cells = [SheetCell(title=f"model {i}", details="seed 1", image=image) for i in range(count)]
    draw_sheet(cells, tmp_path / "sheet.png", title="a fox", columns=10, fonts=fonts)
    width, height = _sheet(tmp_path / "sheet.png").size
    assert max(width, height) <= LONGEST_SIDE
    assert width * height <= MOST_PIXELS


def test_many_cells_shrink_to_the_limits_of_a_sheet(tmp_path: Path, fonts: FontSet) -> None:
    image = _image(tmp_path / "a.png", (600, 600))
    cells = [SheetCell(title=f"model {i}", text="words " * 500, image=image) for i in range(100)]
    draw_sheet(cells, tmp_path / "sheet.png", title="words " * 5000, columns=1, fonts=fonts)
    assert max(_sheet(tmp_path / "sheet.png").size) <= LONGEST_SIDE


@pytest.mark.parametrize(
    "size",
    [(10000, 16), (16, 10000), (1, 1), (512, 512), (513, 511), (3000, 2000)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_a_sheet_shows_images_of_any_shape(
    size: tuple[int, int], tmp_path: Path, fonts: FontSet
) -> None:
    cells = [SheetCell(title="flux", image=_image(tmp_path / "a.png", size))]
    draw_sheet(cells, tmp_path / "sheet.png", title="a fox", columns=1, fonts=fonts)
    assert _has(_sheet(tmp_path / "sheet.png"), _RED)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no image at all", id="nonsense"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="a signature alone"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, id="a broken chunk"),
        pytest.param(b"\xff\xd8\xff\xe0" + b"\x00" * 50, id="a broken JPEG"),
        pytest.param(b"RIFF\x10\x00\x00\x00WEBPVP8 ", id="a broken WebP"),
    ],
)
def test_a_sheet_labels_files_that_are_not_images(
    content: bytes, tmp_path: Path, fonts: FontSet
) -> None:
    (tmp_path / "a.png").write_bytes(content)
    cells = [SheetCell(title="flux", image=tmp_path / "a.png")]
    draw_sheet(cells, tmp_path / "sheet.png", title="a fox", columns=1, fonts=fonts)
    assert _has(_sheet(tmp_path / "sheet.png"), (244, 228, 222))


def test_a_sheet_labels_truncated_images(tmp_path: Path, fonts: FontSet) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((300, 300), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:5000])
    draw_sheet(
        [SheetCell(title="x", image=path)], tmp_path / "s.png", title="", columns=1, fonts=fonts
    )
    assert _has(_sheet(tmp_path / "s.png"), (244, 228, 222))


def test_a_sheet_labels_missing_images(tmp_path: Path, fonts: FontSet) -> None:
    cells = [SheetCell(title="x", image=tmp_path / "gone.png")]
    draw_sheet(cells, tmp_path / "s.png", title="", columns=1, fonts=fonts)
    assert _has(_sheet(tmp_path / "s.png"), (244, 228, 222))


def test_a_sheet_labels_images_beyond_the_size_limit(tmp_path: Path, fonts: FontSet) -> None:
    Image.new("1", (20000, 20000)).save(tmp_path / "a.png")
    cells = [SheetCell(title="x", image=tmp_path / "a.png")]
    draw_sheet(cells, tmp_path / "s.png", title="", columns=1, fonts=fonts)
    assert _has(_sheet(tmp_path / "s.png"), (244, 228, 222))


def test_a_sheet_shows_an_image_of_100_megapixels(tmp_path: Path, fonts: FontSet) -> None:
    Image.new("L", (10000, 10000), 255).save(tmp_path / "a.png")
    cells = [SheetCell(title="x", image=tmp_path / "a.png")]
    draw_sheet(cells, tmp_path / "s.png", title="", columns=1, fonts=fonts)
    assert _has(_sheet(tmp_path / "s.png"), (255, 255, 255))


_TEXTS = [
    pytest.param("", id="empty"),
    pytest.param(" \n\t\r\n ", id="blank"),
    pytest.param("x" * 100_000, id="a word of 100 kB"),
    pytest.param("a fox " * 17_000, id="words of 100 kB"),
    pytest.param("\n" * 100_000, id="lines of 100 kB"),
    pytest.param("雪の中で眠る狐" * 5_000, id="Japanese"),
    pytest.param("ثعلب أحمر نائم في الثلج 12 (with English)", id="Arabic"),
    pytest.param("שועל אדום ישן בשלג", id="Hebrew"),
    pytest.param("สุนัขจิ้งจอกแดง हिन्दी ሀ", id="Thai, Hindi, Amharic"),
    pytest.param("🦊❄️ 👩‍👩‍👧 🇩🇪 👍🏽", id="emoji"),
    pytest.param("".join(map(chr, range(32))) + "\x7f\x85", id="control characters"),
    pytest.param("\u202eevil\u2066\u2028\u2029\ufeff", id="directions"),
    pytest.param("\ud800 half", id="half a character"),
    pytest.param("\u0301\u0301\u200d\ufe0f", id="marks upon nothing"),
    pytest.param("\U0010ffff\U000e0001\u0378", id="characters that are none"),
]


@pytest.mark.parametrize("text", _TEXTS)
def test_a_sheet_shows_any_text_without_fonts_and_shaping(
    text: str, tmp_path: Path, fonts: FontSet
) -> None:
    cells = [
        SheetCell(title=text, details=text, text=text, remark=text),
        SheetCell(title="x", error=text),
    ]
    draw_sheet(cells, tmp_path / "s.png", title=text, note=text, columns=2, fonts=fonts)
    assert max(_sheet(tmp_path / "s.png").size) <= LONGEST_SIDE


@pytest.mark.parametrize("text", _TEXTS)
def test_a_sheet_shows_any_text_with_the_fonts_of_this_machine(text: str, tmp_path: Path) -> None:
    cells = [
        SheetCell(title=text, details=text, text=text, remark=text),
        SheetCell(title="x", error=text),
    ]
    draw_sheet(cells, tmp_path / "s.png", title=text, columns=2, fonts=system_fonts())
    assert max(_sheet(tmp_path / "s.png").size) <= LONGEST_SIDE


def test_a_sheet_without_cells_has_its_title(tmp_path: Path, fonts: FontSet) -> None:
    draw_sheet([], tmp_path / "s.png", title="a fox", columns=3, fonts=fonts)
    assert _sheet(tmp_path / "s.png").format == "PNG"


def test_a_sheet_replaces_an_older_one(tmp_path: Path, fonts: FontSet) -> None:
    (tmp_path / "s.png").write_bytes(b"old")
    draw_sheet([SheetCell(title="x")], tmp_path / "s.png", title="", columns=1, fonts=fonts)
    assert _sheet(tmp_path / "s.png").format == "PNG"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("part")] == []


def test_an_unwritable_sheet_is_an_error(tmp_path: Path, fonts: FontSet) -> None:
    with pytest.raises(OutputError, match=r"The contact sheet cannot be written to .*s\.png: No"):
        draw_sheet(
            [SheetCell(title="x")], tmp_path / "no" / "s.png", title="", columns=1, fonts=fonts
        )
