"""Finding, selecting and organising images in the gallery, in a real browser."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from support.image_server import image_server, uid_of

from imagen.library import Query, find_images_by_uid, search_images
from imagen.library.albums import list_albums
from imagen.library.tags import change_tags, set_rating

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page
    from support.browser import OpenPage
    from support.live_server import LiveServer


@pytest.fixture
def foxes(tmp_path: Path) -> Iterator[LiveServer]:
    """A server with eight foxes: three with the tag `night`, two of them with 4 stars."""
    folder = tmp_path / "server"
    folder.mkdir()
    with image_server(folder) as server:
        library = server.runtime.library
        images = find_images_by_uid(library, [uid_of(number) for number in range(3)])
        change_tags(library, images, add=["night"])
        set_rating(library, images[:2], 4)
        yield server


def _tiles(page: Page, many: int) -> None:
    expect(page.locator(".tile:visible")).to_have_count(many)


def _select(page: Page, *numbers: int) -> None:
    """Select the images of these numbers by the key."""
    for number in numbers:
        page.locator(f'.tile[data-uid="{uid_of(number)}"]').focus()
        page.keyboard.press("x")


def test_a_search_is_in_the_address_and_survives_a_reload(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(foxes.url)
    _tiles(page, 8)
    page.keyboard.press("/")
    page.keyboard.type("red")
    _tiles(page, 1)
    expect(page).to_have_url(re.compile(r"\?q=red$"))
    page.reload()
    _tiles(page, 1)
    expect(page.get_by_label("Search prompts")).to_have_value("red")
    page.get_by_role("button", name="Clear search").click()
    _tiles(page, 8)


def test_filters_have_counts_and_are_removed_one_by_one(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(foxes.url)
    page.get_by_role("button", name="Tag", exact=True).click()
    popover = page.get_by_role("dialog", name="Tag")
    expect(popover.get_by_role("button", name="night 3")).to_be_in_viewport()
    popover.get_by_role("button", name="night").click()
    _tiles(page, 3)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Tag", exact=True)).to_be_focused()
    page.get_by_role("button", name="Starred").click()
    _tiles(page, 2)
    page.reload()
    _tiles(page, 2)
    page.get_by_role("button", name="Remove filter: night").click()
    _tiles(page, 2)
    page.get_by_role("button", name=re.compile("Remove filter: 1 star")).click()
    _tiles(page, 8)


def test_no_match_offers_a_way_back(foxes: LiveServer, open_page: OpenPage) -> None:
    page = open_page(foxes.url, "?q=owl&tag=night")
    expect(page.get_by_role("heading", name="No images match “owl”")).to_be_in_viewport()
    page.get_by_role("button", name="Clear search").last.click()
    _tiles(page, 3)


def test_the_phone_searches_in_a_mode_that_back_ends(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(foxes.url, size="phone")
    page.get_by_role("button", name="Search and filter").click()
    expect(page.get_by_label("Search prompts")).to_be_focused()
    chips = page.get_by_role("group", name="Filters")
    box = chips.get_by_role("button", name="Model").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    expect(page.get_by_role("button", name="Generate")).to_have_count(0)
    page.get_by_label("Search prompts").fill("snow")
    expect(page).to_have_url(re.compile("q=snow"))
    page.go_back()
    expect(page.get_by_role("heading", name="Images", exact=True)).to_be_in_viewport()
    expect(page).to_have_url(f"{foxes.url}/")
    expect(page.get_by_role("button", name="Generate").first).to_be_in_viewport()


def test_images_are_selected_by_keys_and_clicks_and_back_ends_it(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(foxes.url)
    _tiles(page, 8)
    _select(page, 7)
    expect(page.get_by_role("heading", name="1 selected")).to_be_in_viewport()
    page.locator(f'.tile[data-uid="{uid_of(4)}"]').click(modifiers=["Shift"])
    expect(page.get_by_role("heading", name="4 selected")).to_be_visible()
    page.keyboard.press("Control+a")
    expect(page.get_by_role("heading", name="8 selected")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("toolbar")).to_have_count(0)
    _tiles(page, 8)


def test_deleting_is_undone_and_another_tab_sees_both(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page, other = open_page(foxes.url), open_page(foxes.url)
    _tiles(other, 8)
    _select(page, 7, 6)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("2 images moved to trash")).to_be_in_viewport()
    _tiles(page, 6)
    _tiles(other, 6)
    page.keyboard.press("Control+z")
    _tiles(page, 8)
    _tiles(other, 8)


def test_keys_star_and_rate_the_selected_images(foxes: LiveServer, open_page: OpenPage) -> None:
    page = open_page(foxes.url)
    _tiles(page, 8)
    _select(page, 7, 6)
    with page.expect_response("**/api/v1/images"):
        page.keyboard.press("3")
    expect(page.locator('.tile[aria-label*="3 stars"]')).to_have_count(2)
    with page.expect_response("**/api/v1/images"):
        page.keyboard.press(".")
    expect(page.locator('.tile[aria-label*="star"]')).to_have_count(2)
    assert len(search_images(foxes.runtime.library, Query(rating=1)).images) == 2


def test_tags_are_added_to_several_images(foxes: LiveServer, open_page: OpenPage) -> None:
    page = open_page(foxes.url)
    _tiles(page, 8)
    _select(page, 7, 6)
    page.get_by_role("toolbar").get_by_role("button", name="Tags").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New tag").fill("By The Sea")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("button", name="Remove the tag by the sea")).to_be_visible()
    dialog.get_by_role("button", name="Add the tag night").click()
    expect(dialog.get_by_role("button", name="Remove the tag night")).to_be_visible()
    found = search_images(foxes.runtime.library, Query(tags=("by the sea", "night"))).images
    assert {image.uid for image in found} == {uid_of(7), uid_of(6)}


def test_an_album_is_made_of_the_selection_and_opened_on_the_phone(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(foxes.url, size="phone")
    _tiles(page, 8)
    _select(page, 7, 5)
    page.get_by_role("toolbar").get_by_role("button", name="Album").click()
    page.get_by_label("Name of a new album").fill("Foxes")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("2 images added to “Foxes”")).to_be_in_viewport()
    page.get_by_role("button", name="Show").click()
    _tiles(page, 2)
    assert [album.images for album in list_albums(foxes.runtime.library)] == [2]


def test_selected_images_are_downloaded_as_a_zip_file(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(foxes.url)
    _tiles(page, 8)
    _select(page, 7, 6)
    with page.expect_download() as waiting:
        page.get_by_role("toolbar").get_by_role("button", name="Download").click()
    folder = foxes.runtime.settings.output.directory
    with zipfile.ZipFile(waiting.value.path()) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    names = ("fox-grey.png", "fox-purple.png")
    assert content == {name: (folder / name).read_bytes() for name in names}


def test_the_trash_restores_and_deletes_for_good(foxes: LiveServer, open_page: OpenPage) -> None:
    foxes.client.post(
        "/api/v1/trash", json={"images": [uid_of(number) for number in range(3)]}
    ).raise_for_status()
    page = open_page(foxes.url, "trash")
    _tiles(page, 3)
    _select(page, 0)
    page.get_by_role("button", name="Restore").click()
    _tiles(page, 2)
    page.get_by_role("button", name="Empty trash").click()
    page.get_by_role("dialog").get_by_role("button", name="Empty trash").click()
    _tiles(page, 0)
    assert len(search_images(foxes.runtime.library, Query()).images) == 6


def test_a_view_is_saved_and_opened_on_another_device(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page, phone = open_page(foxes.url, "?tag=night"), open_page(foxes.url, size="phone")
    page.get_by_role("button", name="Saved views").click()
    page.get_by_label("Save these filters as").fill("Nights")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Nights", exact=True)).to_be_visible()
    phone.get_by_role("button", name="Search and filter").click()
    phone.get_by_role("button", name="Saved views").click()
    phone.get_by_role("button", name="Nights", exact=True).click()
    _tiles(phone, 3)


def test_all_filters_are_in_sight_and_the_rest_behind_one(
    foxes: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(foxes.url)
    filters = page.get_by_role("group", name="Filters").get_by_role("button")
    for chip in filters.all():
        expect(chip).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="More filters").click()
    more = page.get_by_role("dialog", name="More filters")
    more.get_by_role("button", name="4 stars").click()
    _tiles(page, 2)
    more.get_by_role("button", name="Free").click()
    expect(page).to_have_url(re.compile(r"star=4&cost=free$"))


def test_a_row_of_filters_fades_where_there_is_more(foxes: LiveServer, open_page: OpenPage) -> None:
    page = open_page(foxes.url, size="tablet")
    row = page.get_by_role("group", name="Filters")
    read = "row => ['left', 'right'].map(side => row.style.getPropertyValue(`--fade-${side}`))"
    expect(row.get_by_role("button").first).to_be_in_viewport(ratio=1)
    assert row.evaluate(read) == ["0px", "32px"]
    row.evaluate("row => (row.scrollLeft = row.scrollWidth)")
    expect(row).to_have_attribute("style", re.compile("left: 32px; --fade-right: 0px"))
