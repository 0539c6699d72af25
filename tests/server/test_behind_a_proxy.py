"""The server as the guide for proxies configures it, asked as nginx and Caddy ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from support.live_server import live_server, server_settings
from support.pages import blocks

from imagen.config import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from support.live_server import LiveServer

SECRET = "a-token-of-at-least-16-characters"
BEARER = {"Authorization": f"Bearer {SECRET}"}
FORWARDED = {
    "Host": "images.example.org",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
}
REQUEST = {"request": {"prompt": "a fox", "width": 64, "height": 64, "steps": 1}}


def settings_of_the_guide() -> ServerSettings:
    """All `server:` blocks of the page together."""
    page = "run-the-server-behind-a-proxy.md"
    values: dict[str, object] = {}
    for block in blocks("yaml"):
        if block.page == page:
            values |= yaml.safe_load(block.text)["server"]
    assert values, page
    return ServerSettings.model_validate(values)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    settings = server_settings(
        folder=tmp_path_factory.mktemp("proxied"), server=settings_of_the_guide()
    )
    with live_server(settings, secret=SECRET) as running:
        yield running


def submit(server: LiveServer, path: str, headers: dict[str, str]) -> httpx.Response:
    return server.client.post(f"{path}/api/v1/generations", json=REQUEST, headers=headers)


@pytest.mark.parametrize("path", ["", "/imagen"], ids=["path-removed", "path-kept"])
def test_base_path_is_in_answers_whether_the_proxy_removes_it_or_not(
    server: LiveServer, path: str
) -> None:
    answer = submit(server, path, FORWARDED | BEARER)
    assert answer.status_code == 202
    assert answer.headers["Location"].startswith("/imagen/api/v1/generations/")


def test_client_behind_the_proxy_needs_a_token(server: LiveServer) -> None:
    assert submit(server, "", FORWARDED).status_code == 401
    assert server.client.get("/health", headers=FORWARDED).status_code == 200


def test_name_that_the_guide_does_not_allow_is_refused(server: LiveServer) -> None:
    other = FORWARDED | BEARER | {"Host": "evil.example.org"}
    assert submit(server, "", other).status_code == 421


def test_stranger_behind_a_proxy_without_headers_needs_a_token_by_require_token(
    live: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """nginx's plain `proxy_pass` sends its own Host and no address, as this machine would."""
    assert live.client.get("/api/v1/jobs").status_code == 200
    folder = tmp_path_factory.mktemp("guarded")
    settings = server_settings(folder=folder, server=settings_of_the_guide())
    assert settings.server.require_token
    with live_server(settings, has_worker=False) as guarded:
        assert guarded.client.get("/api/v1/jobs").status_code == 401


def test_events_are_not_buffered_by_nginx(server: LiveServer) -> None:
    headers = FORWARDED | BEARER
    with server.client.stream("GET", "/imagen/api/v1/events", headers=headers) as stream:
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["Content-Type"].startswith("text/event-stream")
