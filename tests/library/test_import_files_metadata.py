"""What the library reads from an image that it did not record."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image
from support.other_tools_images import A1111, INVOKEAI, SDCPP, comfyui, graph, noise, png, webp

from imagen.cli import run
from imagen.core.request import Lora, Request
from imagen.errors import OutputError
from imagen.library.import_files import build_imported_record, is_image, read_image


def test_read_image_keeps_the_ticket_and_time_of_an_imagen_image() -> None:
    assert run(["generate", "a fox", "--size", "64x48", "--seed", "5", "-q", "-o", "fox.png"]) == 0
    sidecar = json.loads(Path("fox.png.json").read_text())
    found = read_image(Path("fox.png"))
    assert (found.provenance.tool, found.generation, found.dated_by) == (
        "imagen",
        sidecar["ticket"],
        "sidecar",
    )
    assert found.created.isoformat(timespec="seconds") == sidecar["created"]
    entry = build_imported_record([found], found.generation)
    assert (entry.backend, entry.kind, entry.source) == ("mock", "mock", "import")
    assert entry.ticket.request.seed == 5
    assert entry.ticket.receipt["width"].outcome == "applied"
    assert entry.request == Request(prompt="a fox", width=64, height=48, seed=5)
    assert entry.images[0].sidecar == Path("fox.png.json").absolute()


@pytest.mark.parametrize(
    ("texts", "tool", "expected"),
    [
        pytest.param(
            {"parameters": A1111},
            "a1111",
            Request(
                prompt="a cat, (masterpiece:1.2)",
                negative="blurry, lowres",
                steps=20,
                cfg=7,
                seed=1234,
                width=512,
                height=768,
                sampler="dpmpp_2m",
                scheduler="karras",
                loras=(Lora(name="ink", strength=0.8),),
            ),
            id="A1111",
        ),
        pytest.param(
            {"parameters": SDCPP},
            "sd.cpp",
            Request(
                prompt="A sunflower field",
                negative="Blue sky",
                steps=30,
                cfg=5,
                guidance=3.5,
                seed=1375127038,
                width=512,
                height=512,
                sampler="dpmpp_2m_v2",
                scheduler="karras",
            ),
            id="sd.cpp",
        ),
        pytest.param(
            {"invokeai_metadata": json.dumps(INVOKEAI)},
            "invokeai",
            Request(
                prompt="a castle",
                negative="blurry",
                steps=30,
                cfg=7,
                seed=42,
                width=1024,
                height=768,
                sampler="dpmpp_2m",
                scheduler="karras",
                loras=(Lora(name="ink", strength=0.6),),
            ),
            id="InvokeAI",
        ),
    ],
)
def test_read_image_reads_the_settings_of_another_tool(
    texts: dict[str, str], tool: str, expected: Request
) -> None:
    found = read_image(png("x.png", **texts))
    assert (found.provenance.tool, found.request) == (tool, expected)
    assert (found.width, found.height, found.media_type) == (64, 48, "image/png")
    assert found.sha256 == sha256(Path("x.png").read_bytes()).hexdigest()


def test_a_comfyui_graph_is_stored_as_the_payload() -> None:
    found = read_image(comfyui("x.png", negative="blurry"))
    entry = build_imported_record([found], found.generation)
    assert entry.ticket.payload == graph(negative="blurry")
    assert (entry.backend, entry.kind) == ("comfyui", "comfyui")
    assert entry.facts["model"] == "sd_xl_base_1.0.safetensors"
    assert entry.images[0].seed == 99


def test_a_comfyui_graph_is_read_from_webp() -> None:
    exif = Image.Exif()
    exif[0x010F] = "workflow:{}"
    exif[0x0110] = "prompt:" + json.dumps(graph())
    found = read_image(webp("x.webp", exif))
    assert (found.provenance.tool, found.request.prompt) == ("comfyui", "a glass fox")


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        pytest.param(
            {0x9011: "+02:00"}, datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC), id="with its zone"
        ),
        pytest.param({}, datetime(2024, 5, 6, 7, 8, 9).astimezone(), id="without"),
    ],
)
def test_an_image_without_a_sidecar_is_dated_by_exif(
    zone: dict[int, str], expected: datetime
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Ensign"
    exif.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09"} | zone)
    for form in ("webp", "jpg", "png"):
        path = webp(f"x.{form}", exif)
        if form == "png":  # the time is known without a look at the pixels
            path.write_bytes(path.read_bytes().replace(b"IDAT", b"iDAT"))
        found = read_image(path)
        assert (found.created, found.dated_by) == (expected, "exif")


def test_a_file_with_an_invalid_modification_time_is_dated_now() -> None:
    path = png("x.png")
    try:
        os.utime(path, (2**40, 2**40))
    except (OverflowError, OSError):
        pytest.skip("this file system has no such time")
    assert read_image(path).created.year < 2200


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "9999:01:01 00:00:00", "soon"])
def test_an_image_without_exif_is_dated_by_its_modification_time(taken: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = taken
    path = webp("x.webp", exif)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    found = read_image(path)
    assert (found.created, found.dated_by) == (
        datetime.fromtimestamp(1_700_000_000, UTC),
        "file",
    )


def test_an_image_without_metadata_is_recorded_as_unknown() -> None:
    found = read_image(png("x.png"))
    entry = build_imported_record([found], found.generation)
    assert (found.provenance.tool, entry.backend, entry.request) == ("", "unknown", Request())
    assert entry.facts == {"model": "", "models": [], "width": 64, "height": 48}


def test_the_same_bytes_have_the_same_generation_id_at_any_path() -> None:
    data = png("x.png").read_bytes()
    Path("y.png").write_bytes(data)
    assert read_image(Path("x.png")).generation == read_image(Path("y.png")).generation
    assert read_image(png("z.png")).generation != read_image(Path("x.png")).generation


@pytest.mark.parametrize("ticket", ["../../x", "5", None, "3C4AD4A2-9D0A-4A5C-8B60-5F6D5BE54B63"])
def test_an_invalid_ticket_is_not_used_as_the_id(ticket: str | None) -> None:
    path = png("x.png")
    told = {"imagen": 1, "sha256": sha256(path.read_bytes()).hexdigest(), "ticket": ticket}
    Path("x.png.json").write_text(json.dumps(told))
    found = read_image(path)
    assert found.generation == found.content_id


def test_values_that_a_request_cannot_hold_are_omitted() -> None:
    found = read_image(
        png("x.png", parameters="a cat\nSteps: 99999, Seed: -2, CFG scale: 7, Size: 4x4")
    )
    assert found.request == Request(prompt="a cat", cfg=7)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "is not an image", id="empty"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", "the PNG is cut short at byte 10", id="cut short"),
        pytest.param(b"GIF89a", "is not an image of a kind", id="another kind"),
    ],
)
def test_read_image_refuses_damaged_files_and_other_kinds(data: bytes, said: str) -> None:
    Path("x.png").write_bytes(data)
    with pytest.raises(OutputError, match=said):
        read_image(Path("x.png"))


def test_is_image_looks_at_the_first_bytes() -> None:
    noise().save("x.jpg")
    Path("y.png").write_text("not an image")
    assert (is_image(Path("x.jpg")), is_image(Path("y.png"))) == (True, False)
