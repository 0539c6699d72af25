"""The frame of the page: navigation, who is let in, and what happens when the server is away."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from support.live_server import live_server, server_settings
from support.serve_process import serve_process, write_settings

from imagen.library.tokens import add_token

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page
    from support.browser import OpenPage, Size
    from support.live_server import LiveServer

_SECRET = "a-secret-of-this-test-alone"
_VIEWS = (
    "settings",
    "settings/engines",
    "settings/keys",
    "settings/access",
    "settings/about",
    "workflows",
    "workflows/flux1-schnell",
    "welcome",
    "settings?panel=queue",
    "settings?panel=more",
    "settings?panel=keys",
)


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
    expect(page).to_have_title("Compare · imagen")
    page.go_back()
    expect(page).to_have_url(f"{live.url}/")


def test_a_new_view_has_the_focus_at_its_heading(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "compare")
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page).to_have_title("Settings · imagen")


def test_back_closes_a_sheet_before_it_leaves_the_view(
    live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url, "compare", size="phone")
    more = page.get_by_role("button", name="More")
    more.click()
    page.get_by_role("link", name=re.compile("^Settings")).click()
    expect(page).to_have_url(f"{live.url}/settings")
    more.click()
    sheet = page.get_by_role("dialog", name="More")
    expect(sheet).to_be_in_viewport(ratio=0.99)
    page.go_back()
    expect(sheet).to_have_count(0)
    expect(more).to_be_focused()
    expect(page).to_have_url(f"{live.url}/settings")
    page.go_back()
    expect(page).to_have_url(f"{live.url}/compare")


def test_a_killed_server_is_said_and_the_page_goes_on_when_it_is_back(
    tmp_path: Path, open_page: OpenPage
) -> None:
    write_settings(tmp_path, {"mock": {"type": "mock", "step_seconds": 5}})
    with serve_process(tmp_path) as server:
        page = open_page(server.url, "settings?panel=queue", may_fail=True)
        body = {"request": {"prompt": "a fox that stays", "steps": 100}}
        page.request.post(f"{server.url}/api/v1/generations", data=body)
        cancel = page.get_by_role("button", name=re.compile("^Cancel mock"))
        expect(cancel).to_be_enabled()
        server.kill()
        queue = page.get_by_role("dialog", name="Queue")
        banner = queue.get_by_text("Connection lost. Running jobs continue.")
        expect(banner).to_be_in_viewport(timeout=6000)
        expect(page.get_by_text("a fox that stays")).to_be_visible()
        expect(cancel).to_be_disabled()
        queue.get_by_role("button", name="Retry now").click()
        expect(banner).to_be_in_viewport()
        server.start()
        expect(banner).to_have_count(0, timeout=20_000)
        expect(page.get_by_text("a fox that stays")).to_be_visible()
        expect(cancel).to_be_enabled()


def test_a_browser_that_is_offline_says_so(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "settings", size="phone", may_fail=True)
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    page.context.set_offline(True)
    banner = page.get_by_text("Connection lost. Running jobs continue.")
    expect(banner).to_be_in_viewport(timeout=6000)
    page.context.set_offline(False)
    expect(banner).to_have_count(0)


def test_a_token_lets_in_and_a_wrong_one_is_refused(tmp_path: Path, open_page: OpenPage) -> None:
    with live_server(server_settings(folder=tmp_path), secret=_SECRET) as server:
        page = open_page(server.url, "settings", size="phone", may_fail=True)
        field = page.get_by_label("Token", exact=True)
        field.fill("imagen_not-this-one")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("This token is not valid")
        field.fill(_SECRET)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="Settings")).to_be_visible()


def test_a_link_with_a_token_lets_in_and_keeps_it_out_of_the_address(
    tmp_path: Path, open_page: OpenPage
) -> None:
    with live_server(server_settings(folder=tmp_path), secret=_SECRET) as server:
        token = add_token(server.runtime.library, "phone", ("read",))
        page = open_page(server.url, f"settings#token={token}", size="phone", may_fail=True)
        expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        expect(page).to_have_url(f"{server.url}/settings")
        expect(page.get_by_role("link", name="Access")).to_have_count(0)


def test_the_theme_is_chosen_and_kept(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "settings")
    page.get_by_role("button", name="Light").click()
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(238, 238, 240)"
    page.reload()
    expect(page.get_by_role("button", name="Light")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(background) == "rgb(238, 238, 240)"
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(background) == "rgb(13, 14, 16)"


def test_the_language_changes_at_once(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "settings")
    page.get_by_label("Language").select_option("de")
    expect(page.get_by_role("heading", level=1)).to_have_text("Einstellungen")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page).to_have_title("Einstellungen · imagen")


@pytest.mark.parametrize("locale", ["de", "pseudo"])
def test_nothing_is_wider_than_the_narrowest_phone(
    locale: str, live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url, "settings", size="phone", locale=locale)
    page.set_viewport_size({"width": 320, "height": 640})
    for path in _VIEWS:
        page.goto(f"{live.url}/{path}")
        expect(page.locator("h1, dialog h2").last).to_be_visible()
        assert _list_wide(page) == [], path


def _list_wide(page: Page) -> list[str]:
    """The elements that reach beyond the screen and cannot be scrolled to."""
    return list(
        page.evaluate("""() => [...document.querySelectorAll("#app *")].filter((one) => {
            const box = one.getBoundingClientRect();
            if (!box.width || (box.right <= innerWidth + 1 && box.left >= -1)) return false;
            for (let up = one.parentElement; up; up = up.parentElement)
                if (/auto|scroll|hidden/.test(getComputedStyle(up).overflowX)) {
                    if (up.getBoundingClientRect().right <= innerWidth + 1) return false;
                }
            return true;
        }).map((one) => one.outerHTML.slice(0, 120))""")
    )


def test_keys_are_listed_and_single_letters_can_be_off(
    live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url, "compare")
    expect(page.get_by_role("navigation")).to_be_visible()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(keys.get_by_text("Open or close the queue")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(keys).to_have_count(0)
    page.goto(f"{live.url}/settings/keys")
    page.get_by_label("Single letters").uncheck()
    page.keyboard.press("Shift+Q")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_page_works_at_an_address_that_is_not_secure(
    tmp_path: Path, open_page: OpenPage
) -> None:
    host = socket.gethostbyname(socket.gethostname())
    settings = server_settings(folder=tmp_path)
    with live_server(settings, secret=_SECRET, is_public=True, host=host) as server:
        url = server.url
        page = open_page(url, f"settings/access#token={_SECRET}", may_fail=host == "127.0.0.1")
        expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        assert page.evaluate("isSecureContext") is (host == "127.0.0.1")
        page.get_by_label("Name, such as phone").fill("phone")
        page.get_by_role("button", name="Create token").click()
        page.get_by_role("button", name="Copy link").click()
        expect(page.get_by_text("Copied")).to_be_in_viewport()


def test_on_a_phone_on_its_side_a_sheet_is_at_the_right(
    live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url, "settings?panel=queue", size="phone")
    queue = page.get_by_role("dialog", name="Queue")
    expect(queue).to_be_in_viewport()
    page.set_viewport_size({"width": 844, "height": 390})
    expect(page.locator("dialog:modal")).to_have_count(0)  # the view beside it can be used
    box = queue.bounding_box()
    assert box is not None
    assert (box["x"] + box["width"], box["y"], box["height"]) == (844, 0, 390)
    assert box["width"] <= 400
