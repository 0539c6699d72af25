"""Images are fetched from the public internet only."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.raw_server import OK, RawServer, answer, drip

from imagen.errors import RequestError
from imagen.net.http import Network
from imagen.net.public_images import PublicNetwork, fetch_image, is_public

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


def _png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


def _redirect(to: str) -> Callable[..., None]:
    return answer(b"", f"Location: {to}", status=b"HTTP/1.1 302 Found\r\n")


def test_fetch_image_names_the_image_after_its_url() -> None:
    with RawServer(answer(_png())) as server:
        found = fetch_image(f"{server.url}/a/red%20fox.png?size=8", network=Network())
    assert (found.data, found.name) == (_png(), "red fox.png")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_is_public_accepts_only_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"]
)
def test_a_private_address_is_refused_before_connecting(host: str) -> None:
    with RawServer(answer(_png())) as server:
        url = f"http://{host}:{server.port}/a.png"
        with pytest.raises(RequestError) as caught:
            fetch_image(url, "mask")
        assert server.connections == 0
    assert caught.value.message.startswith(f"mask: {url} leads to ")
    assert caught.value.message.endswith("which is not an address of the public internet.")


def test_one_private_address_among_public_ones_is_refused() -> None:
    network = PublicNetwork(resolve=lambda *_: ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(RequestError, match=r"leads to 10\.0\.0\.1, which is not"):
        fetch_image("http://mixed.example/a.png", network=network)


def test_the_target_of_a_redirect_is_checked_too() -> None:
    hosts = {"first.example": "127.0.0.1", "second.example": "127.0.0.2"}
    with (
        RawServer(answer(_png())) as second,
        RawServer(_redirect(f"http://second.example:{second.port}/a.png")) as first,
    ):
        network = PublicNetwork(
            resolve=lambda host, _: [hosts[host]], is_allowed=lambda ip: ip == "127.0.0.1"
        )
        with pytest.raises(RequestError, match=r"leads to 127\.0\.0\.2, which is not"):
            fetch_image(f"http://first.example:{first.port}/a.png", network=network)
        assert (first.connections, second.connections) == (1, 0)


def test_the_connection_uses_the_checked_address() -> None:
    answers = iter([["127.0.0.1"]])
    network = PublicNetwork(resolve=lambda *_: next(answers), is_allowed=lambda _: True)
    with RawServer(answer(_png())) as server:
        url = f"http://rebinding.invalid:{server.port}/a.png"
        assert fetch_image(url, network=network).data == _png()


def test_a_relative_redirect_is_followed() -> None:
    def behave(connection: socket.socket) -> None:
        first = _redirect("../b.png") if server.connections == 1 else answer(_png())
        first(connection)

    with RawServer(behave) as server:
        found = fetch_image(f"{server.url}/x/a.png", network=Network())
    assert (found.data, found.name) == (_png(), "b.png")


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        pytest.param(answer(b"<html>"), "is not an image that can be read.", id="no image"),
        pytest.param(_redirect("/again"), "redirects more than 5 times.", id="in a circle"),
        pytest.param(
            _redirect("file:///etc/passwd"),
            "cannot be fetched: 'file:///etc/passwd' is not an http or https URL.",
            id="to a file",
        ),
        pytest.param(
            answer(b"", status=b"HTTP/1.1 404 Not Found\r\n"),
            "cannot be fetched: {at} refused the request: 404 Not Found.",
            id="not there",
        ),
        pytest.param(
            answer(bytes(2 << 20)),
            "cannot be fetched: {at} sent more than 1 MB, the most that imagen reads at once.",
            id="too large",
        ),
        pytest.param(
            drip(OK + b"Content-Length: 100000\r\n\r\n"),
            "cannot be fetched: {at} did not finish its answer within 0.5 s.",
            id="too slow",
        ),
    ],
)
def test_every_error_names_the_url(behave: Callable[..., None], why: str) -> None:
    with RawServer(behave) as server:
        url = f"{server.url}//a.png?x=1#y"
        with pytest.raises(RequestError) as caught:
            fetch_image(url, network=Network(), limit=1 << 20, seconds=0.5)
        assert caught.value.message == f"image: {url} {why.format(at=server.url)}"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://me:secret@example.org/a.png", "holds a user or password"),
        ("ftp://example.org/a.png", "is not an http or https URL"),
        ("http://", "is not an http or https URL"),
        ("http://[::1/a.png", "cannot be fetched"),
        ("https://example.org:port/a.png", "cannot be fetched"),
        ("https://①②③.example/a.png", "cannot be fetched"),
        ("http://nowhere.invalid/a.png", "unknown host 'nowhere.invalid'"),
    ],
)
def test_an_invalid_url_is_refused(url: str, why: str) -> None:
    with pytest.raises(RequestError, match=why):
        fetch_image(url)
