"""The keys of the page: what they do, what takes them away, and where they are shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from support.image_server import image_server
from support.live_server import live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.browser import OpenPage
    from support.live_server import LiveServer

_SELECTED = '.tile[aria-selected="true"]'
_HINTS = "kbd:visible"


@pytest.fixture
def foxes(tmp_path: Path) -> Iterator[LiveServer]:
    """A server with eight images."""
    with image_server(tmp_path) as server:
        yield server


def test_a_sheet_takes_the_keys_of_the_page_beneath(foxes: LiveServer, open_page: OpenPage) -> None:
    page = open_page(foxes.url)
    expect(page.locator(".tile:visible")).to_have_count(8)
    page.keyboard.press("x")
    expect(page.locator(_SELECTED)).to_have_count(1)
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(keys).to_be_in_viewport()
    for key in ("x", "Control+a", "3", ".", "Delete", "t", "g", "/"):
        page.keyboard.press(key)
    expect(keys).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(keys).to_have_count(0)
    expect(page.locator(_SELECTED)).to_have_count(1)
    expect(page.locator(".tile:visible")).to_have_count(8)
    expect(page.locator('.tile[aria-label*="star"]')).to_have_count(0)
    expect(page.get_by_label("Prompt", exact=True)).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.locator(_SELECTED)).to_have_count(0)


def test_a_menu_takes_them_too(foxes: LiveServer, open_page: OpenPage) -> None:
    page = open_page(foxes.url)
    expect(page.locator(".tile:visible")).to_have_count(8)
    page.get_by_role("button", name="More actions").click()
    menu = page.get_by_role("menu")
    expect(menu).to_be_in_viewport()
    page.keyboard.press("x")
    page.keyboard.press("Delete")
    expect(menu).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(page.locator(_SELECTED)).to_have_count(0)
    expect(page.locator(".tile:visible")).to_have_count(8)


def test_the_viewer_takes_the_keys_of_the_gallery(foxes: LiveServer, open_page: OpenPage) -> None:
    page = open_page(foxes.url)
    expect(page.locator(".tile:visible")).to_have_count(8)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("z")
    expect(page).to_have_url(re.compile("/image/"))
    viewer = page.get_by_role("dialog", name="Image")
    expect(viewer).to_be_in_viewport()
    page.keyboard.press("x")
    page.keyboard.press("t")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(keys.get_by_text("Reuse the seed")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(keys).to_have_count(0)
    expect(viewer).to_contain_text("1 of 8")
    page.keyboard.press("z")
    expect(viewer).to_have_count(0)
    expect(page.locator(_SELECTED)).to_have_count(0)
    expect(page.get_by_label("Prompt", exact=True)).to_be_in_viewport()


def test_a_key_cancels_the_running_job_and_undo_queues_it_again(
    tmp_path: Path, open_page: OpenPage
) -> None:
    backends: dict[str, dict[str, Any]] = {"slow": {"type": "mock", "step_seconds": 60}}
    with live_server(server_settings(backends, folder=tmp_path)) as server:
        body = {"backend": "slow", "request": {"prompt": "a fox"}}
        server.client.post("/api/v1/generations", json=body).raise_for_status()
        page = open_page(server.url)
        running = page.get_by_role("list", name="Images in progress").get_by_role("listitem")
        expect(running).to_have_count(1)
        page.keyboard.press("Shift+X")
        toast = page.get_by_text("Job cancelled")
        expect(toast).to_be_in_viewport()
        expect(running).to_have_count(0)
        page.keyboard.press("Control+z")
        expect(running).to_have_count(1)
        page.keyboard.press("Shift+X")
        expect(running).to_have_count(0)


def test_hints_follow_the_keys_and_need_a_mouse(foxes: LiveServer, open_page: OpenPage) -> None:
    page = open_page(foxes.url, preferences={"keys": {"gallery.search": "f", "gallery.date": ""}})
    expect(page.locator("form[role=search]").locator("kbd")).to_have_text("F")
    page.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("menuitem", name="Go to date").locator("kbd")).to_have_count(0)
    select = page.get_by_role("menuitem", name="Select images")
    expect(select.locator("kbd")).to_have_text("X")
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    expect(page.get_by_label("Search prompts")).to_be_focused()
    for path in ("", "arena", "?panel=generate"):
        phone = open_page(foxes.url, path, size="phone")
        expect(phone.get_by_role("navigation").first).to_be_attached()
        phone.wait_for_load_state("networkidle")
        expect(phone.locator(_HINTS)).to_have_count(0)


def test_help_and_settings_list_every_key(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "settings/keys?panel=keys")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_in_viewport()
    listed = [text.split("\n")[0] for text in dialog.locator("dt").all_inner_texts()]
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    rows = page.locator("section li .grow").all_inner_texts()
    assert rows == listed
    assert len(rows) > 60
    for area in ("Everywhere", "New image", "Gallery", "Image", "Two images", "Arena", "Queue"):
        expect(page.get_by_role("heading", name=area, exact=True)).to_be_visible()
