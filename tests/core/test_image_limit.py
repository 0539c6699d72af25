"""The limit on the size of decoded images."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imagen.backends import images
from imagen.cli import run
from imagen.comparison.sheet.fonts import system_fonts
from imagen.comparison.sheet.layout import SheetCell, lay_out
from imagen.config import OutputSettings
from imagen.core.image_file import MAX_MEGAPIXELS, image_size, read_image_file
from imagen.core.request import LARGEST_SIDE, Outpaint, Request
from imagen.core.result import Facts, Output, Result
from imagen.core.ticket import Ticket, new_id
from imagen.errors import ConfigError, RequestError
from imagen.inputs.outpaint import Canvas, build_mask, extend_image
from imagen.jobs.model import Job
from imagen.outputs import save_outputs
from imagen.reproduce.drift import measure_similarity

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOO_LARGE = "it has 20000 × 20000 pixels (400 megapixels), and at most 300 megapixels are decoded"
_REMEDY = "Make it smaller, or set IMAGEN_MAX_MEGAPIXELS to decode larger images."


def _png(side: int = 20_000) -> bytes:
    """A PNG of a few bytes whose header claims this side."""
    data = BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    small = data.getvalue()
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]


@pytest.fixture
def _low_limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lower limit, set by another part of the program."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    yield
    assert Image.MAX_IMAGE_PIXELS == 100


def test_the_largest_own_image_is_within_the_limit(recwarn: pytest.WarningsRecorder) -> None:
    assert LARGEST_SIDE**2 < MAX_MEGAPIXELS * 1e6
    Image.new("1", (LARGEST_SIDE, LARGEST_SIDE)).save("large.png")
    image = read_image_file("large.png")
    assert (image.width, image.height) == (LARGEST_SIDE, LARGEST_SIDE)
    assert list(recwarn) == []


def test_an_image_beyond_the_limit_is_refused_as_too_large() -> None:
    Path("fox.png").write_bytes(_png())
    with pytest.raises(RequestError) as caught:
        read_image_file("fox.png")
    assert caught.value.message == f"image: fox.png is too large: {_TOO_LARGE}."
    assert caught.value.remedy == _REMEDY


def test_commands_report_an_image_beyond_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    Path("fox.png").write_bytes(_png())
    assert run(["generate", "a fox", "--image", "fox.png", "-b", "mock", "-q"]) == 2
    assert capsys.readouterr().err == (
        f"imagen: image: fox.png is too large: {_TOO_LARGE}.\n{_REMEDY}\n"
    )


def test_the_image_limit_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 64)).save("fox.png")
    monkeypatch.setenv("IMAGEN_MAX_MEGAPIXELS", "0.004")
    with pytest.raises(RequestError, match=r"64 × 64 pixels \(0\.004096 megapixels\), and at most"):
        read_image_file("fox.png")
    monkeypatch.setenv("IMAGEN_MAX_MEGAPIXELS", "0.0041")
    assert read_image_file("fox.png").width == 64


@pytest.mark.parametrize("text", ["many", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_not_a_number_is_an_error(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (8, 8)).save("fox.png")
    monkeypatch.setenv("IMAGEN_MAX_MEGAPIXELS", text)
    with pytest.raises(ConfigError, match=f"IMAGEN_MAX_MEGAPIXELS is '{text}'; expected"):
        read_image_file("fox.png")


@pytest.mark.usefixtures("_low_limit_of_pillow")
def test_pillows_limit_is_neither_applied_nor_changed() -> None:
    Image.new("RGB", (64, 64), "white").save("fox.png")
    image = read_image_file("fox.png")
    assert image.decode().size == image_size(BytesIO(image.data)) == (64, 64)
    canvas = Canvas(kept=(0, 0, 64, 60), sides=Outpaint(right=1))
    assert extend_image(image.decode(), canvas).size == canvas.size
    assert build_mask(canvas, 0, Image.new("L", (64, 64))).size == canvas.size


def test_an_output_is_saved_however_large_it_is() -> None:
    ticket = Ticket(id=new_id(), backend="mock", request=Request(prompt="a fox"), receipt={})
    output = Output(data=_png(), media_type="image/png")
    (saved,) = save_outputs(
        Result(outputs=(output,), facts=Facts()),
        ticket,
        OutputSettings(directory=Path("outputs")),
        asked=ticket.request,
        now=Job(ticket=ticket, request=ticket.request).began,
        rescue=Path("rescued"),
    )
    assert (saved.width, saved.height, saved.warning) == (20_000, 20_000, "")
    assert saved.path.read_bytes().endswith(_png()[33:])


def test_sdcpp_returns_an_image_beyond_the_limit() -> None:
    Image.new("RGB", (8, 8)).save("fox.png")
    request = Request(image="fox.png", mask="fox.png")
    assert images.check_image(_png()) == (20_000, 20_000)
    assert images.resize_image(_png(), (64, 64)) == _png()
    assert images.restore_unmasked(_png(), request) == _png()


def test_the_price_of_an_image_beyond_the_limit_is_known() -> None:
    assert image_size(BytesIO(_png())) == (20_000, 20_000)


def test_the_contact_sheet_labels_an_image_beyond_the_limit() -> None:
    Path("fox.png").write_bytes(_png())
    cells = [SheetCell(title="x", image=Path("fox.png"))]
    layout = lay_out(
        cells, system_fonts(), title="", note="", columns=1, side=256, elsewhere="the record"
    )
    assert [cell.why for cell in layout.cells] == [f"fox.png is not shown: {_TOO_LARGE}."]


def test_an_image_beyond_the_limit_is_not_compared() -> None:
    Path("old.png").write_bytes(_png())
    Path("new.png").write_bytes(_png(19_999))
    assert measure_similarity(Path("old.png"), Path("new.png")) is None
