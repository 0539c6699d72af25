"""The queue: what runs, waits and failed, its order, and what the engines do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from support.live_server import live_server, server_settings

from imagen.testing.comfyui import ComfyUI
from imagen.testing.comfyui.failure_switches import FailureSwitches, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import FloatRect, Locator, Page
    from support.browser import OpenPage, Size
    from support.live_server import LiveServer

_BACKENDS: dict[str, dict[str, Any]] = {
    "mock": {"type": "mock"},
    "stuck": {"type": "mock", "step_seconds": 60},
    "broken": {"type": "mock", "fail": "failed"},
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LiveServer]:
    """A server with backends that finish, take for ever and fail."""
    with live_server(server_settings(_BACKENDS, folder=tmp_path)) as server:
        yield server


def _submit(server: LiveServer, backend: str, prompt: str = "a fox", **request: Any) -> str:
    body = {"backend": backend, "request": {"prompt": prompt, "width": 96, "height": 64, **request}}
    answer = server.client.post("/api/v1/generations", json=body).raise_for_status()
    return str(answer.json()["job"])


def _fill_line(server: LiveServer, count: int = 3) -> list[str]:
    """One job that runs for ever and so many that wait for it."""
    return [_submit(server, "stuck", f"fox {number}") for number in range(count + 1)]


def _open_queue(page: Page) -> Locator:
    queue = page.get_by_role("dialog", name="Queue")
    expect(queue).to_be_in_viewport()
    return queue


def _section(queue: Locator, name: str) -> Locator:
    return queue.get_by_role("region", name=re.compile(f"^{name}"))


def _row(page: Page, job: str) -> Locator:
    return page.get_by_role("dialog").locator(f'[data-job="{job}"]')


def _box(element: Locator) -> FloatRect:
    box = element.bounding_box()
    assert box is not None
    return box


def _expect_order(queue: Locator, prompts: list[str]) -> None:
    rows = _section(queue, "Waiting").get_by_role("listitem")
    expect(rows).to_contain_text([re.compile(prompt) for prompt in prompts])
    tops = [_box(row)["y"] for row in rows.all()]
    assert tops == sorted(tops)


def test_each_job_is_in_its_section(site: LiveServer, open_page: OpenPage) -> None:
    site.wait_for_job(_submit(site, "broken", "a fox that fails"))
    site.wait_for_job(_submit(site, "mock", "a fox that is done"))
    later = {"at": "2126-11-28T11:59:00Z", "request": {"prompt": "a fox of later"}}
    site.client.post("/api/v1/generations", json=later).raise_for_status()
    _fill_line(site, 1)
    page = open_page(site.url, "?panel=queue")
    queue = _open_queue(page)
    for name, prompt in (
        ("Running 1", "fox 0"),
        ("Waiting 1", "fox 1"),
        ("Failed 1", "a fox that fails"),
        ("Scheduled 1", "a fox of later"),
        ("Finished", "a fox that is done"),
    ):
        expect(_section(queue, name)).to_contain_text(prompt)
    expect(_section(queue, "Running")).to_contain_text("Step 1 of 8")
    expect(_section(queue, "Waiting")).to_contain_text("Next on stuck")
    done = _section(queue, "Finished").locator("img")
    expect(done).to_be_in_viewport()
    expect(done).to_have_js_property("complete", value=True)
    assert done.evaluate("image => image.naturalWidth") > 0


def test_jobs_are_moved_by_keys_and_by_dragging_and_stay_there(
    site: LiveServer, open_page: OpenPage
) -> None:
    _, first, _, third = _fill_line(site)
    page = open_page(site.url, "?panel=queue")
    queue = _open_queue(page)
    _expect_order(queue, ["fox 1", "fox 2", "fox 3"])
    handle = _row(page, third).get_by_role("button", name="Move stuck")
    handle.focus()
    page.keyboard.press("Alt+ArrowUp")
    _expect_order(queue, ["fox 1", "fox 3", "fox 2"])
    expect(handle).to_be_focused()
    page.keyboard.press("Alt+ArrowUp")
    _expect_order(queue, ["fox 3", "fox 1", "fox 2"])
    page.keyboard.press("Alt+ArrowDown")
    _expect_order(queue, ["fox 1", "fox 3", "fox 2"])

    grip = _box(_row(page, first).get_by_role("button", name="Move stuck"))
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 2 * _box(_row(page, first))["height"], steps=6)
    page.mouse.up()
    _expect_order(queue, ["fox 3", "fox 2", "fox 1"])
    expect(page.get_by_role("menu")).to_have_count(0)
    page.reload()
    _expect_order(_open_queue(page), ["fox 3", "fox 2", "fox 1"])


def test_on_a_phone_jobs_are_moved_by_a_menu_and_a_finger(
    site: LiveServer, open_page: OpenPage
) -> None:
    _, first, *_ = _fill_line(site, 2)
    page = open_page(site.url, "?panel=queue", size="phone")
    queue = _open_queue(page)
    _row(page, first).get_by_role("button", name="Move stuck").tap()
    page.get_by_role("menuitem", name="Down").tap()
    _expect_order(queue, ["fox 2", "fox 1"])

    grip = _box(_row(page, first).get_by_role("button", name="Move stuck"))
    x, y = grip["x"] + 20, grip["y"] + 20
    session = page.context.new_cdp_session(page)
    for kind, by in (("touchStart", 0), ("touchMove", -20), ("touchMove", -60), ("touchEnd", 0)):
        points = [] if kind == "touchEnd" else [{"x": x, "y": y + by}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    _expect_order(queue, ["fox 1", "fox 2"])
    expect(page.get_by_role("menu")).to_have_count(0)


def test_one_job_or_all_that_wait_are_cancelled_and_come_back(
    site: LiveServer, open_page: OpenPage
) -> None:
    _, first, second, third = _fill_line(site)
    page = open_page(site.url, "?panel=queue")
    queue = _open_queue(page)
    _row(page, second).get_by_role("button", name="Cancel stuck").click()
    expect(_section(queue, "Finished")).to_contain_text("fox 2")
    _expect_order(queue, ["fox 1", "fox 3"])
    assert site.wait_for_job(second)["state"] == "cancelled"
    undo = page.get_by_role("button", name="Undo")
    undo.click()
    expect(_section(queue, "Waiting 3")).to_contain_text("fox 2")
    expect(undo).to_have_count(0)
    queue.get_by_role("button", name="Cancel waiting").click()
    expect(_section(queue, "Waiting")).to_have_count(0)
    expect(_section(queue, "Running 1")).to_contain_text("fox 0")
    assert [site.wait_for_job(job)["state"] for job in (first, second, third)] == ["cancelled"] * 3
    undo.click()
    expect(_section(queue, "Waiting 3")).to_be_visible()


def test_a_running_job_is_cancelled_and_the_next_one_begins(
    site: LiveServer, open_page: OpenPage
) -> None:
    running, *_ = _fill_line(site, 1)
    page = open_page(site.url, "?panel=queue")
    queue = _open_queue(page)
    expect(_section(queue, "Running")).to_contain_text("fox 0")
    _row(page, running).get_by_role("button", name="Cancel stuck").click()
    expect(_section(queue, "Running")).to_contain_text("fox 1")
    expect(_section(queue, "Finished")).to_contain_text("Cancelled")


def test_a_paused_backend_keeps_its_jobs_until_it_goes_on(
    tmp_path: Path, open_page: OpenPage
) -> None:
    backends = {"mock": {"type": "mock", "resource": "a"}, "other": {"type": "mock"}}
    with live_server(server_settings(backends, folder=tmp_path)) as server:
        page = open_page(server.url, "?panel=queue")
        phone = open_page(server.url, "?panel=queue", size="phone")
        queue = _open_queue(page)
        engine = _section(queue, "Engines").get_by_role("listitem").filter(has_text="mock")
        engine.get_by_role("button", name="Pause mock").click()
        expect(engine).to_contain_text("Paused")
        elsewhere = _open_queue(phone).get_by_role("button", name="Pause mock")
        expect(elsewhere).to_have_attribute("aria-pressed", "true", timeout=20_000)
        job = _submit(server, "mock", "a fox that waits")
        expect(_section(queue, "Waiting 1")).to_contain_text("mock is paused")
        tile = page.locator(f'.images [data-job="{job}"]')
        expect(tile).to_contain_text("mock is paused")
        server.wait_for_job(_submit(server, "other", "a fox of another engine"))
        page.reload()
        expect(_section(queue, "Waiting 1")).to_contain_text("mock is paused")
        pause = engine.get_by_role("button", name="Pause mock")
        expect(pause).to_have_attribute("aria-pressed", "true")
        pause.click()
        expect(_section(queue, "Finished")).to_contain_text("a fox that waits")
        expect(pause).to_have_attribute("aria-pressed", "false")


def test_a_failed_job_says_why_and_runs_again(tmp_path: Path, open_page: OpenPage) -> None:
    with ComfyUI(error=NodeError(message="The node has no patience."), images="flat") as engine:
        block = {"type": "comfyui", "url": engine.url, "workflow": "sd15"}
        with live_server(server_settings({"lab": block}, folder=tmp_path)) as server:
            job = _submit(server, "lab", "a fox that fails once", steps=1)
            assert server.wait_for_job(job)["state"] == "failed"
            page = open_page(server.url, "?panel=queue", size="phone")
            queue = _open_queue(page)
            expect(_section(queue, "Failed 1")).to_contain_text("The node has no patience.")
            retry = _row(page, job).get_by_role("button", name="Retry lab")
            assert _box(retry)["height"] >= 44
            engine.switches = FailureSwitches()
            retry.tap()
            expect(_section(queue, "Failed")).to_have_count(0)
            expect(_section(queue, "Finished")).to_contain_text("a fox that fails once")
            assert server.wait_for_job(job)["state"] == "done"


def test_what_may_be_paid_twice_is_asked_first(site: LiveServer, open_page: OpenPage) -> None:
    _, job = _fill_line(site, 1)
    with site.runtime.store._exclusive() as change:
        row = change.lock(job)
        assert row is not None
        change.end(row, "lost")
    page = open_page(site.url, "?panel=queue", may_fail=True)
    queue = _open_queue(page)
    row_of_job = _row(page, job)
    retry = row_of_job.get_by_role("button", name="Retry stuck")
    ask = row_of_job.get_by_role("group", name="It may have run already")
    retry.click()
    expect(ask).to_be_in_viewport(ratio=1)
    ask.get_by_role("button", name="Leave it").click()
    expect(ask).to_have_count(0)
    expect(_section(queue, "Failed 1")).to_contain_text("fox 1")
    retry.click()
    ask.get_by_role("button", name="Run again anyway").click()
    expect(ask).to_have_count(0)
    expect(_section(queue, "Waiting 1")).to_contain_text("fox 1")


def test_engines_say_what_they_have_loaded_and_how_much_memory_is_free(
    tmp_path: Path, open_page: OpenPage
) -> None:
    with ComfyUI(images="flat", vram=(24_000_000_000, 6_000_000_000)) as engine:
        block = {"type": "comfyui", "url": engine.url, "workflow": "sd15"}
        with live_server(server_settings({"lab": block}, folder=tmp_path)) as server:
            server.wait_for_job(_submit(server, "lab", steps=1))
            page = open_page(server.url, "?panel=queue")
            engines = _section(_open_queue(page), "Engines")
            expect(engines).to_contain_text("Loaded: sd15")
            expect(engines).to_contain_text("6 GB of 24 GB free")
            bar = engines.locator(".bar")
            share = _box(bar.locator("i"))["width"] / _box(bar)["width"]
            assert share == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("size", ["phone", "tablet", "desktop"])
def test_back_closes_the_queue_and_the_focus_returns(
    size: Size, site: LiveServer, open_page: OpenPage
) -> None:
    _fill_line(site, 0)
    page = open_page(site.url, "?q=fox", size=size)
    if size == "phone":
        page.goto(site.url)
        trigger = page.get_by_role("button", name="1 running")
    else:
        trigger = page.get_by_role("navigation").get_by_role("button", name="Queue")
    address = page.url
    queue = page.get_by_role("dialog", name="Queue")
    for leave in ("back", "Escape", "close"):
        trigger.click()
        expect(queue).to_be_in_viewport(ratio=0.99)
        if leave == "back":
            page.go_back()
        elif leave == "close":
            queue.get_by_role("button", name="Close").click()
        else:
            page.keyboard.press(leave)
        expect(queue).to_have_count(0)
        expect(trigger).to_be_focused()
        expect(page).to_have_url(address)


def test_the_queue_is_opened_from_the_sheet_of_a_phone(
    site: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(site.url, "usage", size="phone")
    more = page.get_by_role("button", name="More")
    more.tap()
    page.get_by_role("link", name=re.compile("^Queue")).tap()
    queue = _open_queue(page)
    expect(page).to_have_url(f"{site.url}/usage?panel=queue")
    box = _box(queue)
    assert (box["x"], box["width"], round(box["y"] + box["height"])) == (0, 390, 844)
    queue.get_by_role("button", name="Close").tap()
    expect(queue).to_have_count(0)
    expect(more).to_be_focused()
    expect(page).to_have_url(f"{site.url}/usage")


def test_the_sheet_of_a_phone_scrolls_and_has_large_targets(
    site: LiveServer, open_page: OpenPage
) -> None:
    site.wait_for_job(_submit(site, "broken"))
    _fill_line(site, 6)
    page = open_page(site.url, "?panel=queue", size="phone")
    queue = _open_queue(page)
    expect(_section(queue, "Waiting 6")).to_be_visible()
    assert _box(queue)["y"] >= 844 * 0.07
    expect(_section(queue, "Engines")).not_to_be_in_viewport()
    queue.locator(".body").evaluate("body => body.scrollTo(0, body.scrollHeight)")
    expect(_section(queue, "Engines")).to_be_in_viewport(ratio=1)
    expect(queue.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
    for button in queue.get_by_role("button").all():
        box = _box(button)
        assert min(box["width"], box["height"]) >= 44, button.inner_text()


def test_a_job_has_an_address_and_its_sheet_leads_to_all_or_closes(
    site: LiveServer, open_page: OpenPage
) -> None:
    job = _submit(site, "broken", "a fox that fails")
    site.wait_for_job(job)
    page = open_page(site.url, f"usage?panel=queue&job={job}")
    detail = page.get_by_role("dialog", name="Job")
    expect(detail.get_by_role("group", name="Why it failed")).to_be_in_viewport(ratio=1)
    expect(detail).to_contain_text("a fox that fails")
    detail.get_by_role("button", name="All jobs").click()
    queue = _open_queue(page)
    expect(page).to_have_url(f"{site.url}/usage?panel=queue")
    queue.get_by_role("button", name="Close").click()
    expect(page).to_have_url(f"{site.url}/usage")

    page.get_by_role("navigation").get_by_role("button", name="Queue").click()
    _row(page, job).get_by_text("a fox that fails").click()
    expect(detail).to_be_in_viewport()
    page.go_back()
    expect(queue).to_be_in_viewport()
    _row(page, job).get_by_text("a fox that fails").click()
    detail.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).to_have_url(f"{site.url}/usage")
