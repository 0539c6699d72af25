"""The viewer of one image: touch, keys, details, and what can be done with an image."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from support.live_server import live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import CDPSession, FloatRect, Locator, Page, Route
    from support.browser import OpenPage, Size
    from support.live_server import LiveServer

_LONG = ("a very long prompt of many words, " * 400)[:10_000]
_ARABIC = "ضباب الفجر فوق الوادي"
_CHINESE = "霧の谷、夜明け、木の小屋"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    backends: dict[str, dict[str, Any]] = {
        "mock": {"type": "mock"},
        "dusk": {"type": "mock", "look": "dusk"},
    }
    folder = tmp_path_factory.mktemp("server")
    with live_server(server_settings(backends, folder=folder)) as server:
        yield server


@pytest.fixture(scope="module")
def uids(server: LiveServer) -> list[str]:
    """Nine images, the newest first."""
    odd = {"steps": 500, "cfg": 6.5, "negative": "text"}
    prompts = [_LONG, _ARABIC, _CHINESE, *(f"valley {n}" for n in range(5))]
    requests = [{"prompt": prompt, "width": 256, "height": 384} for prompt in prompts]
    requests.append({"prompt": "clamped", "width": 384, "height": 256, **odd})
    return [_generate(server, seed=n, **values) for n, values in enumerate(requests)][::-1]


def _generate(server: LiveServer, **request: Any) -> str:
    body = {"backend": "mock", "request": request}
    answer = server.client.post("/api/v1/generations?wait=20", json=body)
    return str(answer.raise_for_status().json()["images"][0]["uid"])


def _image(page: Page) -> Locator:
    return page.get_by_test_id("image")


def _box(locator: Locator) -> FloatRect:
    box = locator.bounding_box()
    assert box is not None
    return box


class Fingers:
    """Real touches on a page."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)

    def _send(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def swipe(self, start: tuple[float, float], end: tuple[float, float], steps: int = 6) -> None:
        self._send("touchStart", start)
        for n in range(1, steps + 1):
            share = n / steps
            self._send(
                "touchMove",
                (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share),
            )
        self._send("touchEnd")

    def tap(self, x: float, y: float) -> None:
        self._send("touchStart", (x, y))
        self._send("touchEnd")

    def spread(self, x: float, y: float, start: float, end: float, steps: int = 6) -> None:
        """Two fingers, so many pixels apart, move away from each other."""
        self._send("touchStart", (x - start / 2, y), (x + start / 2, y))
        for n in range(1, steps + 1):
            half = (start + (end - start) * n / steps) / 2
            self._send("touchMove", (x - half, y), (x + half, y))
        self._send("touchEnd")


def test_a_direct_link_shows_the_image_and_leads_to_the_gallery(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[3]}")
    viewer = page.get_by_role("dialog", name="Image")
    expect(viewer).to_be_focused()
    expect(viewer.get_by_text("4 of 9")).to_be_in_viewport()
    expect(_image(page)).to_be_in_viewport(ratio=1)
    expect(_image(page).locator("img.loaded")).to_have_js_property("naturalWidth", 256)
    box = _box(_image(page))
    assert box["width"] / box["height"] == pytest.approx(256 / 384, rel=0.01)
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{server.url}/")
    expect(viewer).to_have_count(0)


def test_an_unknown_address_gets_a_sentence_and_a_way_back(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    del uids
    page = open_page(server.url, "image/ffffffff", size="phone", may_fail=True)
    expect(page.get_by_text("There is no image at this address.")).to_be_in_viewport()
    page.get_by_role("button", name="Go to the gallery").click()
    expect(page).to_have_url(f"{server.url}/")


def test_keys_move_rate_zoom_and_hide_the_details(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[1]}")
    counter = page.get_by_text(re.compile(r"^\d of 9$"))
    expect(counter).to_have_text("2 of 9")
    for key, place in [("ArrowRight", 3), ("End", 9), ("ArrowLeft", 8), ("Home", 1)]:
        page.keyboard.press(key)
        expect(counter).to_have_text(f"{place} of 9")
        expect(page).to_have_url(re.compile(f"/image/{uids[place - 1]}$"))
    details = page.get_by_role("complementary", name="Details")
    expect(details).to_be_in_viewport()
    page.keyboard.press("3")
    expect(details.get_by_role("button", name="3 stars")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Star", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("0")
    expect(details.get_by_role("button", name="3 stars")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("i")
    expect(details).to_have_count(0)
    before = _box(_image(page))
    page.keyboard.press("+")
    percent = page.get_by_role("group", name="Zoom").get_by_role("button").nth(1)
    expect(page.get_by_role("button", name="Zoom out")).to_be_enabled()
    assert _box(_image(page))["width"] == pytest.approx(1.5 * before["width"], rel=0.01)
    page.keyboard.press("0")
    expect(page.get_by_role("button", name="Zoom out")).to_be_disabled()
    assert percent.is_visible()
    assert _box(_image(page)) == before


def test_the_wheel_zooms_at_the_pointer(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[0]}")
    expect(_image(page)).to_be_in_viewport(ratio=1)
    before = _box(_image(page))
    x, y = before["x"] + before["width"] * 0.75, before["y"] + before["height"] / 2
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -200)
    expect(page.get_by_role("button", name="Zoom out")).to_be_enabled()
    page.wait_for_timeout(0)
    after = _box(_image(page))
    assert after["width"] > 2 * before["width"]
    assert (x - after["x"]) / after["width"] == pytest.approx(0.75, abs=0.02)


def test_swipes_show_the_next_image_the_details_and_the_gallery(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[4]}", size="phone")
    expect(_image(page)).to_be_in_viewport()
    fingers = Fingers(page)
    fingers.swipe((300, 300), (60, 310))
    expect(page).to_have_url(re.compile(f"/image/{uids[5]}$"))
    fingers.swipe((60, 300), (300, 310))
    expect(page).to_have_url(re.compile(f"/image/{uids[4]}$"))
    fingers.swipe((10, 300), (300, 310))  # from the edge: the browser's own gesture
    fingers.swipe((200, 400), (210, 150))
    sheet = page.get_by_role("dialog", name="Details")
    expect(sheet).to_be_in_viewport()
    expect(page).to_have_url(re.compile(rf"/image/{uids[4]}\?details=1$"))
    page.go_back()
    expect(sheet).to_have_count(0)
    fingers.swipe((200, 150), (210, 420))
    expect(page).to_have_url(f"{server.url}/")


def test_two_fingers_and_two_taps_zoom_and_one_finger_pans(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[4]}", size="phone")
    expect(_image(page)).to_be_in_viewport()
    fingers, before = Fingers(page), _box(_image(page))
    fingers.spread(195, 300, 80, 240)
    zoom = page.get_by_role("group", name="Zoom")
    expect(zoom).to_be_in_viewport()
    near = _box(_image(page))
    assert near["width"] == pytest.approx(3 * before["width"], rel=0.15)
    fingers.swipe((250, 300), (150, 300))
    expect(page).to_have_url(re.compile(f"/image/{uids[4]}$"))  # it pans and does not leave
    assert _box(_image(page))["x"] == pytest.approx(near["x"] - 100, abs=12)
    fingers.tap(195, 300)
    fingers.tap(195, 300)
    expect(zoom).to_have_count(0)
    assert _box(_image(page)) == before
    fingers.tap(195, 300)
    expect(page.get_by_role("group", name="Actions")).to_be_hidden()
    fingers.tap(195, 300)
    expect(page.get_by_role("group", name="Actions")).to_be_visible()


def test_back_returns_to_the_tile_that_was_opened(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url)
    page.locator(f'a[href*="{uids[2]}"]').first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Image")).to_be_focused()
    expect(page.locator(".app")).to_have_attribute("inert", "")
    page.go_back()
    expect(page).to_have_url(f"{server.url}/")
    expect(page.locator(f'a[href*="{uids[2]}"]').first).to_be_focused()


def test_deleting_shows_the_next_image_and_can_be_undone(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[1]}", size="phone")
    expect(page.get_by_text("2 of 9")).to_be_in_viewport()
    page.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile(f"/image/{uids[2]}$"))
    expect(page.get_by_text("2 of 8")).to_be_in_viewport()
    page.get_by_role("button", name="Undo").click()
    expect(page).to_have_url(re.compile(f"/image/{uids[1]}$"))
    expect(page.get_by_text("2 of 9")).to_be_in_viewport()


def test_an_image_that_is_deleted_elsewhere_makes_way(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[1]}")
    expect(page.get_by_text("valley 4").first).to_be_visible()
    server.client.delete(f"/api/v1/images/{uids[1]}").raise_for_status()
    try:
        expect(page.get_by_text("This image was deleted elsewhere.")).to_be_in_viewport()
        expect(page).to_have_url(re.compile(f"/image/{uids[2]}$"))
    finally:
        server.client.post("/api/v1/trash/restore", json={"images": [uids[1]]}).raise_for_status()


def test_the_receipt_says_in_words_what_was_dropped_and_clamped(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[0]}")
    details = page.get_by_role("complementary", name="Details")
    expect(details.get_by_text("2 of 8 changed")).to_be_in_viewport()
    lines = details.locator("li.line")
    expect(lines.nth(0)).to_contain_text("CFG")
    expect(lines.nth(0)).to_contain_text("Dropped")
    expect(lines.nth(0)).to_contain_text("The mock paints without a model.")
    expect(lines.nth(1)).to_contain_text("Clamped")
    expect(lines.nth(1)).to_contain_text("500 → 200")
    expect(lines).to_have_count(2)
    details.get_by_role("button", name="6 applied as asked").click()
    expect(lines).to_have_count(8)


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_reuse_fills_the_form(
    size: Size, server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[0]}", size=size)
    expect(_image(page)).to_be_in_viewport()
    name = "Reuse" if size == "phone" else "Reuse all"
    page.get_by_role("button", name=name, exact=True).click()
    query = r"\?panel=generate" if size == "phone" else ""
    expect(page).to_have_url(re.compile(f"^{server.url}/{query}$"))
    kept = json.loads(page.evaluate("localStorage.getItem('imagen.draft')"))
    assert kept["request"]["prompt"] == "clamped"
    assert kept["request"]["steps"] == 200
    assert kept["request"]["width"] == 384


def test_values_are_copied_where_the_clipboard_is_not_allowed(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[0]}")
    seed = page.get_by_role("button", name="Copy: Seed")
    expect(seed).to_be_visible()
    page.evaluate(
        """() => {
          Object.defineProperty(navigator, "clipboard", { value: undefined });
          window.copied = "";
          document.addEventListener("copy", () => { window.copied = String(getSelection()) ||
            document.activeElement.value; });
        }"""
    )
    seed.click()
    expect(page.get_by_text("Copied")).to_be_in_viewport()
    assert page.evaluate("window.copied") == "8"
    page.evaluate("document.execCommand = () => false")
    page.get_by_role("button", name="Copy: Size").click()
    expect(page.get_by_text("does not allow copying")).to_be_in_viewport()
    assert page.evaluate("String(getSelection())") == "384 × 256"


def test_prompts_of_any_length_and_script_fit(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[8]}?details=1", size="phone")
    sheet = page.get_by_role("dialog", name="Details")
    prompt = sheet.locator("p[dir=auto]").first
    expect(prompt).to_have_text(_LONG.strip())
    short = _box(prompt)["height"]
    assert short < 80
    sheet.get_by_role("button", name="Show all").click()
    assert _box(prompt)["height"] > 1000
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.goto(f"{server.url}/image/{uids[7]}?details=1")
    expect(prompt).to_have_text(_ARABIC)
    assert prompt.evaluate("element => getComputedStyle(element).direction") == "rtl"
    page.goto(f"{server.url}/image/{uids[6]}?details=1")
    expect(prompt).to_have_text(_CHINESE)


def test_actions_on_the_phone_are_large_and_within_reach(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[4]}", size="phone")
    actions = page.get_by_role("group", name="Actions").get_by_role("button")
    expect(actions).to_have_text(["Star", "Reuse", "Use…", "Details", "Delete"])
    for action in actions.all():
        box = _box(action)
        assert min(box["width"], box["height"]) >= 44
        assert box["y"] > 844 * 2 / 3
        assert box["y"] + box["height"] <= 844


def test_an_image_is_made_again_elsewhere_with_a_report(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[0]}?use=1")
    sheet = page.get_by_role("dialog").last
    sheet.get_by_role("button", name="Make again on another model").click()
    sheet.get_by_role("radio", name=re.compile("dusk")).check()
    expect(sheet.get_by_text("What will differ")).to_be_visible()
    expect(sheet.get_by_text("mock → dusk")).to_be_visible()
    sheet.get_by_role("button", name="Make again", exact=True).click()
    expect(sheet.get_by_text("What differs", exact=True)).to_be_visible()
    expect(sheet.get_by_text(re.compile("pixels differ by"))).to_be_visible()
    expect(sheet.get_by_role("link", name="Compare both")).to_be_in_viewport()


def test_an_operation_adds_a_new_image(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[0]}?use=operations", size="phone")
    sheet = page.get_by_role("dialog").last
    expect(sheet.get_by_role("button", name="Rotate").last).to_be_disabled()
    sheet.get_by_label("Degrees").fill("90")
    sheet.get_by_role("button", name="Rotate").last.click()
    expect(page.get_by_text("The new image is in the gallery.")).to_be_in_viewport()
    box = _box(_image(page))
    assert box["height"] > box["width"]  # the original is wider than high


def test_the_trash_is_walked_through(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    trashed = uids[2:5]
    server.client.post("/api/v1/trash", json={"images": trashed}).raise_for_status()
    try:
        page = open_page(server.url, "trash", size="phone")
        page.locator(f'a[href*="{trashed[0]}"]').first.click()
        expect(page.get_by_text("1 of 3")).to_be_in_viewport()
        Fingers(page).swipe((300, 300), (60, 310))
        expect(page).to_have_url(re.compile(f"/image/{trashed[1]}$"))
        expect(page.get_by_text("2 of 3")).to_be_in_viewport()
        expect(page.get_by_role("button", name="Restore")).to_be_in_viewport()
        page.go_back()
        expect(page).to_have_url(f"{server.url}/trash")
        expect(page.locator('a[href*="image/"]')).to_have_count(3)
    finally:
        server.client.post("/api/v1/trash/restore", json={"images": trashed}).raise_for_status()


def test_a_control_image_is_made_from_the_image_by_the_chosen_engine(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[0]}?use=control")
    sheet = page.get_by_role("dialog").last
    sheet.get_by_label("Engine").select_option("dusk")
    sheet.get_by_label("Kind").select_option("depth")
    sheet.get_by_role("button", name="Add to the form").click()
    expect(page.get_by_role("group", name="Control image")).to_be_in_viewport(ratio=1)
    kept = json.loads(page.evaluate("localStorage.getItem('imagen.draft')"))
    assert kept["backends"] == ["dusk"]
    control = {"kind": "depth", "preprocess": True, "image": f"image:{uids[0]}"}
    assert kept["request"]["controls"] == [control]


def test_the_thumbnail_is_shown_until_the_file_is_there(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url)
    expect(page.locator(f'a[href*="{uids[3]}"]').first).to_be_visible()
    held: list[Route] = []
    page.route(re.compile(rf"/images/{uids[3]}/file"), lambda route: held.append(route))
    page.locator(f'a[href*="{uids[3]}"]').first.click()
    images = _image(page).locator("img")
    thumbnail, file = images.first, images.last
    expect(thumbnail).to_be_in_viewport(ratio=1)
    expect(thumbnail).not_to_have_js_property("naturalWidth", 0)
    expect(file).to_have_css("opacity", "0")
    assert _box(thumbnail) == _box(_image(page))
    for route in held:
        route.continue_()
    expect(file).to_have_css("opacity", "1")
    assert _box(file) == _box(thumbnail)


def test_the_filmstrip_leads_to_the_images_near(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[4]}", size="phone")
    strip = page.get_by_role("group", name="Images nearby")
    current = strip.locator("[aria-current]")
    expect(current).to_have_accessible_name(re.compile(r"^Image \d+$"))
    number = int((current.get_attribute("aria-label") or "").split()[-1])  # others came since
    box, middle = _box(current), 390 / 2
    assert box["x"] < middle < box["x"] + box["width"]
    assert box["height"] >= 44
    entries = page.evaluate("history.length")
    strip.get_by_role("button", name=f"Image {number + 1}", exact=True).tap()
    expect(page).to_have_url(re.compile(f"/image/{uids[5]}$"))
    expect(current).to_have_accessible_name(f"Image {number + 1}")
    assert page.evaluate("history.length") == entries


def test_details_of_a_turned_phone_are_a_drawer_that_back_closes(
    server: LiveServer, uids: list[str], open_page: OpenPage
) -> None:
    page = open_page(server.url, f"image/{uids[4]}", size="phone")
    page.get_by_role("button", name="Details").click()
    expect(page.get_by_role("dialog", name="Details")).to_be_in_viewport()
    page.set_viewport_size({"width": 844, "height": 390})
    drawer = page.get_by_role("complementary", name="Details")
    expect(drawer).to_be_in_viewport(ratio=1)
    box = _box(drawer)
    assert (box["x"] + box["width"], box["width"]) == (844, 376)
    expect(page.locator(".caption")).to_have_count(0)
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(rf"/image/{uids[5]}\?details=1$"))
    expect(drawer).to_be_in_viewport(ratio=1)
    page.go_back()
    expect(drawer).to_have_count(0)
    expect(_image(page)).to_be_in_viewport(ratio=1)
