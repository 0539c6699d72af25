"""The tiles of jobs in the gallery: where they are, what they say, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from support.live_server import live_server, server_settings
from support.sample_site import fill_library

from imagen.testing.comfyui import ComfyUI
from imagen.testing.comfyui.failure_switches import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import FloatRect, Locator, Page, Route
    from support.browser import OpenPage, Size
    from support.live_server import LiveServer

_REASON = (
    "The node could not read its image, since the file is in a folder that is not mounted, "
    "on a disk that was taken out of the machine this morning, before anybody was awake."
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with 20 images and an engine whose jobs fail with a long reason."""
    folder = tmp_path_factory.mktemp("tiles")
    error = NodeError(message=_REASON)
    with ComfyUI(images="flat", error=error) as engine, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        backends: dict[str, dict[str, Any]] = {
            "mock": {"type": "mock"},
            "stuck": {"type": "mock", "step_seconds": 60, "resource": "stuck"},
            "lab": {"type": "comfyui", "url": engine.url, "workflow": "sd15"},
        }
        with live_server(server_settings(backends, folder=folder)) as server:
            fill_library(server.runtime.library, folder, 20)
            yield server


@pytest.fixture(autouse=True)
def _cancel_all(filled: LiveServer) -> Iterator[None]:
    """No job runs on into the next test."""
    yield
    jobs = filled.client.get("/api/v1/jobs").json()["jobs"]
    live = [job["id"] for job in jobs if not job["ended"] and not job["parent"]]
    for job in reversed(live):
        filled.client.post(f"/api/v1/jobs/{job}/cancel").raise_for_status()
    for job in live:
        filled.wait_for_job(job)


def _submit(server: LiveServer, backend: str, **request: Any) -> str:
    body = {
        "backend": backend,
        "request": {"prompt": "a fox", "width": 96, "height": 64, **request},
    }
    answer = server.client.post("/api/v1/generations", json=body).raise_for_status()
    return str(answer.json()["job"])


def _box(element: Locator) -> FloatRect:
    box = element.bounding_box()
    assert box is not None
    return box


def _images(page: Page) -> Locator:
    return page.locator(".images [data-uid]")


def _boxes(tiles: Locator, name: str) -> dict[str, FloatRect]:
    return {str(tile.get_attribute(name)): _box(tile) for tile in tiles.all()}


def test_four_images_of_one_job_have_four_tiles_and_come_in_their_places(
    tmp_path: Path, open_page: OpenPage
) -> None:
    with ComfyUI(images="flat", step_seconds=0.2) as engine:
        block = {"type": "comfyui", "url": engine.url, "workflow": "sd15"}
        with live_server(server_settings({"lab": block}, folder=tmp_path)) as server:
            page = open_page(server.url)
            expect(page.get_by_role("heading", name="No images yet")).to_be_in_viewport()
            _submit(server, "lab", count=4, steps=12, width=128, height=96)
            tiles = page.locator(".images [data-job]")
            expect(tiles).to_have_count(4)
            expect(tiles.filter(has_text="Step")).to_have_count(1)
            places = _boxes(tiles, "data-key")
            assert len(places) == 4
            expect(_images(page)).to_have_count(4, timeout=15_000)
            expect(tiles).to_have_count(0)
            assert _boxes(_images(page), "data-uid") == places


def test_jobs_that_are_submitted_at_once_are_in_the_order_of_their_turn(
    filled: LiveServer, open_page: OpenPage
) -> None:
    jobs = [_submit(filled, "stuck", prompt=f"fox {number}") for number in range(5)]
    page = open_page(filled.url)
    seen = page.locator(".images [data-job]").filter(has_text="stuck")
    expect(seen).to_have_count(5)
    boxes = _boxes(seen, "data-job")
    places = sorted(boxes, key=lambda job: (round(boxes[job]["y"]), boxes[job]["x"]))
    assert places == jobs[::-1]


def test_jobs_that_are_known_late_move_no_image(filled: LiveServer, open_page: OpenPage) -> None:
    job = _submit(filled, "stuck")
    page = open_page(filled.url, "settings")
    held: list[Route] = []
    is_held = True
    page.route("**/api/v1/jobs?*", lambda it: held.append(it) if is_held else it.continue_())
    page.add_init_script("""
      window.tops = {};
      new MutationObserver(() => {
        for (const tile of document.querySelectorAll("[data-uid]"))
          (window.tops[tile.dataset.uid] ??= new Set()).add(tile.getBoundingClientRect().top);
      }).observe(document, { subtree: true, childList: true, attributes: true });
    """)
    with page.expect_response("**/images/index*"):
        page.goto(filled.url)
    while not held:
        page.wait_for_timeout(10)
    is_held = False
    for route in held:
        route.continue_()
    expect(page.locator(f'[data-job="{job}"]')).to_be_in_viewport(ratio=1)
    expect(_images(page).first).to_be_in_viewport()
    moves = page.evaluate("Object.values(window.tops).map(tops => tops.size)")
    assert moves
    assert set(moves) == {1}


def test_images_are_shown_although_the_jobs_cannot_be_read(
    filled: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(filled.url, "settings")
    page.route("**/api/v1/jobs?*", lambda _: None)
    page.goto(filled.url)
    expect(_images(page).first).to_be_in_viewport()


@pytest.mark.parametrize(("size", "height"), [("phone", 64), ("phone", 192), ("desktop", 64)])
def test_the_reason_of_a_failure_ends_in_its_tile_and_is_told_in_full_on_a_tap(
    size: Size, height: int, filled: LiveServer, open_page: OpenPage
) -> None:
    job = _submit(filled, "lab", steps=1, height=height)
    filled.wait_for_job(job)
    page = open_page(filled.url, size=size)
    tile = page.locator(f'.images [data-job="{job}"]')
    reason = tile.get_by_text("The node could not read its image")
    expect(reason).to_be_in_viewport(ratio=1)
    box, inner = _box(tile), _box(reason)
    line = float(reason.evaluate("one => parseFloat(getComputedStyle(one).lineHeight)"))
    assert inner["y"] + inner["height"] <= box["y"] + box["height"] - 8
    assert inner["height"] / line == pytest.approx(round(inner["height"] / line), abs=0.1)
    assert inner["height"] >= 2 * line
    fix = tile.get_by_role("button", name="Fix and retry")
    if fix.count():
        assert _box(fix)["y"] >= inner["y"] + inner["height"]
    reason.click()
    detail = page.get_by_role("dialog", name="Job")
    whole = detail.get_by_role("group", name="Why it failed")
    expect(whole).to_contain_text(_REASON)
    expect(whole).to_be_in_viewport(ratio=1)
    whole.get_by_role("button", name="Fix and retry").click()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a fox")
    page.goto(filled.url)
    tile.get_by_role("button", name="Dismiss").click()
    expect(tile).to_have_count(0)


def test_a_failed_cell_is_in_its_comparison_alone(filled: LiveServer, open_page: OpenPage) -> None:
    page = open_page(filled.url)
    expect(_images(page).first).to_be_in_viewport()
    body = {
        "request": {"prompt": "a fox in a grid", "width": 96, "height": 64, "seed": 1},
        "models": ["mock", "lab"],
        "vary": [{"name": "steps", "values": [2]}],
    }
    made = filled.client.post("/api/v1/comparisons", json=body).raise_for_status().json()
    filled.wait_for_job(made["job"])
    for _ in range(2):
        expect(page.get_by_role("option", name="a fox in a grid")).to_be_in_viewport()
        for job in made["jobs"]:
            expect(page.locator(f'.images [data-job="{job}"]')).to_have_count(0)
        page.reload()
