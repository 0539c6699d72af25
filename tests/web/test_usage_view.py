"""Usage in the page: the figures are those that were recorded, and can be taken away."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from support.library_samples import make_image, uuid_of
from support.live_server import live_server, server_settings

from imagen import Request
from imagen.config import Budget
from imagen.core.ticket import Estimate, Ticket
from imagen.library import record_generation
from imagen.library.records import GenerationRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.browser import OpenPage
    from support.live_server import LiveServer

expect.set_options(timeout=15_000)  # for machines that do much else

_NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
_UNKNOWN = "paid-unknown"
_RECORDED = (
    # days ago, backend, model, seconds, cost; None is unknown, 0 is free
    (0, "mock", "painter", 10.0, 0.0),
    (0, "cloud", "flux-pro", 20.0, 0.5),
    (1, "cloud", "flux-pro", 30.0, 0.25),
    (2, "cloud", _UNKNOWN, 5.0, None),
    (40, "mock", "painter", 7.0, 0.0),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("usage")
    backends = {"mock": {"type": "mock"}, "cloud": {"type": "replicate", "token": "x"}}
    budgets = Budget(amount=10, per="month"), Budget(amount=1, per="run")
    settings = server_settings(backends, folder=folder, budgets=budgets)
    with live_server(settings, has_worker=False) as server:
        for number, (days, backend, model, seconds, cost) in enumerate(_RECORDED, start=1):
            at = _NOW - timedelta(days=days)
            request = Request(prompt=f"image {number}", seed=number)
            estimate = Estimate(usd=cost, basis="") if backend == "cloud" else None
            ticket = Ticket(
                id=uuid_of(number),
                backend=backend,
                request=request,
                receipt={},
                estimate=estimate,
            )
            facts = {"model": model, "latency_seconds": seconds}
            record_generation(
                server.runtime.library,
                GenerationRecord(
                    id=ticket.id,
                    backend=backend,
                    kind=backend,
                    ticket=ticket,
                    request=request,
                    facts=facts | ({"cost_usd": cost} if cost else {}),
                    created_at=at,
                    ended_at=at,
                    caller="anna" if number == 1 else "",
                    images=(make_image(number),),
                ),
            )
        yield server


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_the_figures_are_those_that_were_recorded(
    size: str, server: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(server.url, "usage?since=2026-11", size=size)  # type: ignore[arg-type]
    spent = page.get_by_role("region", name="Spent")
    expect(spent).to_be_in_viewport(ratio=1)
    expect(spent).to_contain_text("$0.75")
    expect(spent).to_contain_text("plus 1 generation with unknown price")
    expect(page.get_by_role("region", name="Images")).to_contain_text("4")
    expect(page.get_by_role("region", name="Compute time")).to_contain_text("1 min 5 s")
    row = page.get_by_role("row", name=_UNKNOWN)
    expect(row).to_contain_text("Unknown")
    expect(row).not_to_contain_text("$0")
    expect(page.get_by_role("row", name="painter")).to_contain_text("Free")
    expect(page.get_by_text("$1.00 per run")).to_be_visible()
    expect(page.get_by_role("meter", name="$10.00 per month")).to_be_visible()


@pytest.mark.parametrize("locale", ["en", "de"])
def test_the_head_has_room_on_a_phone(locale: str, server: LiveServer, open_page: OpenPage) -> None:
    page = open_page(server.url, "usage?since=2026-11", size="phone", locale=locale)
    title = page.get_by_role("heading", level=1)
    name = title.evaluate(
        "one => { const range = document.createRange(); range.selectNodeContents(one);"
        " return range.getBoundingClientRect().toJSON(); }"
    )
    controls = page.locator(".period button, .period select")
    expect(controls).to_have_count(4)
    for control in controls.all():
        expect(control).to_be_in_viewport(ratio=1)
        box = control.bounding_box()
        assert box
        assert box["height"] >= 44
        is_beside = box["x"] >= name["right"] or box["y"] >= name["bottom"]
        assert is_beside, (name, box)


def test_a_day_is_chosen_by_keys_and_by_a_tap(server: LiveServer, open_page: OpenPage) -> None:
    page = open_page(server.url, "usage?since=2026-11&measure=cost", size="phone")
    days = page.get_by_role("slider", name="Day of the chart")
    expect(days).to_have_attribute("aria-valuetext", re.compile("^Fri, November 20: \\$0.50"))
    days.press("ArrowLeft")
    expect(page.get_by_text("Thu, November 19: $0.25")).to_be_visible()
    days.press("Home")
    expect(page.get_by_text("Sun, November 1: $0.00")).to_be_visible()
    days.scroll_into_view_if_needed()
    box = days.bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + box["width"] * (19.5 / 30), box["y"] + box["height"] / 2)
    expect(page.get_by_text("Fri, November 20: $0.50")).to_be_visible()
    page.get_by_role("group", name="Measure").get_by_role("button", name="Images").click()
    expect(page).not_to_have_url(re.compile("measure"))
    expect(page.get_by_text("Fri, November 20: 2 images")).to_be_visible()
    page.get_by_role("button", name="Show as table").click()
    cells = page.get_by_role("row", name="Nov 20").get_by_role("cell")
    expect(cells).to_have_text(["1 image", "1 image"])


def test_the_bars_are_as_high_as_their_values(server: LiveServer, open_page: OpenPage) -> None:
    page = open_page(server.url, "usage?since=2026-11")
    today = page.locator('rect[data-bar="2026-11-20"]')
    expect(today).to_have_count(2)
    boxes = [today.nth(n).bounding_box() for n in range(2)]
    one = page.locator('rect[data-bar="2026-11-19"]').bounding_box()
    assert one
    assert sum(box["height"] for box in boxes if box) == pytest.approx(2 * one["height"], abs=3)
    fills = {today.nth(n).evaluate("bar => getComputedStyle(bar).fill") for n in range(2)}
    assert len(fills) == 2
    engines = page.get_by_role("listitem").filter(has_text=re.compile("^(Mock|replicate)$", re.I))
    expect(engines).to_have_count(2)


def test_the_table_is_grouped_sorted_and_of_another_period(
    server: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(server.url, "usage?since=2026-11")
    names = page.locator("tbody th .name")
    expect(names.first).to_have_text("flux-pro")
    page.get_by_role("columnheader", name="Cost").get_by_role("button").click()
    expect(page.get_by_role("columnheader", name="Cost")).to_have_attribute(
        "aria-sort", "descending"
    )
    page.get_by_role("columnheader", name="Cost").get_by_role("button").click()
    expect(names).to_have_text(["painter", "flux-pro", _UNKNOWN])
    page.get_by_role("button", name="Caller").click()
    expect(page.get_by_role("row", name="anna")).to_be_visible()
    page.get_by_role("button", name="Earlier").click()
    expect(page).to_have_url(re.compile("since=2026-10"))
    expect(page.get_by_role("region", name="Spent")).to_contain_text("Free")
    page.get_by_role("button", name="Earlier").click()
    expect(page.get_by_text("Nothing was generated in this period.")).to_be_in_viewport()
    page.reload()
    expect(page.get_by_text("Nothing was generated in this period.")).to_be_in_viewport()


def test_each_generation_is_exported(server: LiveServer, open_page: OpenPage) -> None:
    page = open_page(server.url, "usage?since=2026-11")
    texts = []
    for item in ("CSV", "JSON"):
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=f"Each generation as {item}").click()
        texts.append(download.value.path().read_text("utf-8"))
    table = [*csv.DictReader(StringIO(texts[0]))]
    assert sorted(row["cost"] for row in table) == ["", "", "0.25", "0.5"]
    assert {row["generation"] for row in table} == {uuid_of(n) for n in (1, 2, 3, 4)}
    assert [row["cost"] for row in json.loads(texts[1])["rows"]].count(0.5) == 1
