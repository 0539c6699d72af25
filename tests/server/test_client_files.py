"""Clients name no file of the server's machine and make it fetch nothing; bombs do no harm."""

from __future__ import annotations

import base64
import io
import json
import socket
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image
from support.live_server import live_server, server_settings
from support.model_file_samples import SD1, VAE, safetensors, write_file

from imagen.config import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

_URL = "/api/v1/generations"
_GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "$<frame>"}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["1", 0]}},
}
_MANIFEST = """
task: text-to-image
parameters:
  frame: {type: image}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with a ComfyUI workflow that has an image of its own, and engines in the process."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "own.json").write_text(json.dumps(_GRAPH))
    (folder / "own.yaml").write_text(_MANIFEST)
    (folder / "models").mkdir()
    model = write_file(folder / "models" / "sd1.safetensors", safetensors(SD1 | VAE))
    backends = {
        "studio": {"type": "comfyui", "workflow": "own", "url": "http://127.0.0.1:9"},
        "gpu": {"type": "sdcpp", "model": str(model), "models_dir": str(folder / "models")},
        "torch": {"type": "diffusers", "model": str(model), "models_dir": str(folder / "models")},
        "mock": {"type": "mock"},
    }
    settings = server_settings(
        backends,
        folder=folder,
        workflow_dirs=(folder,),
        server=ServerSettings(max_body_mb=1),
    )
    with live_server(settings, has_worker=False) as live:
        yield live


def _post(live: LiveServer, backend: str = "mock", **request: Any) -> httpx.Response:
    body = {"request": {"prompt": "a fox", **request}, "backend": backend}
    return live.client.post(_URL, json=body)


def _png(size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG")
    return file.getvalue()


def _data_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def test_a_backends_own_image_is_an_upload_and_no_file(server: LiveServer) -> None:
    Path("secret.png").write_bytes(_png())  # in the working directory of the server
    answer = _post(server, "studio", extra={"frame": "secret.png"})
    assert answer.status_code == 400
    assert "not an image that a client can name" in answer.json()["detail"]
    assert _post(server, "studio", extra={"frame": _data_url(_png())}).status_code == 202


@pytest.mark.parametrize("name", ["image", "mask"])
@pytest.mark.parametrize(
    "word",
    [
        "/etc/passwd",
        "secret.png",
        "../secret.png",
        "file:///etc/passwd",
        "http://127.0.0.1:1/x.png",
        "http://169.254.169.254/latest/meta-data",
        "C:\\Windows\\win.ini",
        "\\\\evil\\share\\x.png",
        "blob:../../x",
        "image:../../x",
        "data:text/html;base64,AAAA",
    ],
)
def test_an_image_is_no_path_and_no_url(server: LiveServer, name: str, word: str) -> None:
    Path("secret.png").write_bytes(_png())
    answer = _post(server, **{name: word})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("backend", ["gpu", "torch"])
@pytest.mark.parametrize(
    "model",
    [
        "other.safetensors",
        "./other.safetensors",
        ".hidden",
        "~/x.safetensors",
        "file:/etc/passwd",
        "owner/repository",
        "\\\\evil\\share",
    ],
)
def test_a_model_is_one_that_is_listed(server: LiveServer, backend: str, model: str) -> None:
    """An engine of this process would read a path, and download a repository."""
    write_file(Path("other.safetensors"), safetensors(SD1 | VAE))
    answer = _post(server, backend, model=model)
    assert answer.status_code == 400, answer.text
    assert _post(server, backend, model="sd1").status_code == 202


@pytest.mark.parametrize("name", ["other", "./other", "../other", "/etc/x"])
def test_a_lora_is_one_that_is_listed(server: LiveServer, name: str) -> None:
    write_file(Path("other.safetensors"), safetensors({"lora_unet_x.lora_up.weight": (1, 1)}))
    answer = _post(server, "torch", loras=[{"name": name}])
    assert answer.status_code == 400, answer.text
    assert "not found" in answer.text or "is a path" in answer.text


def _bomb() -> bytes:
    """A PNG of 40,000 × 40,000 pixels in a few bytes of rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    header = (40000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress(bytes(1_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def _text_bomb() -> bytes:
    """A small PNG with a compressed text of 100 MB."""
    packed = zlib.compressobj(9)
    text = b"".join([packed.compress(bytes(10_000_000)) for _ in range(10)] + [packed.flush()])
    data = b"parameters\0\0" + text
    check = zlib.crc32(b"zTXt" + data).to_bytes(4, "big")
    chunk = len(data).to_bytes(4, "big") + b"zTXt" + data + check
    png = _png()
    return png[:33] + chunk + png[33:]


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(10_000_000))
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_bomb(), id="pixels"),
        pytest.param(_zip(), id="zip"),
        pytest.param(b"<svg/>", id="svg"),
        pytest.param(b"GIF89a", id="gif"),
        pytest.param(_png()[:40], id="cut"),
    ],
)
def test_a_bomb_is_refused_before_it_is_unpacked(server: LiveServer, data: bytes) -> None:
    answer = _post(server, image=_data_url(data))
    assert answer.status_code == 400, answer.text


def test_a_compressed_text_is_not_unpacked_without_limit(server: LiveServer) -> None:
    assert _post(server, image=_data_url(_text_bomb())).status_code in (202, 400)


def test_a_compressed_body_is_not_unpacked(server: LiveServer) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = server.client.post(_URL, content=zlib.compress(b" " * 10_000_000), headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param("[" * 100_000, 400, id="depth"),
        pytest.param('{"request":' * 500 + "1" + "}" * 500, 400, id="objects"),
        pytest.param(
            '{"request": {"extra": {"x": %s}}}' % ("[" * 200 + "]" * 200), 400, id="extra"
        ),
        pytest.param('{"request": {"prompt": "%s"}}' % ("a" * 1_100_000), 413, id="size"),
        pytest.param('{"request": {"prompt": "\ud800"}}', 400, id="surrogate"),
        pytest.param('{"request": {"seed": 1e999}}', 400, id="infinity"),
        pytest.param('{"request": {"seed": %s}}' % ("9" * 5000), 400, id="digits"),
        pytest.param('{"request": {"prompt": "a\\u0000b"}, "backend": "mock"}', 202, id="NUL"),
    ],
)
def test_a_strange_body_is_an_error_with_a_sentence(
    server: LiveServer, body: str, status: int
) -> None:
    data = body.encode("utf-8", "surrogatepass")
    headers = {"Content-Type": "application/json"}
    answer = server.client.post(_URL, content=data, headers=headers)
    assert answer.status_code == status, answer.text
    assert status == 202 or answer.json()["detail"]


def test_a_form_where_json_is_expected_is_a_sentence(server: LiveServer) -> None:
    """As `curl -d '{…}'` sends it."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.client.post(_URL, content=b'{"request": {}}', headers=headers)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Send JSON")


@pytest.mark.parametrize("head", ["Content-Length: 2000000", "Transfer-Encoding: chunked"])
def test_a_large_body_is_refused_without_reading_it(server: LiveServer, head: str) -> None:
    port = httpx.URL(server.url).port or 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        start = f"POST {_URL} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n"
        connection.sendall(f"{start}Content-Type: application/json\r\n\r\n".encode())
        if "chunked" in head:
            chunk = b"186a0\r\n" + b" " * 100_000 + b"\r\n"
            for _ in range(11):
                connection.sendall(chunk)
        answer = connection.recv(65536)
    assert answer.split(b" ", 2)[1] == b"413"


def test_many_small_values_are_refused(server: LiveServer) -> None:
    body = '{"request": {"extra": {"x": [' + "1," * 499_000 + "1]}}}"
    headers = {"Content-Type": "application/json"}
    many = body.replace("1,", "[],", 10).encode()
    assert server.client.post(_URL, content=many, headers=headers).status_code in (400, 413)
