"""Output files are downloaded whole, and the token goes only to Replicate's hosts."""

from __future__ import annotations

import ssl
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulators.replicate import TOKEN, Replicate, ReplicateSwitches
from support.replicate_backend import generate, replicate_config

from imagen.backends.replicate.client import ReplicateClient
from imagen.backends.replicate.outputs import OutputDownloader, find_urls, output_text
from imagen.errors import BackendError, Failed, Lost

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("replicate_token")

_SCHNELL = "black-forest-labs/flux-schnell"


class _Elsewhere(HTTPServer):
    """Another host, which serves one image and records its requests."""

    def __init__(self, image: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.image = image
        self.seen: list[dict[str, str]] = []
        self.url = f"http://localhost:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: _Elsewhere

    def do_GET(self) -> None:
        self.server.seen.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(302 if self.path == "/round" else 200)
        if self.path == "/round":
            self.send_header("Location", "/round")
        self.send_header("Content-Length", str(len(self.server.image)))
        self.end_headers()
        self.wfile.write(self.server.image)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def elsewhere() -> Iterator[_Elsewhere]:
    with Replicate() as cloud:
        image = generate(cloud, model=_SCHNELL).images[0].data
    with _Elsewhere(image) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_downloads_trust_the_systems_certificates_like_the_api(
    elsewhere: _Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = str(Path(__file__).parents[2] / "testing" / "loopback.pem")
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(certificate)
    elsewhere.socket = secured.wrap_socket(elsewhere.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    fetcher = OutputDownloader(credential_for=lambda _: {}, allows_http=False, connect_seconds=5)
    address = f"https://127.0.0.1:{elsewhere.server_address[1]}/a.png"
    assert fetcher.download(address, 0, lambda: None).data == elsewhere.image


@pytest.mark.parametrize("shape", ["list", "one", "data", "named"])
def test_files_are_found_in_outputs_of_any_shape(shape: str) -> None:
    with Replicate(shape=shape) as cloud:
        (image,) = generate(cloud, model=_SCHNELL).images
    assert image.media_type == "image/png"


def test_an_incomplete_download_is_retried() -> None:
    with Replicate(cut_short=2) as cloud:
        assert len(generate(cloud, model=_SCHNELL).images) == 1
    downloads = [seen for seen in cloud.requests if seen.path.startswith("/delivery/")]
    assert (len(downloads), cloud.submissions) == (3, 1)


def test_the_token_is_not_sent_to_the_target_of_a_redirect(elsewhere: _Elsewhere) -> None:
    with Replicate(redirect=elsewhere.url) as cloud:
        (image,) = generate(cloud, model=_SCHNELL).images
    own = [seen.headers for seen in cloud.requests if seen.path.startswith("/delivery/")]
    assert image.data == elsewhere.image
    assert [headers.get("authorization") for headers in own] == [f"Bearer {TOKEN}"]
    assert [headers.get("authorization") for headers in elsewhere.seen] == [None]


def test_a_redirect_loop_is_an_error(elsewhere: _Elsewhere) -> None:
    with (
        Replicate(redirect=f"{elsewhere.url}/round") as cloud,
        pytest.raises(BackendError, match="redirects in a circle"),
    ):
        generate(cloud, model=_SCHNELL)
    assert len(elsewhere.seen) == 5


@pytest.mark.parametrize(
    ("address", "goes"),
    [
        pytest.param("https://api.replicate.com/v1/files/1", True, id="the API"),
        pytest.param("https://replicate.delivery/a.png", True, id="delivery"),
        pytest.param("https://pbxt.replicate.delivery/a.png", True, id="below delivery"),
        pytest.param("http://pbxt.replicate.delivery/a.png", False, id="delivery without TLS"),
        pytest.param("https://replicate.delivery.evil.example/a", False, id="delivery in front"),
        pytest.param("https://evilreplicate.delivery/a", False, id="delivery at the end"),
        pytest.param("https://api.replicate.com.evil.example/a", False, id="the API in front"),
        pytest.param("https://api.replicate.com:8443/a", False, id="another port"),
        pytest.param("http://api.replicate.com/a", False, id="the API without TLS"),
        pytest.param("https://replicate.delivery@evil.example/a", False, id="as user name"),
        pytest.param("https://storage.example/a.png", False, id="another host"),
    ],
)
def test_the_token_is_sent_only_to_replicates_hosts(address: str, goes: bool) -> None:
    with closing(ReplicateClient(replicate_config("https://api.replicate.com/v1"))) as client:
        assert client.credential_for(address) == (
            {"Authorization": f"Bearer {TOKEN}"} if goes else {}
        )


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://127.0.0.1:1/a.png", id="this machine"),
        pytest.param("http://images.example/a.png", id="without TLS"),
    ],
)
def test_a_file_url_without_https_is_refused(address: str) -> None:
    fetcher = OutputDownloader(credential_for=lambda _: {}, allows_http=False, connect_seconds=1)
    with pytest.raises(BackendError, match="which is not an https URL"):
        fetcher.download(address, 0, lambda: None)


def test_a_data_url_is_decoded() -> None:
    fetcher = OutputDownloader(credential_for=lambda _: {}, allows_http=False, connect_seconds=1)
    found = fetcher.download("data:text/plain,a%20fox", 3, lambda: None)
    assert (found.data, found.media_type, found.index) == (b"a fox", "text/plain", 3)
    with pytest.raises(Failed, match="cannot be decoded"):
        fetcher.download("data:image/png;base64,###", 0, lambda: None)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        pytest.param(None, [], id="nothing"),
        pytest.param("https://a/1", ["https://a/1"], id="one"),
        pytest.param(
            ["https://a/1", None, "https://a/2"], ["https://a/1", "https://a/2"], id="many"
        ),
        pytest.param({"images": ["data:,x"], "seed": 7}, ["data:,x"], id="named"),
        pytest.param("file:///etc/passwd", [], id="a local file"),
        pytest.param([[[[[[["https://a/deep"]]]]]]], [], id="too deep"),
    ],
)
def test_only_urls_count_as_output_files(output: Any, found: list[str]) -> None:
    assert list(find_urls(output)) == found


def test_output_text_is_joined_from_its_parts() -> None:
    assert output_text(["a ", "fox\x1b[31m"]) == "a fox[31m"
    assert output_text({"no": "words"}) == ""


def test_a_job_whose_file_is_unreachable_can_be_resumed() -> None:
    with Replicate(cut_short=99) as cloud:
        with pytest.raises(BackendError, match=r"closed the connection|cut short") as caught:
            generate(cloud, model=_SCHNELL)
        cloud.switches = ReplicateSwitches()
    assert caught.value.retryable


@pytest.mark.parametrize("is_late", [False, True])
def test_a_refused_file_is_certainly_lost_only_after_an_hour(is_late: bool) -> None:
    with Replicate(gone=True) as cloud:
        fetcher = OutputDownloader(
            credential_for=lambda _: {}, allows_http=True, connect_seconds=5, is_expired=is_late
        )
        address = f"{cloud.url.removesuffix('/v1')}/delivery/a.png"
        with pytest.raises(Lost, match="no longer has a file") as caught:
            fetcher.download(address, 0, lambda: None)
        assert len(cloud.requests) == 4
    assert caught.value.is_certain == is_late


@pytest.mark.parametrize("address", ["https://[", "https://[::1", "https://a:x/"])
def test_an_invalid_file_url_is_an_error(address: str) -> None:
    fetcher = OutputDownloader(credential_for=lambda _: {}, allows_http=False, connect_seconds=1)
    with pytest.raises(BackendError, match="which is not a valid URL"):
        fetcher.download(address, 0, lambda: None)
