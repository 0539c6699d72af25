"""The frame of the page: navigation, and who is let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from support.browser import OpenPage, Size
    from support.live_server import LiveServer


@pytest.mark.parametrize("size", ["phone", "tablet", "desktop"])
def test_the_navigation_leads_to_every_view(
    size: Size, live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url, size=size)
    link = page.get_by_role("navigation").get_by_role("link", name="Compare")
    expect(link).to_be_in_viewport(ratio=1)
    link.click()
    expect(page).to_have_url(f"{live.url}/compare")
    expect(link).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page).to_have_url(f"{live.url}/")
