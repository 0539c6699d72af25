"""Pages of one server show the same, after whatever happens to them, and no job runs twice."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import expect
from support.live_server import live_server, server_settings
from support.serve_process import serve_process, write_settings

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page
    from support.browser import OpenPage
    from support.live_server import LiveServer


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LiveServer]:
    """A server with a backend that takes two seconds for eight steps."""
    backends: dict[str, dict[str, Any]] = {"mock": {"type": "mock", "step_seconds": 0.25}}
    with live_server(server_settings(backends, folder=tmp_path)) as server:
        yield server


def _generate(page: Page, prompt: str, count: int = 1) -> None:
    """Generate on a desktop, as a person does."""
    page.get_by_role("textbox", name="Prompt", exact=True).fill(prompt)
    for _ in range(count - 1):
        page.get_by_role("button", name="More images").click()
    page.get_by_role("button", name=re.compile(r"^Generate")).click()


def _tiles(page: Page) -> Locator:
    return page.locator(".images [data-job]")


def _images(page: Page) -> Locator:
    return page.locator(".images [data-uid]")


def _keys(found: Locator, name: str) -> list[str]:
    keys = [one.get_attribute(name) for one in found.all()]
    return sorted(key for key in keys if key)


def test_what_is_generated_on_a_desktop_is_seen_in_a_second_tab_and_on_a_phone(
    site: LiveServer, open_page: OpenPage
) -> None:
    desktop = open_page(site.url)
    tab = desktop.context.new_page()
    tab.goto(site.url)
    phone = open_page(site.url, size="phone")
    pages = (desktop, tab, phone)
    for page in pages:
        expect(page.get_by_role("heading", name="No images yet")).to_be_in_viewport()
    _generate(desktop, "a fox everywhere", 4)
    for page in pages:
        expect(_tiles(page)).to_have_count(4)
        expect(_tiles(page).last).to_be_in_viewport()
        expect(_tiles(page).filter(has_text="Step").first).to_be_visible()
    jobs = _keys(_tiles(desktop), "data-job")
    assert [_keys(_tiles(page), "data-job") for page in pages] == [jobs] * 3
    for page in pages:
        expect(_images(page)).to_have_count(4, timeout=30_000)
        expect(_tiles(page)).to_have_count(0)
    images = _keys(_images(desktop), "data-uid")
    assert [_keys(_images(page), "data-uid") for page in pages] == [images] * 3
    made = site.client.get("/api/v1/images").json()["images"]
    assert sorted(image["uid"] for image in made) == images


def test_a_job_is_cancelled_on_the_other_device(site: LiveServer, open_page: OpenPage) -> None:
    desktop, phone = open_page(site.url), open_page(site.url, size="phone")
    expect(phone.get_by_role("heading", name="No images yet")).to_be_in_viewport()
    _generate(desktop, "an unwanted fox")
    expect(_tiles(desktop)).to_contain_text(["Step"])
    job = _keys(_tiles(desktop), "data-job")[0]
    phone.get_by_role("button", name="Cancel: an unwanted fox").tap()
    for page in (desktop, phone):
        expect(_tiles(page)).to_have_count(0)
        expect(page.get_by_role("heading", name="No images yet")).to_be_in_viewport()
    assert site.wait_for_job(job)["state"] == "cancelled"


def test_a_reload_amid_a_job_shows_it_again_and_its_image_once(
    site: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(site.url)
    _generate(page, "a fox that stays")
    expect(_tiles(page)).to_contain_text(["Step"])
    job = _keys(_tiles(page), "data-job")
    page.reload()
    expect(_tiles(page)).to_contain_text(["Step"])
    assert _keys(_tiles(page), "data-job") == job
    box = _tiles(page).bounding_box()
    expect(_images(page)).to_have_count(1, timeout=15_000)
    expect(_tiles(page)).to_have_count(0)
    assert _images(page).bounding_box() == box


@pytest.mark.skipif(sys.platform == "win32", reason="a killed process keeps its port")
def test_a_server_that_is_killed_amid_a_job_ends_it_once(
    tmp_path: Path, open_page: OpenPage
) -> None:
    waits = {"poll_seconds": 0.2, "lost_seconds": 1.0, "connect_seconds": 3.0}
    with ComfyUI(images="flat", step_seconds=0.5) as engine:
        block = {"type": "comfyui", "url": engine.url, "workflow": "sd15", **waits}
        write_settings(tmp_path, {"lab": block})
        with serve_process(tmp_path) as server:
            page = open_page(server.url, may_fail=True)
            request = {"prompt": "a fox that survives", "width": 64, "height": 64, "steps": 20}
            httpx.post(f"{server.url}/api/v1/generations", json={"request": request}, timeout=20)
            expect(_tiles(page)).to_contain_text(["Step"])
            job = _keys(_tiles(page), "data-job")
            server.kill()
            banner = page.get_by_text("Connection lost. Running jobs continue.")
            expect(banner).to_be_in_viewport(timeout=6000)
            expect(_tiles(page)).to_contain_text(["Seen"])
            cancel = page.get_by_role("button", name="Cancel: a fox that survives")
            expect(cancel).to_be_disabled()
            server.start()
            expect(banner).to_have_count(0, timeout=20_000)
            if _tiles(page).count():
                assert _keys(_tiles(page), "data-job") == job
            expect(_images(page)).to_have_count(1, timeout=30_000)
            expect(_tiles(page)).to_have_count(0)
            page.reload()
            expect(_images(page)).to_have_count(1)
            expect(_tiles(page)).to_have_count(0)
        assert len(engine.prompts) == 1


def test_what_was_generated_while_a_phone_was_offline_is_there_after(
    site: LiveServer, open_page: OpenPage
) -> None:
    phone = open_page(site.url, size="phone", may_fail=True)
    expect(phone.get_by_role("heading", name="No images yet")).to_be_in_viewport()
    phone.context.set_offline(True)
    banner = phone.get_by_text("Connection lost. Running jobs continue.")
    expect(banner).to_be_in_viewport(timeout=6000)
    body = {"request": {"prompt": "a fox of meanwhile", "width": 96, "height": 64, "steps": 1}}
    done = site.client.post("/api/v1/generations", json=body).raise_for_status().json()["job"]
    site.wait_for_job(done)
    body["request"] |= {"prompt": "a fox of now", "steps": 200}
    running = site.client.post("/api/v1/generations", json=body).raise_for_status().json()["job"]
    expect(_images(phone)).to_have_count(0)
    phone.context.set_offline(False)
    expect(banner).to_have_count(0)
    expect(phone.get_by_role("option", name="a fox of meanwhile")).to_be_in_viewport(ratio=1)
    expect(phone.locator(f'[data-job="{running}"]')).to_contain_text("Step")
    expect(_images(phone)).to_have_count(1)
