"""The page of a server in a real Chromium, and what its tests ask of it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

Size = Literal["phone", "tablet", "desktop"]
Theme = Literal["dark", "light"]
SIZES: dict[Size, tuple[int, int]] = {
    "phone": (390, 844),
    "tablet": (820, 1180),
    "desktop": (1440, 900),
}
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ACTION_MS = 10_000


class OpenPage(Protocol):
    """Opens a page; `path` is below the root of the server, and `now` the date that it sees."""

    def __call__(
        self,
        url: str,
        path: str = "",
        *,
        size: Size = "desktop",
        theme: Theme = "dark",
        locale: str = "en",
        preferences: dict[str, Any] | None = None,
        now: datetime | None = None,
        may_fail: bool = False,
    ) -> Page: ...


def find_chromium() -> str:
    """The browser's program. Raises AssertionError if there is none."""
    named = os.environ.get("IMAGEN_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "The browser tests need Chromium: install it, or name it in IMAGEN_CHROMIUM."
    return found


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*_FLAGS])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class _Faults:
    """What went wrong in a page."""

    sentences: list[str]

    def watch(self, page: Page, host: str) -> None:
        page.on("pageerror", lambda error: self.sentences.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                self.sentences.append(f"console: {message.text}")
                if message.type in ("error", "warning")
                else None
            ),
        )

        def check_host(url: str) -> None:
            where = urlsplit(url)
            if where.scheme in ("http", "https", "ws") and where.netloc != host:
                self.sentences.append(f"a request left the host: {url}")

        page.on("request", lambda request: check_host(request.url))


@contextmanager
def open_pages(browser: Browser, folder: Path) -> Iterator[OpenPage]:
    """For the block, a function that opens pages, each in a context of its own."""
    contexts: list[BrowserContext] = []
    faults = _Faults([])

    def open_page(
        url: str,
        path: str = "",
        *,
        size: Size = "desktop",
        theme: Theme = "dark",
        locale: str = "en",
        preferences: dict[str, Any] | None = None,
        now: datetime | None = None,
        may_fail: bool = False,
    ) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            has_touch=size != "desktop",
            is_mobile=size != "desktop",
            locale="en-US",
            timezone_id="UTC",
            color_scheme=theme,
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(_ACTION_MS)
        chosen = {"theme": theme, "locale": locale} | (preferences or {})
        context.add_init_script(_KEEP % {"values": _as_script(chosen)})
        page = context.new_page()
        if now is not None:
            page.clock.set_fixed_time(now)
        if not may_fail:
            faults.watch(page, urlsplit(url).netloc)
        page.goto(f"{url.rstrip('/')}/{path}")
        return page

    try:
        yield open_page
        assert not faults.sentences, "; ".join(faults.sentences)
    finally:
        for number, context in enumerate(contexts):
            for page in context.pages:
                page.screenshot(path=folder / f"page-{number}.png")
            context.close()


_KEEP = """
if (!localStorage.getItem("imagen.preferences"))
  localStorage.setItem("imagen.preferences", JSON.stringify(%(values)s));
"""


def _as_script(values: dict[str, Any]) -> str:
    import json

    return json.dumps(values)
