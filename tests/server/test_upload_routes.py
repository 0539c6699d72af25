"""Clients upload images, and change them without an engine."""

from __future__ import annotations

import struct
import zlib
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.image_server import image_server, uid_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

_MB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    limits = {"max_upload_mb": 1, "max_image_megapixels": 0.5}
    with image_server(tmp_path_factory.mktemp("server"), **limits) as server:
        yield server


def _encode(kind: str, size: tuple[int, int] = (64, 48), colour: str = "teal") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to have this many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_an_upload_is_stored_by_its_hash(server: LiveServer, kind: str, media_type: str) -> None:
    data = _encode(kind)
    digest = sha256(data).hexdigest()
    raw = server.client.post("/api/v1/uploads?name=a/b%0a.x", content=data)
    assert raw.status_code == 201
    assert raw.json() == {
        "image": f"blob:{digest}/b_.x",
        "sha256": digest,
        "width": 64,
        "height": 48,
        "media_type": media_type,
        "size_bytes": len(data),
    }
    form = server.client.post("/api/v1/uploads", files={"file": ("../../x.png", data)})
    assert form.raise_for_status().json()["image"] == f"blob:{digest}/x.png"
    back = server.client.get(f"/api/v1/uploads/{digest}")
    assert (back.content, back.headers["content-type"]) == (data, media_type)
    known = {"If-None-Match": back.headers["etag"]}
    assert server.client.get(f"/api/v1/uploads/{digest}", headers=known).status_code == 304


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"", 400, "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "is not an image"),
        (_encode("GIF"), 400, "is not an image"),
        (_encode("PNG")[:60], 400, "cannot be decoded"),
        (_bomb(60_000, 60_000), 400, "too large"),
        (_encode("PNG", (1000, 501)), 400, "at most 0.5 megapixels"),
        (bytes(_MB + 1), 413, "larger than 1 MB"),
    ],
)
def test_what_is_not_an_image_is_refused(
    server: LiveServer, content: bytes, status: int, sentence: str
) -> None:
    answer = server.client.post("/api/v1/uploads", content=content)
    assert (answer.status_code, sentence in answer.text) == (status, True), answer.text
    form = server.client.post("/api/v1/uploads", files={"file": ("x.png", content)})
    assert (form.status_code, sentence in form.text) == (status, True), form.text


def test_a_body_of_unknown_length_is_bounded(server: LiveServer) -> None:
    answer = server.client.post("/api/v1/uploads", content=(bytes(2**18) for _ in range(8)))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("content_type", "content", "sentence"),
    [
        ("multipart/form-data", b"x", "cannot be read"),
        ("multipart/form-data; boundary=b", b"garbage", "cannot be read"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n',
            "has no file",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\nx\r\n' * 2
            + b"--b--\r\n",
            "Too many files",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + bytes(2**17),
            "exceeded",
        ),
    ],
)
def test_a_broken_form_is_refused(
    server: LiveServer, content_type: str, content: bytes, sentence: str
) -> None:
    answer = server.client.post(
        "/api/v1/uploads", content=content, headers={"Content-Type": content_type}
    )
    assert (answer.status_code, sentence in answer.text) == (400, True), answer.text


@pytest.mark.parametrize("digest", ["0" * 64, "0" * 63, "..%2f..%2fetc%2fpasswd"])
def test_an_unknown_upload_is_not_found(server: LiveServer, digest: str) -> None:
    assert server.client.get(f"/api/v1/uploads/{digest}").status_code in (400, 404)


def _operate(server: LiveServer, name: str, image: str, **parameters: Any) -> Any:
    body = {"image": image, "parameters": parameters}
    return server.client.post(f"/api/v1/operations/{name}", json=body)


def test_operations_take_uploads_and_images_of_the_library(server: LiveServer) -> None:
    listed = server.client.get("/api/v1/operations").json()["operations"]
    assert [one["name"] for one in listed] == [
        *("rotate", "scale", "blur", "sharpen", "grayscale", "composite", "convert")
    ]
    turned = _operate(server, "rotate", f"image:{uid_of(0)}", degrees=90).json()
    assert (turned["width"], turned["height"]) == (48, 64)
    assert turned["image"].endswith("/fox-red-rotate.png")
    both = _operate(server, "composite", turned["image"], overlay=f"image:{uid_of(1)}").json()
    data = server.client.get(f"/api/v1/uploads/{both['sha256']}").content
    with Image.open(BytesIO(data)) as image:
        assert (image.size, image.getpixel((0, 0))) == ((48, 64), (0, 128, 0))
    body = {"image": both["image"], "format": "webp", "quality": 50}
    webp = server.client.post("/api/v1/operations/convert", json=body).json()
    assert (webp["media_type"], webp["image"][-5:]) == ("image/webp", ".webp")


def test_a_result_is_added_to_the_library_if_asked(server: LiveServer) -> None:
    body = {"image": f"image:{uid_of(2)}", "parameters": {}, "save": True}
    made = [server.client.post("/api/v1/operations/blur", json=body).json() for _ in range(2)]
    saved = made[0]["saved"]
    assert made[0] == made[1]  # one file
    assert (saved["sha256"], saved["width"]) == (made[0]["sha256"], 64)
    (file,) = server.runtime.settings.output.directory.glob("*-blur*.png")
    assert saved["path"] == str(file)
    image = server.client.get(f"/api/v1/images/{saved['uid']}/file").raise_for_status()
    assert image.content == file.read_bytes()
    assert _operate(server, "blur", f"image:{uid_of(2)}").json()["saved"] is None


@pytest.mark.parametrize(
    ("name", "image", "parameters", "status", "sentence"),
    [
        ("rotat", uid_of(0), {}, 404, "Did you mean 'rotate'"),
        ("rotate", uid_of(0), {"degrees": "x"}, 400, "degrees"),
        ("rotate", uid_of(0), {"degree": 9}, 400, "degree"),
        ("scale", uid_of(0), {}, 400, "needs either a factor"),
        ("scale", uid_of(0), {"width": 16384, "height": 16384, "factor": 1}, 400, "needs either"),
        ("scale", uid_of(0), {"width": 16384, "height": 20000}, 400, "height"),
        ("blur", "ffffffff", {}, 404, "was not found"),
        ("composite", uid_of(0), {"overlay": "/etc/passwd"}, 400, "overlay"),
    ],
)
def test_a_wrong_operation_is_a_problem(
    server: LiveServer,
    name: str,
    image: str,
    parameters: dict[str, Any],
    status: int,
    sentence: str,
) -> None:
    answer = _operate(server, name, f"image:{image}", **parameters)
    assert (answer.status_code, sentence in answer.text) == (status, True), answer.text
