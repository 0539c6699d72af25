"""The main tasks with the keyboard alone, and as a screen reader gives them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from support.sample_site import run_comparison, sample_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page
    from support.browser import OpenPage
    from support.live_server import LiveServer

_MOST_TABS = 80
_IS_FOCUS_SEEN = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return false;
  const modals = [...document.querySelectorAll("dialog:modal, [aria-modal=true]")];
  if (modals.length && !modals.at(-1).contains(at) && !at.closest(":popover-open")) return false;
  // What was opened takes the focus itself, until the next key.
  if (at.tabIndex < 0 && at.matches("[role=dialog], dialog, h1, [role=menu]")) return true;
  const { top, bottom, left, right } = at.getBoundingClientRect();
  if (bottom <= 0 || right <= 0 || top >= innerHeight || left >= innerWidth) return false;
  const hasRing = (one) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(one);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  };
  const ringed = [at, at.closest(".field") ?? at];
  return at.matches(":focus-visible") && ringed.some(hasRing);
}"""
_NAME = """() => {
  const at = document.activeElement;
  const name = at.getAttribute("aria-label") || at.labels?.[0]?.innerText || at.innerText || "";
  return name.trim().split("\\n")[0];
}"""


@dataclass(frozen=True)
class KeyboardWalk:
    """A page that is used by keys alone: the focus is always seen, and never lost."""

    page: Page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.check_focus(f"after {key}")

    def write(self, text: str) -> None:
        self.page.keyboard.type(text)

    def go_to(self, name: str, *, key: str = "Tab") -> None:
        """Press Tab until the focus is at what has this name."""
        passed = []
        for _ in range(_MOST_TABS):
            self.page.keyboard.press(key)
            passed.append(self.page.evaluate(_NAME))
            if passed[-1] == name:
                self.check_focus(f"at {name}")
                return
        raise AssertionError(f"{name} cannot be reached by {key}; passed: {passed}")

    def check_focus(self, when: str) -> None:
        try:
            self.page.wait_for_function(_IS_FOCUS_SEEN, timeout=5000)
        except Exception as error:
            at = self.page.evaluate("document.activeElement?.outerHTML.slice(0, 200)")
            raise AssertionError(f"The focus is lost or not seen {when}: {at}") from error


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LiveServer]:
    with sample_site(tmp_path, images=12) as server:
        yield server


def _walk(page: Page) -> KeyboardWalk:
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    return KeyboardWalk(page)


# --- the keyboard alone ---


def test_an_image_is_generated_by_keys(site: LiveServer, open_page: OpenPage) -> None:
    page = open_page(site.url)
    walk = _walk(page)
    walk.go_to("Prompt")
    walk.write("a red kite over the sea")
    walk.go_to("1:1")
    walk.press("ArrowRight", "ArrowRight")
    expect(page.get_by_role("radio", name="3:2")).to_be_checked()
    walk.go_to("More images")
    walk.press("Enter")
    walk.go_to("Generate 2")
    walk.press("Enter")
    expect(page.get_by_role("option", name="a red kite over the sea")).to_have_count(2)
    walk.check_focus("when the images are there")
    expect(page.get_by_role("button", name="Generate 2", exact=True)).to_be_focused()


def test_an_image_is_generated_by_keys_on_a_tablet(site: LiveServer, open_page: OpenPage) -> None:
    page = open_page(site.url, size="tablet")
    walk = _walk(page)
    walk.press("Alt+A")
    sheet = page.get_by_role("dialog", name="New image")
    expect(sheet).to_be_in_viewport()
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    walk.write("a red kite")
    walk.press("Control+Enter")
    expect(page.get_by_role("option", name="a red kite", exact=True)).to_have_count(1)
    walk.press("Escape")
    expect(sheet).to_have_count(0)


def test_a_model_is_chosen_by_keys(site: LiveServer, open_page: OpenPage) -> None:
    page = open_page(site.url)
    walk = _walk(page)
    walk.go_to("Prompt")
    model = page.get_by_role("button", name=re.compile("^Model: "))
    name = model.get_attribute("aria-label") or ""
    walk.go_to(name)
    walk.press("Enter")
    picker = page.get_by_role("dialog", name="Model")
    expect(picker).to_be_in_viewport()
    walk.write("dusk")
    walk.press("ArrowDown", "Enter")
    expect(picker).to_have_count(0)
    expect(model).to_have_attribute("aria-label", re.compile("^Model: dusk"))
    walk.check_focus("when the picker has closed")


def test_an_image_is_found_opened_rated_deleted_and_restored(
    site: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(site.url)
    walk = _walk(page)
    walk.press("/")
    walk.write("moon")
    found = page.get_by_role("option", name=re.compile("pale moon"))
    expect(page.get_by_role("option")).to_have_count(2)
    walk.press("Enter")
    walk.go_to("dunes under a pale moon, wide angle")
    walk.press("ArrowRight", "ArrowLeft", "Enter")
    viewer = page.get_by_role("dialog", name="Image")
    expect(viewer).to_be_in_viewport()
    expect(viewer).to_contain_text("1 of 2")
    walk.press("4")
    expect(viewer.get_by_role("button", name="4 stars")).to_have_attribute("aria-pressed", "true")
    walk.go_to("Delete")
    walk.press("Enter")
    expect(viewer).to_contain_text("1 of 1")
    walk.press("Control+z")
    expect(viewer).to_contain_text("of 2")
    walk.press("ArrowLeft", "Escape")
    expect(viewer).to_have_count(0)
    expect(found).to_have_count(2)
    walk.check_focus("back in the gallery")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "option"
    walk.press("Delete")
    expect(found).to_have_count(1)
    walk.check_focus("after the tile is gone")
    walk.go_to("Undo")
    walk.press("Enter")
    expect(found).to_have_count(2)
    walk.check_focus("after Undo")


def test_two_images_are_compared_by_keys(site: LiveServer, open_page: OpenPage) -> None:
    page = open_page(site.url)
    walk = _walk(page)
    walk.go_to("Saved views")
    walk.press("Tab", "x", "ArrowRight", "x")
    expect(page.get_by_role("heading", name="2 selected")).to_be_in_viewport()
    walk.go_to("Compare")
    if "aria-current" in page.evaluate("document.activeElement.outerHTML"):
        walk.go_to("Compare")
    walk.press("Enter")
    two = page.get_by_role("dialog", name="Compare images")
    expect(two).to_be_in_viewport()
    walk.go_to("Side by side")
    walk.press("Enter")
    expect(two.get_by_role("button", name="Side by side")).to_have_attribute("aria-pressed", "true")
    before = page.url
    walk.press("c")
    expect(page).not_to_have_url(before)
    walk.press("1")
    expect(two.get_by_role("button", name="A kept")).to_have_attribute("aria-pressed", "true")
    walk.press("Escape")
    expect(two).to_have_count(0)
    walk.check_focus("back in the gallery")


def test_a_vote_is_cast_by_keys(site: LiveServer, open_page: OpenPage) -> None:
    run_comparison(site)
    page = open_page(site.url)
    walk = _walk(page)
    walk.go_to("Arena")
    walk.press("Enter")
    expect(page.get_by_role("img", name="Image A")).to_be_in_viewport()
    walk.press("ArrowLeft")
    expect(page.get_by_text("Vote 2", exact=True)).to_be_in_viewport()
    walk.press("u")
    expect(page.get_by_text("Vote 1", exact=True)).to_be_in_viewport()
    walk.go_to("Enlarge image A")
    walk.press("Enter")
    large = page.get_by_role("dialog", name=re.compile("^Image A"))
    expect(large).to_be_in_viewport()
    walk.press("ArrowRight", "Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    walk.check_focus("after the large image")
    walk.go_to("Tie")
    walk.press("Enter")
    expect(page.get_by_text("Vote 2", exact=True)).to_be_in_viewport()
    walk.go_to("Ranking", key="Shift+Tab")
    walk.press("Enter")
    expect(page.get_by_role("table")).to_be_in_viewport()
    walk.check_focus("at the ranking")


# --- a screen reader ---


def test_a_screen_reader_hears_how_an_image_is_made(site: LiveServer, open_page: OpenPage) -> None:
    page = open_page(site.url)
    walk = _walk(page)
    form = page.get_by_role("complementary", name="New image")
    expect(form).to_match_aria_snapshot("""
      - heading "New image" [level=2]
      - group "Input images"
      - textbox "Prompt"
      - group "Model":
        - 'button /^Model: aurora, Mock/'
      - group "Size":
        - radiogroup "Size":
          - radio "1:1" [checked]
      - group "Images":
        - button "More images"
      - textbox "Seed"
      - button "Generate" [disabled]
      - paragraph: Describe the image first.
    """)
    walk.press("Alt+A")
    walk.write("a red kite over the sea")
    expect(form).to_match_aria_snapshot("""
      - textbox "Prompt": a red kite over the sea
      - button "Generate"
    """)
    walk.press("Control+Enter")
    expect(page.locator("[aria-live]").filter(has_text="1 image ready")).to_have_count(1)
    expect(page.get_by_role("listbox", name="Gallery")).to_match_aria_snapshot("""
      - listbox "Gallery":
        - option "a red kite over the sea"
    """)
    made = page.get_by_role("option", name="a red kite over the sea")
    expect(made).to_have_attribute("aria-posinset", "1")
    expect(made).to_have_attribute("aria-setsize", "13")


def test_a_screen_reader_is_told_what_the_viewer_shows(
    site: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(site.url, "?q=moon")
    walk = _walk(page)
    expect(page.get_by_role("option").first).to_be_in_viewport()
    walk.press("ArrowRight", "Enter")
    viewer = page.get_by_role("dialog", name="Image", exact=True)
    expect(viewer).to_match_aria_snapshot("""
      - dialog "Image":
        - button "Back to the gallery"
        - text: 1 of 2
        - button "Star"
        - button "Use this image"
        - button "Compare with another image"
        - link "Download"
        - button "Delete"
        - button "Details" [expanded]
        - img "dunes under a pale moon, wide angle"
        - group "Zoom"
        - button "Previous image" [disabled]
        - button "Next image"
        - group "Images nearby":
          - button "Image 1"
          - button "Image 2"
        - complementary "Details":
          - heading "Prompt"
          - paragraph: dunes under a pale moon, wide angle
          - group "Rating":
            - button "1 star"
            - button "5 stars"
    """)
    walk.press(".")
    expect(viewer.get_by_role("button", name="Star", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    walk.press("Delete")
    expect(
        page.get_by_role("status").filter(has_text="Image moved to trash")
    ).to_match_aria_snapshot(
        """
      - status:
        - text: Image moved to trash
        - button "Undo"
    """
    )
    walk.press("Control+z", "Escape")
    expect(page.get_by_role("option", name=re.compile("5 stars$"))).to_have_count(1)


def test_a_screen_reader_compares_two_images(site: LiveServer, open_page: OpenPage) -> None:
    page = open_page(site.url)
    walk = _walk(page)
    expect(page.get_by_role("option").first).to_be_in_viewport()
    walk.press("ArrowRight", "x", "ArrowRight", "x")
    expect(page.get_by_role("main")).to_match_aria_snapshot("""
      - heading "2 selected" [level=1]
      - button "Select all"
    """)
    expect(page.get_by_role("option", selected=True)).to_have_count(2)
    expect(page.get_by_role("toolbar")).to_match_aria_snapshot("""
      - toolbar:
        - button "Star"
        - button "Compare"
    """)
    walk.go_to("Star")
    walk.go_to("Compare")
    walk.press("Enter")
    two = page.get_by_role("dialog", name="Compare images")
    expect(two).to_match_aria_snapshot("""
      - dialog "Compare images":
        - button "Back"
        - heading "Compare images" [level=1]
        - group "How to compare":
          - button "Slider" [pressed]
          - button "Side by side"
          - button "Flicker"
        - button "Swap A and B"
        - 'img /^A:/'
        - 'img /^B:/'
        - slider "Divider between A and B": "50"
        - region "What differs":
          - table:
            - rowgroup:
              - row /4 differ A B/
        - button "Keep A"
        - button "Keep B"
    """)


def test_a_screen_reader_votes_without_a_name(site: LiveServer, open_page: OpenPage) -> None:
    run_comparison(site)
    page = open_page(site.url, "arena")
    walk = _walk(page)
    expect(page.get_by_role("img", name="Image A")).to_be_in_viewport()
    expect(page.get_by_role("main")).to_match_aria_snapshot("""
      - heading "Arena" [level=1]
      - group "Arena":
        - button "Vote" [pressed]
        - button "Ranking"
      - text: Vote 1
      - button "Enlarge image A":
        - img "Image A"
      - button "Enlarge image B":
        - img "Image B"
      - button "A is better"
      - button "Tie"
      - button "Both bad"
      - button "B is better"
      - button "Undo" [disabled]
      - button "Skip"
    """)
    walk.go_to("B is better")
    walk.press("Enter")
    expect(page.locator("[aria-live]").filter(has_text="2")).to_have_count(1)
    expect(page.get_by_role("button", name="B is better")).to_be_focused()
    walk.go_to("Ranking", key="Shift+Tab")
    walk.press("Enter")
    expect(page.get_by_role("table")).to_match_aria_snapshot("""
      - table "Ranking":
        - row /Rank Model/:
          - columnheader "Rank"
          - columnheader "Model"
        - row /1 vote/:
          - cell "1–2"
    """)
