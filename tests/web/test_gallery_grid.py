"""The grid of the gallery: scrolling, keys, touch, running jobs and what comes while one looks."""

from __future__ import annotations

import json
import re
import struct
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect
from support.live_server import live_server, server_settings
from support.sample_site import fill_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page, Route
    from support.browser import OpenPage
    from support.live_server import LiveServer

_TILE = "[data-uid]"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with 90 images of some months, a slow and a failing backend."""
    folder = tmp_path_factory.mktemp("filled")
    backends: dict[str, dict[str, Any]] = {
        "mock": {"type": "mock"},
        "slow": {"type": "mock", "step_seconds": 0.15},
        "stuck": {"type": "mock", "step_seconds": 60},
        "broken": {"type": "mock", "fail": "failed"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with live_server(server_settings(backends, folder=folder)) as server:
            fill_library(server.runtime.library, folder, 90)
            yield server


def _submit(server: LiveServer, backend: str = "mock", **request: Any) -> str:
    body = {"backend": backend, "request": {"prompt": "a fox", "width": 256, **request}}
    answer = server.client.post("/api/v1/generations", json=body).raise_for_status()
    return str(answer.json()["job"])


def _tiles(page: Page) -> Locator:
    return page.locator(_TILE)


def _place(tile: Locator) -> tuple[float, float]:
    box = tile.bounding_box()
    assert box is not None
    return round(box["x"]), round(box["y"])


def _scroll(page: Page, to: int) -> None:
    """Scroll, and wait until the tiles of that place are there."""
    scroller = page.locator(".scroller")
    scroller.evaluate(
        """async (element, to) => {
          element.scrollTop = to;
          for (let n = 0; n < 2; n += 1) await new Promise(requestAnimationFrame);
        }""",
        to,
    )


def _offset(page: Page) -> float:
    offset = page.locator(".scroller").evaluate("element => element.scrollTop")
    return float(offset)


def _first_whole(page: Page) -> Locator:
    """The first tile that is wholly on the screen."""
    uid = page.evaluate(
        """() => [...document.querySelectorAll("[data-uid]")]
          .map(tile => [tile.getBoundingClientRect(), tile.dataset.uid])
          .filter(([box]) => box.top > 140 && box.bottom < innerHeight - 80)
          .sort(([a], [b]) => a.top - b.top || a.left - b.left)[0][1]"""
    )
    return page.locator(f'[data-uid="{uid}"]')


@contextmanager
def _touched(page: Page, *points: tuple[float, float]) -> Iterator[Callable[..., None]]:
    """Fingers down at these points for the block; the function moves them."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, *at: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(at)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    send("touchStart", points[0])
    if len(points) > 1:
        send("touchStart", *points)
    yield lambda *at: send("touchMove", *at)
    send("touchEnd")


def test_back_returns_to_the_same_place_and_image(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url, size="phone")
    expect(_tiles(page).first).to_be_in_viewport()
    _scroll(page, 1500)
    tile = _first_whole(page)
    uid, before = tile.get_attribute("data-uid"), _place(tile)
    tile.tap()
    expect(page).to_have_url(f"{filled.url}/image/{uid}")
    page.go_back()
    tile = page.locator(f'[data-uid="{uid}"]')
    expect(tile).to_be_focused()
    assert _place(tile) == before


def test_a_reload_keeps_the_place(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url)
    expect(_tiles(page).first).to_be_in_viewport()
    _scroll(page, 2000)
    tile = _first_whole(page)
    uid, before = tile.get_attribute("data-uid"), _place(tile)
    page.reload()
    tile = page.locator(f'[data-uid="{uid}"]')
    expect(tile).to_be_in_viewport(ratio=1)
    assert _place(tile) == before


def test_a_running_tile_becomes_the_image_in_its_place(
    filled: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(filled.url)
    expect(_tiles(page).first).to_be_in_viewport()
    job = _submit(filled, "slow", width=512, height=256, steps=8)
    tile = page.locator(f'[data-job="{job}"]')
    expect(tile).to_contain_text("Step")
    place, key = tile.bounding_box(), tile.get_attribute("data-key")
    image = page.locator(f'[data-uid="{key}"]')
    expect(image).to_be_in_viewport(ratio=1)
    assert image.bounding_box() == place
    assert place is not None
    assert place["height"] / place["width"] == pytest.approx(0.5, abs=0.01)
    expect(tile).to_have_count(0)


def test_a_running_job_is_cancelled_at_its_tile(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url, size="phone")
    job = _submit(filled, "stuck")
    tile = page.locator(f'[data-job="{job}"]')
    expect(tile).to_be_in_viewport()
    button = tile.get_by_role("button", name="Cancel")
    box = button.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 44
    button.tap()
    expect(tile).to_have_count(0)
    assert filled.wait_for_job(job)["state"] == "cancelled"


def test_a_failed_job_says_why_and_fills_the_form(filled: LiveServer, open_page: OpenPage) -> None:
    job = _submit(filled, "broken", prompt="a fox that fails")
    filled.wait_for_job(job)
    page = open_page(filled.url, size="tablet")
    tile = page.locator(f'[data-job="{job}"]')
    expect(tile).to_contain_text("The mock fails as configured")
    tile.get_by_role("button", name="Fix and retry").tap()
    expect(page).to_have_url(f"{filled.url}/?panel=generate")
    draft = json.loads(page.evaluate("localStorage.getItem('imagen.draft')"))
    assert draft["request"]["prompt"] == "a fox that fails"
    page.go_back()
    tile.get_by_role("button", name="Dismiss").tap()
    expect(tile).to_have_count(0)
    page.reload()
    expect(_tiles(page).first).to_be_in_viewport()
    expect(tile).to_have_count(0)


def test_new_images_do_not_move_what_is_seen(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url)
    expect(_tiles(page).first).to_be_in_viewport()
    _scroll(page, 1800)
    tile = _first_whole(page)
    before = _place(tile)
    filled.wait_for_job(_submit(filled, height=200, steps=1))
    chip = page.get_by_role("button", name="1 new")
    expect(chip).to_be_in_viewport(ratio=1)
    assert _place(tile) == before
    chip.click()
    expect(chip).to_have_count(0)
    assert _offset(page) == 0
    newest = filled.client.get("/api/v1/images?limit=1").json()["images"][0]["uid"]
    expect(page.locator(f'[data-uid="{newest}"]')).to_be_in_viewport(ratio=1)


def test_arrows_move_without_a_click_and_enter_opens(
    filled: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(filled.url, "?tag=keep")
    expect(_tiles(page).first).to_be_in_viewport()
    page.keyboard.press("ArrowRight")
    focused = page.locator(f"{_TILE}:focus")
    uid = focused.get_attribute("data-uid")
    start = page.locator(f'[data-uid="{uid}"]')
    page.keyboard.press("ArrowRight")
    expect(start).not_to_be_focused()
    x, y = _place(focused)  # now: the grid scrolls to show the whole of a higher image
    assert x > _place(start)[0]
    assert y == _place(start)[1]
    page.keyboard.press("ArrowLeft")
    expect(start).to_be_focused()
    assert page.locator(f'{_TILE}[tabindex="0"]').count() == 1
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{filled.url}/image/{uid}?tag=keep")
    page.go_back()
    expect(page.locator(f'[data-uid="{uid}"]')).to_be_focused()


def test_home_and_end_lead_to_the_first_and_the_last_image(
    filled: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(filled.url)
    expect(_tiles(page).first).to_be_in_viewport()
    page.keyboard.press("End")
    last = page.locator(f"{_TILE}:focus")
    expect(last).to_be_in_viewport(ratio=1)
    total = last.get_attribute("aria-setsize")
    assert last.get_attribute("aria-posinset") == total
    page.keyboard.press("Home")
    expect(page.locator(f"{_TILE}:focus")).to_have_attribute("aria-posinset", "1")
    assert _offset(page) == 0


def test_tiles_are_named_by_prompts_of_any_script(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url)
    for name in ("山間の湖、夜明け、静かな水面", "وادٍ جبلي ضبابي عند الفجر"):
        expect(page.get_by_role("option", name=name).first).to_be_attached()


def test_a_long_press_selects_and_a_tap_adds(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url, size="phone")
    expect(_tiles(page).first).to_be_in_viewport()
    tile = _first_whole(page)
    x, y = _place(tile)
    with _touched(page, (x + 30, y + 60)):
        expect(tile).to_have_attribute("aria-selected", "true")
    other = page.locator(f'{_TILE}[aria-selected="false"]').first
    other.tap()
    expect(page.locator(f'{_TILE}[aria-selected="true"]')).to_have_count(2)
    assert urlsplit(page.url).path == "/"


def test_two_fingers_change_the_number_of_columns(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url, size="phone")
    expect(_tiles(page).first).to_be_in_viewport()

    def columns() -> int:
        return len({_place(tile)[0] for tile in _tiles(page).all()})

    assert columns() == 2
    with _touched(page, (190, 500), (200, 500)) as move:
        for apart in range(10, 200, 20):
            move((195 - apart / 2, 500), (195 + apart / 2, 500))
    expect(page.locator(_TILE).first).to_have_css("width", "382px")
    assert columns() == 1
    page.get_by_role("button", name="More actions").tap()
    page.get_by_role("menuitem", name="Smaller images").tap()
    expect(page.locator(_TILE).first).to_have_css("width", "189px")


def test_the_mouse_selects_ranges_and_boxes(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url, preferences={"layout": "squares"})
    expect(_tiles(page).first).to_be_in_viewport()
    tile = _first_whole(page)
    uid = tile.get_attribute("data-uid")
    tile.click(modifiers=["ControlOrMeta"])
    selected = page.locator(f'{_TILE}[aria-selected="true"]')
    expect(selected).to_have_count(1)
    box = tile.bounding_box()
    assert box is not None
    page.keyboard.press("Shift+ArrowDown")
    assert selected.count() > 1
    page.keyboard.press("x")
    before = selected.count()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 2 * box["width"], box["y"] + 50, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert selected.count() > before or before > 2
    assert uid is not None
    assert urlsplit(page.url).path == "/"


def test_a_date_is_gone_to(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url)
    expect(_tiles(page).first).to_be_in_viewport()
    page.keyboard.press("g")
    dialog = page.get_by_role("dialog", name="Go to date")
    dialog.get_by_role("button", name="September 2026").click()
    expect(dialog).to_have_count(0)
    heading = page.get_by_role("heading", name="September").first
    expect(heading).to_be_in_viewport(ratio=1)
    assert _offset(page) > 500


def test_without_images_a_sample_fills_the_form(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, size="phone")
    expect(page.get_by_role("heading", name="No images yet")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="paper-cut fox in a birch forest").tap()
    expect(page).to_have_url(f"{live.url}/?panel=generate")
    draft = json.loads(page.evaluate("localStorage.getItem('imagen.draft')"))
    assert draft["request"]["prompt"] == "paper-cut fox in a birch forest"


def test_a_thumbnail_that_fails_is_loaded_again(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url, "settings", may_fail=True)
    page.route(lambda url: "/thumbnail" in url and "attempt" not in url, lambda it: it.abort())
    page.goto(filled.url)
    reload = page.get_by_role("button", name="Reload")
    expect(reload.first).to_be_in_viewport(ratio=1)
    before = reload.count()
    reload.first.click()
    expect(page.locator(f"{_TILE}.shown")).to_have_count(1)
    expect(reload).to_have_count(before - 1)


def _large_index(count: int, newest_ms: int) -> bytes:
    """An index of so many images of several shapes, five minutes apart."""
    shapes = ((1024, 1024), (1344, 768), (832, 1216), (1216, 832), (768, 1344))
    keys = [(newest_ms - n * 300_000) << 20 for n in range(count)]
    ids = b"".join(struct.pack(">I", n) + bytes(12) for n in range(count))
    wide, high = zip(*(shapes[n * 7 % 5] for n in range(count)), strict=True)
    header = struct.pack("<4sHHqqII", b"IMGX", 1, 0, keys[-1], keys[0], count, 0)
    columns = struct.pack(f"<{count}q", *keys) + ids + bytes(4 * count)
    return b"".join(
        (
            header,
            columns,
            *(struct.pack(f"<{count}H", *side) for side in (wide, high)),
            bytes(count),
        )
    )


def test_a_hundred_thousand_images_have_few_elements(live: LiveServer, open_page: OpenPage) -> None:
    count = 100_000
    index = _large_index(count, 1_796_000_000_000)
    pixel = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(pixel, "WEBP")

    def answer(route: Route) -> None:
        path, query = urlsplit(route.request.url).path, urlsplit(route.request.url).query
        if path.endswith("/index"):
            some = bytes(32) if "ids" in parse_qs(query) else index
            route.fulfill(body=some, content_type="application/vnd.imagen.index")
        elif path.endswith("/thumbnail"):
            route.fulfill(body=pixel.getvalue(), content_type="image/webp")
        else:
            route.fulfill(json={"images": [], "after": None})

    page = open_page(live.url, "settings")
    page.route(lambda url: "/api/v1/images" in url, answer)
    page.goto(live.url)
    expect(_tiles(page).first).to_have_attribute("aria-setsize", str(count), timeout=30_000)
    scroller = page.locator(".scroller")
    height = scroller.evaluate("element => element.scrollHeight")
    assert height > 3_000_000
    for share in (0.5, 0.123, 0.987):
        _scroll(page, round(height * share))
        expect(page.locator(f"{_TILE}.shown").first).to_be_in_viewport()
        assert page.locator(".images *").count() <= 200
        covered = page.evaluate(
            """() => {
              const box = document.querySelector(".scroller").getBoundingClientRect();
              let tiles = 0;
              for (let k = 0; k < 100; k += 1) {
                const x = box.left + 20 + (k % 10) * (box.width - 100) / 10;
                const y = box.top + 5 + Math.floor(k / 10) * (box.height - 10) / 10;
                tiles += Boolean(document.elementFromPoint(x, y)?.closest("[data-uid]"));
              }
              return tiles;
            }"""
        )
        assert covered > 70
    page.keyboard.press("End")
    last = page.locator(f"{_TILE}:focus")
    expect(last).to_have_attribute("aria-posinset", str(count))
    expect(last).to_be_in_viewport(ratio=1)


def test_the_address_has_the_layout_and_the_order(filled: LiveServer, open_page: OpenPage) -> None:
    listed = filled.client.get("/api/v1/images", params={"limit": 100}).json()["images"]
    newest, second, oldest = listed[0]["uid"], listed[-2]["uid"], listed[-1]["uid"]

    def check(page: Page, first: str) -> None:
        expect(page.locator(f'[data-uid="{first}"]')).to_have_attribute("aria-posinset", "1")
        box = page.locator(f'[data-uid="{first}"]').bounding_box()
        assert box is not None
        assert box["width"] == box["height"]

    page = open_page(filled.url)
    page.get_by_role("button", name="Squares").click()
    expect(page).to_have_url(f"{filled.url}/?layout=grid")
    check(page, newest)
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitemradio", name="Oldest first").click()
    expect(page).to_have_url(f"{filled.url}/?layout=grid&sort=oldest")
    check(page, oldest)
    page.get_by_role("link", name="Usage").click()
    expect(page).to_have_url(f"{filled.url}/usage")
    page.go_back()
    check(page, oldest)
    page.locator(f'[data-uid="{oldest}"]').click()
    expect(page.get_by_role("dialog", name="Image")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(f"{filled.url}/image/{second}?layout=grid&sort=oldest")
    expect(page.get_by_text("2 of ")).to_be_in_viewport()
    check(open_page(filled.url, "?layout=grid&sort=oldest", size="phone"), oldest)


def test_a_new_image_is_the_last_with_the_oldest_first(
    filled: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(filled.url, "?sort=oldest")
    first = page.locator('[aria-posinset="1"]')
    uid = first.get_attribute("data-uid")
    place = _place(first)
    made = _submit(filled)
    filled.wait_for_job(made)
    new = filled.client.get("/api/v1/images", params={"limit": 1}).json()["images"][0]["uid"]
    page.locator(".scroller").focus()
    page.keyboard.press("End")
    expect(page.locator(f'[data-uid="{new}"]')).to_be_in_viewport(ratio=1)
    page.keyboard.press("Home")
    expect(page.locator(f'[data-uid="{uid}"]')).to_be_in_viewport(ratio=1)
    assert _place(page.locator(f'[data-uid="{uid}"]')) == place
    expect(page.get_by_role("button", name=re.compile(r"^\d+ new$"))).to_have_count(0)


def test_from_right_to_left_the_first_image_is_at_the_right(
    filled: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(filled.url, "?layout=grid")
    expect(_tiles(page).first).to_be_in_viewport()
    page.evaluate("document.dir = 'rtl'")
    page.set_viewport_size({"width": 1430, "height": 900})
    first = page.locator(f'{_TILE}[aria-posinset="1"]')
    second = page.locator(f'{_TILE}[aria-posinset="2"]')
    day = page.locator(".day").first
    expect(day).to_have_css("direction", "rtl")
    page.wait_for_function(
        "() => [1, 2].map(n => document.querySelector(`[data-uid][aria-posinset='${n}']`)"
        ".getBoundingClientRect().left).reduce((a, b) => a > b)"
    )
    assert _place(first)[1] == _place(second)[1]
    panel = page.locator("aside.panel").bounding_box()
    assert panel is not None
    assert _place(first)[0] < panel["x"]  # the form is at the right of the grid
    first.focus()
    page.keyboard.press("ArrowLeft")
    expect(second).to_be_focused()
    for tile in (first, second):
        expect(tile).to_be_in_viewport(ratio=1)
