"""How much a browser reads before it shows the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from support.sample_site import NOW, sample_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.browser import OpenPage, Size
    from support.live_server import LiveServer

_MOST_BYTES = 150_000
_MOST_FILES = 20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LiveServer]:
    with sample_site(tmp_path / "site") as server:
        yield server


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_the_gallery_is_shown_after_few_bytes_of_code(
    site: LiveServer, open_page: OpenPage, size: Size
) -> None:
    page = open_page(site.url, "settings/about", size=size, now=NOW)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    answers: dict[str, int] = {}

    def keep(event: dict[str, Any]) -> None:
        path = urlsplit(event["response"]["url"]).path
        if not path.startswith("/api/"):
            answers[path] = int(event["response"]["headers"]["content-length"])

    session.on("Network.responseReceived", keep)
    page.goto(site.url)
    expect(page.locator(".tile.shown").first).to_be_in_viewport()
    page.wait_for_load_state("networkidle")
    assert any(path.endswith(".js") for path in answers)
    assert sum(answers.values()) <= _MOST_BYTES, answers
    assert len(answers) <= _MOST_FILES, answers
