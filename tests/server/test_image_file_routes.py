"""The files, thumbnails and index of images over HTTP."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image
from support.image_server import COLOURS, image_server, uid_of
from support.library_samples import make_image, make_record, uuid_of

from imagen.library import find_image_by_id, record_generation
from imagen.library.detail import read_thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.live_server import LiveServer

_HEADER = struct.Struct("<4sHHqqII")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with image_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def index_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server to whose images no test adds any."""
    with image_server(tmp_path_factory.mktemp("server")) as server:
        yield server


def _add_file(server: LiveServer, number: int, data: bytes, name: str = "") -> str:
    """Record an image whose file has this content; its unique id."""
    path = server.runtime.settings.output.directory / (name or f"{number}.png")
    path.write_bytes(data)
    record = make_record(number, images=(make_image(number, path=path),))
    record_generation(server.runtime.library, record)
    return f"{uuid_of(number)}.1"


def test_a_file_comes_with_an_etag_and_in_ranges(server: LiveServer) -> None:
    image = find_image_by_id(server.runtime.library, uid_of(0))
    path = f"/api/v1/images/{uid_of(0)}/file"
    whole = server.client.get(path).raise_for_status()
    assert whole.content == image.path.read_bytes()
    assert whole.headers["etag"] == f'"{image.sha256}"'
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["cache-control"] == "private, no-cache"
    for known in (whole.headers["etag"], f'"x", W/{whole.headers["etag"]}', "*"):
        unchanged = server.client.get(path, headers={"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
    part = server.client.get(path, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    beyond = server.client.get(path, headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    head = server.client.head(path)
    assert int(head.headers["content-length"]) == len(whole.content)
    versioned = server.client.get(path, params={"v": image.sha256[:8], "download": "1"})
    assert "immutable" in versioned.headers["cache-control"]
    assert versioned.headers["content-disposition"] == 'attachment; filename="fox-red.png"'
    other = server.client.get(path, params={"v": "00000000"})
    assert "immutable" not in other.headers["cache-control"]


def test_the_name_of_a_download_injects_no_header(server: LiveServer) -> None:
    data = (server.runtime.settings.output.directory / "fox-red.png").read_bytes()
    uid = _add_file(server, 50, data + b"1", 'a";\r\nX-Evil: 1\udcff.png')
    answer = server.client.get(f"/api/v1/images/{uid}/file?download=1").raise_for_status()
    assert "x-evil" not in answer.headers
    assert answer.headers["content-disposition"].startswith("attachment; filename")
    # and the listing of such a name is JSON
    assert server.client.get("/api/v1/images", params={"ids": uid}).json()["images"]


def test_a_link_out_of_the_folder_is_not_followed(server: LiveServer, tmp_path: Path) -> None:
    other = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "pink").save(other)
    data = (server.runtime.settings.output.directory / "fox-red.png").read_bytes()
    uid = _add_file(server, 51, data + b"2")
    image = find_image_by_id(server.runtime.library, uid)
    image.path.unlink()
    try:
        image.path.symlink_to(other)
    except OSError:
        pytest.skip("this system has no symbolic links for us")
    answer = server.client.get(f"/api/v1/images/{uid}/file")
    assert (answer.status_code, "link" in answer.text) == (404, True)
    other.write_bytes(data + b"2")  # the very image, in another place
    assert server.client.get(f"/api/v1/images/{uid}/file").content == data + b"2"


def test_only_images_are_shown(server: LiveServer) -> None:
    data = (server.runtime.settings.output.directory / "fox-red.png").read_bytes()
    uid = _add_file(server, 52, data + b"3")
    image = find_image_by_id(server.runtime.library, uid)
    image.path.write_text("<script>alert(1)</script>")
    answer = server.client.get(f"/api/v1/images/{uid}/file")
    assert (answer.status_code, "not an image" in answer.text) == (404, True)
    image.path.unlink()
    gone = server.client.get(f"/api/v1/images/{uid}/file")
    assert (gone.status_code, "no longer exists" in gone.text) == (404, True)


def test_a_changed_file_has_another_etag(server: LiveServer) -> None:
    data = (server.runtime.settings.output.directory / "fox-red.png").read_bytes()
    uid = _add_file(server, 53, data + b"4")
    image = find_image_by_id(server.runtime.library, uid)
    image.path.write_bytes(data)
    answer = server.client.get(f"/api/v1/images/{uid}/file", params={"v": image.sha256})
    assert answer.content == data
    assert image.sha256 not in answer.headers["etag"]
    assert "immutable" not in answer.headers["cache-control"]


@pytest.mark.parametrize(("size", "expected"), [("320", (320, 160)), ("640", (640, 320))])
def test_a_thumbnail_is_made_on_demand_and_kept(
    server: LiveServer, size: str, expected: tuple[int, int]
) -> None:
    number = 60 + int(size) // 320
    buffer = BytesIO()
    Image.new("RGB", (1280, 640), (number, 9, 9)).save(buffer, "PNG")
    uid = _add_file(server, number, buffer.getvalue())
    library = server.runtime.library
    image = find_image_by_id(library, uid)
    assert read_thumbnail(library, image)
    with library.writing() as connection:  # as in a library of files that were added long ago
        connection.exec_driver_sql("DELETE FROM thumbnails")
    path = f"/api/v1/images/{uid}/thumbnail"
    with ThreadPoolExecutor(8) as pool:  # all of them get the one that is made
        answers = list(
            pool.map(lambda _: httpx.get(server.url + path, params={"size": size}), range(8))
        )
    assert {answer.status_code for answer in answers} == {200}
    with Image.open(BytesIO(answers[0].content)) as small:
        assert (small.format, small.size) == ("WEBP", expected)
    image.path.unlink()
    kept = server.client.get(path, params={"size": size, "v": image.sha256[:8]})
    assert kept.content == answers[0].content
    assert "immutable" in kept.headers["cache-control"]
    known = {"If-None-Match": kept.headers["etag"]}
    assert server.client.get(path, params={"size": size}, headers=known).status_code == 304


def test_a_huge_image_has_no_thumbnail(server: LiveServer) -> None:
    """It would need gigabytes to be decoded; its header says so."""
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 60_000, 60_000)
    uid = _add_file(server, 70, header + b"\x08\x02\0\0\0\0\0\0\0" + bytes(64))
    answer = server.client.get(f"/api/v1/images/{uid}/thumbnail?size=640")
    assert (answer.status_code, "cannot be shown" in answer.text) == (404, True)


def test_the_index_lists_all_images(index_server: LiveServer) -> None:
    server = index_server
    client = server.client
    client.patch(f"/api/v1/images/{uid_of(7)}", json={"rating": 5}).raise_for_status()
    answer = client.get("/api/v1/images/index", headers={"Accept-Encoding": "identity"})
    data = answer.raise_for_status().content
    magic, version, flags, last, newest, count, _ = _HEADER.unpack_from(data)
    assert (magic, version, flags, count) == (b"IMGX", 1, 0, len(COLOURS))
    keys = struct.unpack_from(f"<{count}q", data, 32)
    assert (keys[0], keys[-1]) == (newest, last)
    assert list(keys) == sorted(keys, reverse=True)
    images = [find_image_by_id(server.runtime.library, uid_of(n)) for n in range(7, -1, -1)]
    assert keys == tuple(image.key for image in images)
    assert data[32 + 8 * count :][:16].hex() == uid_of(7)[:-2].replace("-", "")
    versions = struct.unpack_from(f"<{count}I", data, 32 + 24 * count)
    assert [f"{one:08x}" for one in versions] == [image.sha256[:8] for image in images]
    sides = struct.unpack_from(f"<{2 * count}H", data, 32 + 28 * count)
    assert sides == (64,) * count + (48,) * count
    marks = data[32 + 32 * count :]
    assert marks == bytes([0x20 | 5, *[0x20] * (count - 1)])

    known = {"If-None-Match": answer.headers["etag"], "Accept-Encoding": "identity"}
    assert client.get("/api/v1/images/index", headers=known).status_code == 304
    packed = client.get("/api/v1/images/index")
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", data)
    client.patch(f"/api/v1/images/{uid_of(7)}", json={"rating": None}).raise_for_status()
    assert client.get("/api/v1/images/index", headers=known).status_code == 200


def test_the_index_of_some_images_has_those_that_match(index_server: LiveServer) -> None:
    server = index_server
    uids = ",".join([*(uid_of(n) for n in (5, 2)), f"{uuid_of(99)}.1", "nonsense"])
    keys = {n: find_image_by_id(server.runtime.library, uid_of(n)).key for n in (5, 2)}
    for filters, numbers in (({}, (5, 2)), ({"text": "nowhere"}, ()), ({"trash": "true"}, ())):
        data = server.client.get("/api/v1/images/index", params={"ids": uids, **filters}).content
        count = _HEADER.unpack_from(data)[5]
        assert struct.unpack_from(f"<{count}q", data, 32) == tuple(keys[n] for n in numbers)
    many = ",".join(uid_of(n) for n in range(501))
    refused = server.client.get("/api/v1/images/index", params={"ids": many})
    assert (refused.status_code, refused.json()["code"]) == (400, "request")


@pytest.mark.parametrize(
    ("params", "numbers", "has_more"),
    [
        ({"text": "red"}, [0], 0),
        ({"backend": "studio", "limit": 2}, [6, 4], 1),
        ({"limit": 8}, [*range(7, -1, -1)], 0),
        ({"text": "nowhere"}, [], 0),
        ({"trash": "true"}, [], 0),
    ],
)
def test_the_index_has_the_filters_of_the_list(
    params: dict[str, str | int], numbers: list[int], has_more: int, index_server: LiveServer
) -> None:
    server = index_server
    data = server.client.get("/api/v1/images/index", params=params).content
    _, _, flags, last, _, count, _ = _HEADER.unpack_from(data)
    keys = [find_image_by_id(server.runtime.library, uid_of(n)).key for n in numbers]
    assert list(struct.unpack_from(f"<{count}q", data, 32)) == keys
    assert flags == has_more
    assert len(data) == 32 + 33 * count
    if has_more:
        rest = {**params, "after": last}
        more = server.client.get("/api/v1/images/index", params=rest).content
        assert _HEADER.unpack_from(more)[5] == 2
