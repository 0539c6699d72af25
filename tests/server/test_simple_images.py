"""The simple API's images and edits, and the request that makes an image again."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from support.live_server import live_server, server_settings

from imagen.library import find_image_by_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(server_settings(folder=tmp_path_factory.mktemp("server"))) as server:
        yield server


@pytest.fixture(scope="module")
def png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, "PNG")
    return buffer.getvalue()


def _generate(server: LiveServer, **values: Any) -> str:
    """Generate an image; its unique id."""
    request = {"prompt": "a fox", "width": 64, "height": 48, "seed": 3, **values}
    answer = server.client.post("/api/v1/generations?wait=20", json={"request": request})
    return str(answer.raise_for_status().json()["images"][0]["uid"])


def test_images_are_listed_shown_and_deleted_by_name(server: LiveServer) -> None:
    uid = _generate(server)
    (first, *_) = server.client.get("/api/images?limit=1").json()["images"]
    assert (first["filename"], first["image"]["uid"]) == (f"{uid}.png", uid)
    file = server.client.get(first["url"]).raise_for_status()
    image = find_image_by_id(server.runtime.library, uid)
    assert file.content == image.path.read_bytes()
    by_name = server.client.get(f"/api/images/{image.path.name}").raise_for_status()
    assert by_name.content == file.content
    deleted = server.client.delete(f"/api/images/{first['filename']}").raise_for_status()
    assert deleted.json()["is_trashed"]
    assert not image.path.exists()


@pytest.mark.parametrize(
    "name", ["../library.db", "..%2flibrary.db", "%2fetc%2fpasswd", "library.db", "%00", "x" * 300]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_name_is_never_a_path(server: LiveServer, method: str, name: str) -> None:
    (server.runtime.settings.output.directory).mkdir(exist_ok=True)
    answer = server.client.request(method, f"/api/images/{name}")
    assert answer.status_code in (404, 405)
    assert b"SQLite" not in answer.content


@pytest.mark.parametrize(
    ("path", "values", "size"),
    [
        ("upscale/traditional", {"method": "area", "factor": 2}, (128, 96)),
        ("upscale/img2img", {"prompt": "a fox", "factor": 2, "num_inference_steps": 2}, (128, 96)),
        ("inpaint", {"prompt": "a hat", "guidance_scale": 3, "strength": 0.9}, (64, 48)),
        ("outpaint", {"prompt": "a wood", "direction": "left", "pixels": 64}, (128, 48)),
    ],
)
@pytest.mark.parametrize("is_bare", [True, False])
def test_an_edit_answers_with_the_image(
    server: LiveServer,
    png: bytes,
    path: str,
    values: dict[str, Any],
    size: tuple[int, int],
    is_bare: bool,
) -> None:
    text = base64.b64encode(png).decode()
    body = {"image": text if is_bare else f"data:image/png;base64,{text}", **values}
    if path == "inpaint":
        body["mask"] = body["image"]
    answer = server.client.post(f"/{path}", json=body)
    assert answer.status_code == 200, answer.text
    (made,) = answer.json()["images"]
    with Image.open(BytesIO(base64.b64decode(made["image"]))) as image:
        assert image.size == size == (made["width"], made["height"])
    assert find_image_by_id(server.runtime.library, made["id"]).uid == made["id"]


@pytest.mark.parametrize(
    ("path", "values", "sentence"),
    [
        ("upscale/traditional", {"image": "!"}, "not valid base64"),
        ("upscale/traditional", {"image": "/etc/passwd", "factor": 99}, "factor"),
        ("upscale/traditional", {"image": "image:../x"}, "not an image that a client can name"),
        ("outpaint", {"image": "image:last", "direction": "up", "pixels": 8}, "direction"),
        ("inpaint", {"image": "image:last"}, "mask"),
    ],
)
def test_a_wrong_edit_is_a_problem(
    server: LiveServer, path: str, values: dict[str, Any], sentence: str
) -> None:
    answer = server.client.post(f"/{path}", json=values)
    assert (answer.status_code, sentence in answer.text) == (400, True), answer.text


def test_the_request_of_an_image_makes_it_again(server: LiveServer, png: bytes) -> None:
    upload = server.client.post("/api/v1/uploads?name=cat.png", content=png).json()
    first = _generate(server, image=upload["image"], strength=0.5, style=None)
    body = server.client.get(f"/api/v1/images/{first}/use").raise_for_status().json()
    assert body["request"]["image"] == upload["image"]
    assert body["backend"] == "mock"
    again = server.client.post("/api/v1/generations?wait=20", json=body).raise_for_status().json()
    library = server.runtime.library
    pixels = [
        Image.open(find_image_by_id(library, uid).path).tobytes()
        for uid in (first, again["images"][0]["uid"])
    ]
    assert pixels[0] == pixels[1]


def test_the_request_of_an_image_names_images_of_the_library_or_says_which_is_missing(
    server: LiveServer,
) -> None:
    source = _generate(server, seed=11)
    made = _generate(server, image=f"image:{source}", strength=0.5)
    body = server.client.get(f"/api/v1/images/{made}/use").raise_for_status().json()
    digest = find_image_by_id(server.runtime.library, source).sha256
    assert body["request"]["image"].startswith(f"blob:{digest}/")
    server.runtime.blobs.delete(digest)
    find_image_by_id(server.runtime.library, source).path.unlink()
    for copy in server.runtime.settings.state_dir.glob(f"inputs/{digest}/*"):
        copy.unlink()
    answer = server.client.get(f"/api/v1/images/{made}/use")
    assert (answer.status_code, "image:" in answer.text) == (400, True), answer.text
