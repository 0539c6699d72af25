"""Comparisons in the page: made, watched, extended, turned, and two images upon each other."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from playwright.sync_api import expect
from simulators.replicate import Replicate
from support.live_server import live_server, server_settings

from imagen.config import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page
    from support.browser import OpenPage
    from support.live_server import LiveServer

expect.set_options(timeout=15_000)  # for machines that do much else

_BACKENDS: dict[str, dict[str, Any]] = {
    "aurora": {"type": "mock", "look": "a"},
    "dusk": {"type": "mock", "look": "b"},
    "broken": {"type": "mock", "fail": "failed"},
    "slow": {"type": "mock", "look": "c", "step_seconds": 8.0, "resource": "slow"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    settings = server_settings(_BACKENDS, folder=tmp_path_factory.mktemp("compare"))
    with live_server(settings) as server:
        yield server


def _start(server: LiveServer, prompt: str, models: list[str], **axes: list[Any]) -> Any:
    """What the server answers to a new comparison."""
    body = {
        "request": {"prompt": prompt, "width": 96, "height": 64, "steps": 2, "seed": 7},
        "models": models,
        "vary": [{"name": name, "values": values} for name, values in axes.items()],
    }
    return server.client.post("/api/v1/comparisons", json=body).raise_for_status().json()


@pytest.fixture(scope="module")
def done(server: LiveServer) -> str:
    """The id of a comparison of three backends, of which one fails, with two values."""
    made = _start(server, "dunes", ["aurora", "dusk", "broken"], steps=[2, 4])
    server.wait_for_job(made["job"])
    return str(made["id"])


def _count_jobs(server: LiveServer) -> int:
    """How many images were submitted so far; each comparison has a job for its sheet beside."""
    jobs = server.client.get("/api/v1/jobs", params={"limit": 500}).json()["jobs"]
    return sum(sum(job["counts"].values()) - 1 for job in jobs if job["kind"] == "grid")


def _cell(page: Page, label: str) -> Locator:
    return page.get_by_role("link", name=f"Open {label}", exact=True)


def _check_models(page: Page, *names: str) -> None:
    """Check more models in the picker of the form, and use them."""
    page.get_by_role("button", name="Add", exact=True).first.click()
    picker = page.get_by_role("dialog", name="Model")
    for name in names:
        option = picker.get_by_role("option", name=re.compile(f"^{name} "))
        expect(option).to_have_attribute("aria-selected", "false")
        option.click()
        expect(option).to_have_attribute("aria-selected", "true")
    picker.get_by_role("button", name=re.compile("^(Compare|Use) \\d")).click()
    expect(picker).to_have_count(0)


def _colours(target: Locator) -> list[tuple[int, int, int]]:
    """The colours left and right of the middle of an element."""
    image = Image.open(BytesIO(target.screenshot())).convert("RGB")
    rgb = [image.getpixel((round(image.width * x), image.height // 2)) for x in (0.43, 0.57)]
    return [(int(one[0]), int(one[1]), int(one[2])) for one in rgb if isinstance(one, tuple)]


def test_the_form_says_what_will_be_made_and_the_cells_appear(
    server: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(server.url, "compare")
    page.get_by_role("link", name="New comparison").first.click()
    form = page.get_by_role("dialog", name="New comparison")
    form.get_by_label("Prompt").fill("two moons")
    _check_models(page, "aurora", "dusk")
    form.get_by_role("combobox", name="Vary").select_option(label="Steps")
    for value in ("4", "8", "12"):
        form.get_by_role("button", name=f"Remove {value}", exact=True).click()
    form.get_by_label("Add values of Steps").fill("2..4, many")
    form.get_by_label("Add values of Steps").press("Enter")
    expect(form.get_by_role("alert")).to_have_text("many is not a value of Steps.")
    expect(form.get_by_role("button", name="Run 6")).to_be_enabled()
    form.get_by_role("button", name="3", exact=True).click()
    run = form.get_by_role("button", name="Run 4")
    expect(run).to_be_in_viewport(ratio=1)
    run.click()
    expect(page).to_have_url(re.compile(r"/compare/compare-two-moons-\w+$"))
    for label in ("aurora, steps 2", "aurora, steps 4", "dusk, steps 2", "dusk, steps 4"):
        expect(_cell(page, label)).to_be_in_viewport()
    expect(page.get_by_text("4 of 4")).to_be_visible()


def test_a_backend_that_lacks_the_parameter_counts_once(
    server: LiveServer, open_page: OpenPage
) -> None:
    made = _start(server, "not varied", ["aurora"], cfg=[2, 4])
    server.wait_for_job(made["job"])
    page = open_page(server.url, f"compare/{made['id']}")
    expect(_cell(page, "aurora, cfg 2")).to_be_visible()
    expect(page.get_by_text("Does not take CFG. Same as the first cell.")).to_be_in_viewport()
    expect(page.get_by_text("1 of 1")).to_be_visible()


def test_a_failed_cell_says_why_and_is_retried_alone(
    server: LiveServer, open_page: OpenPage, done: str
) -> None:
    page = open_page(server.url, f"compare/{done}")
    before = _count_jobs(server)
    retry = page.get_by_role("button", name="Retry broken, steps 4")
    expect(retry).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Details broken, steps 4").click()
    expect(page).to_have_url(re.compile("failure="))
    expect(page.get_by_role("dialog", name="Failed")).to_contain_text("fails as configured")
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    retry.click()
    expect(page.get_by_text("2 failed")).to_be_visible()
    for _ in range(100):
        if _count_jobs(server) == before + 1:
            break
        page.wait_for_timeout(50)
    assert _count_jobs(server) == before + 1
    expect(retry).to_be_visible()


def test_a_model_that_is_added_later_generates_only_what_is_missing(
    server: LiveServer, open_page: OpenPage
) -> None:
    made = _start(server, "extended", ["aurora"], steps=[1, 2])
    server.wait_for_job(made["job"])
    before = _count_jobs(server)
    page = open_page(server.url, f"compare/{made['id']}")
    page.get_by_role("link", name="Edit axes").click()
    form = page.get_by_role("dialog", name="Edit axes")
    expect(form.get_by_role("button", name="Run 0")).to_be_disabled()
    _check_models(page, "dusk")
    form.get_by_label("Add values of Steps").fill("3")
    form.get_by_label("Add values of Steps").press("Enter")
    form.get_by_role("button", name="Run 4").click()
    expect(_cell(page, "dusk, steps 3")).to_be_visible()
    expect(page.get_by_text("6 of 6")).to_be_visible()
    assert _count_jobs(server) == before + 4
    with page.expect_download() as sheet:
        page.get_by_role("button", name="Contact sheet").click()
    with Image.open(sheet.value.path()) as image:
        assert image.format == "PNG"
        assert image.width > 3 * 96
    report = server.client.get(f"/api/v1/comparisons/{made['id']}/files/compare.html")
    assert "dusk-03-7.png" in report.text


def test_hiding_and_sorting_only_changes_what_is_shown(
    server: LiveServer, open_page: OpenPage, done: str
) -> None:
    before = _count_jobs(server)
    page = open_page(server.url, f"compare/{done}")
    first, second = _cell(page, "aurora, steps 2"), _cell(page, "dusk, steps 2")
    a, b = first.bounding_box(), second.bounding_box()
    assert a
    assert b
    assert (a["x"], a["y"] < b["y"]) == (b["x"], True)
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Hide and sort").click()
    sheet = page.get_by_role("dialog", name="Hide and sort")
    sheet.get_by_role("button", name="Swap axes").click()
    sheet.get_by_role("button", name="broken").click()
    sheet.get_by_label("Sort by").select_option(label="Name and value")
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect(page).to_have_url(re.compile("columns=backend"))
    expect(page.get_by_text("Failed", exact=True)).to_have_count(0)
    a, b = first.bounding_box(), second.bounding_box()
    assert a
    assert b
    assert (a["y"], a["x"] < b["x"]) == (b["y"], True)
    page.reload()
    expect(first).to_be_visible()
    expect(page.get_by_text("Failed", exact=True)).to_have_count(0)
    assert _count_jobs(server) == before


def _open_pair(page: Page) -> Locator:
    page.get_by_role("button", name="Choose aurora, steps 4 to compare").click()
    page.get_by_role("button", name="Choose dusk, steps 4 to compare").click()
    page.get_by_role("button", name="Compare A and B").click()
    return page.get_by_role("dialog", name="Compare images")


def test_the_slider_moves_by_keys_and_shows_both_images(
    server: LiveServer, open_page: OpenPage, done: str
) -> None:
    page = open_page(server.url, f"compare/{done}")
    pair = _open_pair(page)
    stage, slider = pair.locator(".pane").first, pair.get_by_role("slider")
    expect(pair.get_by_role("img", name="A: mock, aurora")).to_be_visible()
    expect(pair.get_by_role("cell", name="dusk")).to_be_visible()
    expect(stage.locator(".loading")).to_have_count(0)
    slider.press("End")
    only_a = _colours(stage)
    slider.press("Home")
    only_b = _colours(stage)
    assert only_a != only_b
    slider.fill("50")
    assert _colours(stage) == [only_a[0], only_b[1]]
    page.keyboard.press("c")
    expect(pair.get_by_role("img", name="A: mock, dusk")).to_be_visible()
    page.go_back()
    expect(pair).to_have_count(0)
    expect(_cell(page, "aurora, steps 4")).to_be_in_viewport()


def test_on_a_phone_the_slider_follows_a_finger(
    server: LiveServer, open_page: OpenPage, done: str
) -> None:
    page = open_page(server.url, f"compare/{done}", size="phone")
    pair = _open_pair(page)
    slider = pair.get_by_role("slider")
    expect(slider).to_be_in_viewport(ratio=1)
    box = slider.bounding_box()
    assert box
    assert box["height"] >= 44
    page.touchscreen.tap(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    expect(slider).not_to_have_js_property("value", "50")
    assert float(slider.input_value()) == pytest.approx(80, abs=6)
    keep = pair.get_by_role("button", name="Keep A")
    expect(keep).to_be_in_viewport(ratio=1)
    keep.click()
    expect(pair.get_by_role("button", name="A kept")).to_have_attribute("aria-pressed", "true")
    uid = page.url.partition("a=")[2].partition("&")[0]
    assert server.client.get(f"/api/v1/images/{uid}").json()["library"]["rating"] == 5


def test_linked_images_zoom_together(server: LiveServer, open_page: OpenPage, done: str) -> None:
    view = server.client.get(f"/api/v1/comparisons/{done}").json()
    uids = [cell["images"][0]["uid"] for cell in view["cells"][:4]]
    query = "&".join(f"{name}={uid}" for name, uid in zip("abcd", uids, strict=True))
    page = open_page(server.url, f"compare/images?{query}")
    images = page.locator(".pane .image")
    expect(images).to_have_count(4)
    before = images.first.bounding_box()
    page.get_by_role("button", name="Zoom in").click()
    boxes = [images.nth(n).bounding_box() for n in range(4)]
    sizes = {(round(box["width"]), round(box["height"])) for box in boxes if box}
    assert before
    assert len(sizes) == 1
    assert next(iter(sizes))[0] == pytest.approx(before["width"] * 1.5, abs=2)
    page.get_by_role("button", name="Zoom together").click()
    page.mouse.move(200, 300)
    page.mouse.wheel(0, -400)
    expect(images.first).not_to_have_css("width", "0px")
    widths = [box["width"] for n in range(4) if (box := images.nth(n).bounding_box())]
    assert widths[0] > widths[3]


def test_a_running_comparison_survives_a_reload(server: LiveServer, open_page: OpenPage) -> None:
    made = _start(server, "running", ["aurora", "slow"], seed=[1, 2])
    page = open_page(server.url, f"compare/{made['id']}", size="phone")
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(_cell(page, "aurora, seed 1")).to_be_in_viewport()
    page.reload()
    expect(page.get_by_role("progressbar")).to_be_visible()
    box = _cell(page, "aurora, seed 1").bounding_box()
    head = page.get_by_text("slow", exact=True).bounding_box()
    assert box
    assert head
    assert round(box["width"]) == 148
    assert head["y"] > box["y"] + box["height"]  # its name is a line of its own
    page.get_by_role("button", name="Cancel rest").click()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    assert server.wait_for_job(made["job"])["state"] != "running"
    expect(_cell(page, "aurora, seed 2")).to_be_visible()


def test_a_model_and_a_value_are_added_while_it_runs(
    server: LiveServer, open_page: OpenPage
) -> None:
    made = _start(server, "growing", ["aurora", "slow"], steps=[40])
    page = open_page(server.url, f"compare/{made['id']}/edit")
    form = page.get_by_role("dialog", name="Edit axes")
    expect(form.get_by_role("button", name="Run 0")).to_be_disabled()
    _check_models(page, "dusk")
    form.get_by_label("Add values of Steps").fill("41")
    form.get_by_label("Add values of Steps").press("Enter")
    form.get_by_role("button", name="Run 4").click()
    for label in ("aurora, steps 40", "aurora, steps 41", "dusk, steps 40", "dusk, steps 41"):
        expect(_cell(page, label)).to_be_visible()
    expect(page.get_by_text("4 of 6")).to_be_visible()
    expect(page.get_by_text("Waiting", exact=True)).to_have_count(1)
    assert server.client.get(f"/api/v1/comparisons/{made['id']}").json()["job"] == made["job"]
    page.get_by_role("button", name="Cancel rest").click()
    expect(page.get_by_text("4 of 6")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel rest")).to_have_count(0)


def test_the_picker_of_the_form_is_left_by_back(server: LiveServer, open_page: OpenPage) -> None:
    page = open_page(server.url, "compare/new", size="phone")
    form = page.get_by_role("dialog", name="New comparison")
    form.get_by_label("Prompt").fill("kept")
    form.get_by_role("button", name="Add", exact=True).click()
    option = page.get_by_role("option", name=re.compile("^aurora "))
    box = option.bounding_box()
    assert box
    assert box["height"] >= 44
    option.tap()
    expect(form.get_by_label("Prompt")).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile(r"^Use 1 model"))).to_be_in_viewport(ratio=1)
    page.go_back()
    expect(form.get_by_label("Prompt")).to_have_value("kept")
    expect(form.get_by_role("button", name="Remove aurora")).to_have_count(0)
    form.get_by_role("button", name="Close").tap()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_each_image_may_have_a_seed_of_its_own(server: LiveServer, open_page: OpenPage) -> None:
    page = open_page(server.url, "compare/new")
    form = page.get_by_role("dialog", name="New comparison")
    form.get_by_label("Prompt").fill("own seeds")
    _check_models(page, "aurora", "dusk")
    expect(form.get_by_label("Seed", exact=True)).to_be_visible()
    form.get_by_role("switch", name="Same seed for all").uncheck()
    expect(form.get_by_label("Seed", exact=True)).to_have_count(0)
    form.get_by_role("button", name="Run 2").click()
    expect(page.get_by_text("2 of 2")).to_be_visible()
    expect(page.get_by_text("own seeds", exact=False).last).to_be_visible()
    id = page.url.rpartition("/")[2]
    cells = server.client.get(f"/api/v1/comparisons/{id}").json()["cells"]
    assert len({cell["seed"] for cell in cells}) == 2


def test_several_backends_in_the_generate_form_are_compared(
    server: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(server.url)
    page.get_by_role("textbox", name="Prompt", exact=True).fill("three at once")
    page.get_by_role("button", name=re.compile("^Model")).first.click()
    picker = page.get_by_role("dialog", name="Model")
    picker.get_by_role("button", name="Compare").click()
    picker.get_by_role("option", selected=True).click()  # the default of the server
    for name in ("aurora", "dusk", "broken"):
        picker.get_by_role("option", name=re.compile(f"^{name} ")).click()
    with page.expect_request("**/api/v1/comparisons/estimate") as estimated:
        picker.get_by_role("button", name="Compare 3 models").click()
    body: Any = estimated.value.post_data_json
    assert body["models"] == ["aurora", "dusk", "broken"]
    page.get_by_role("button", name="Compare 3 models").last.click()
    expect(page).to_have_url(re.compile(r"/compare/compare-three-at-once-\w+$"))
    expect(_cell(page, "aurora")).to_be_in_viewport()
    expect(_cell(page, "dusk")).to_be_in_viewport()
    expect(page.get_by_text("1 failed")).to_be_visible()


@pytest.fixture
def paid(tmp_path: Path, replicate_token: None) -> Iterator[LiveServer]:  # noqa: ARG001
    """A server with two paid models, and a budget that allows the cheap one alone."""
    models = {"cheap": "flux-schnell", "dear": "flux-1.1-pro"}
    with Replicate() as cloud:
        blocks = {
            name: {
                "type": "replicate",
                "model": f"black-forest-labs/{model}",
                "base_url": cloud.url,
            }
            for name, model in models.items()
        }
        budgets = (Budget(amount=0.01, per="run"),)
        settings = server_settings(blocks, folder=tmp_path, budgets=budgets)
        with live_server(settings, has_worker=False) as server:
            yield server


@pytest.mark.parametrize("place", ["compare", "generate"])
def test_over_budget_is_asked_with_the_price_of_all_models(
    paid: LiveServer, open_page: OpenPage, place: str
) -> None:
    request = {"prompt": "dear", "seed": 7}
    body = {"request": request, "models": ["cheap", "dear"]}
    known = paid.client.post("/api/v1/comparisons/estimate", json=body).json()
    assert known["is_over_budget"]
    price = f"${known['cost_usd']:.3f}".rstrip("0")
    draft = {"request": request, "backends": ["cheap", "dear"], "models": []}
    page = open_page(paid.url, "settings")
    page.evaluate("draft => localStorage.setItem('imagen.draft', JSON.stringify(draft))", draft)
    page.goto(f"{paid.url}/{'compare/new' if place == 'compare' else ''}")
    name = "Run anyway" if place == "compare" else "Generate anyway"
    button = page.get_by_role("button", name=name)
    expect(button.locator("b")).to_have_text(re.compile(rf"^{re.escape(price)}\d*$"))
    assert int(button.locator("b").evaluate("b => getComputedStyle(b).fontWeight")) >= 600
    assert paid.client.get("/api/v1/jobs").json()["jobs"] == []
    button.click()
    expect(page).to_have_url(re.compile("/compare/compare-dear"))
    kinds = [job["kind"] for job in paid.client.get("/api/v1/jobs").json()["jobs"]]
    assert "grid" in kinds


def test_the_report_shows_its_images_with_the_server_off(
    server: LiveServer, open_page: OpenPage, done: str, tmp_path: Path
) -> None:
    page = open_page(server.url, f"compare/{done}", may_fail=True)
    page.get_by_role("button", name="More").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Report as one HTML file").click()
    kept = tmp_path / "kept.html"
    download.value.save_as(kept)
    text = kept.read_text("utf-8")
    assert server.url not in text
    offline = page.context.new_page()
    offline.context.set_offline(True)
    offline.goto(kept.as_uri())
    images = offline.locator("img")
    expect(images).to_have_count(4)
    for image in images.all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("naturalWidth", 96)
    assert _colours(images.first) != _colours(images.last)
    page.context.set_offline(False)


def test_side_by_side_pans_together_and_flicker_shows_one_after_the_other(
    server: LiveServer, open_page: OpenPage, done: str
) -> None:
    page = open_page(server.url, f"compare/{done}")
    pair = _open_pair(page)
    pair.get_by_role("button", name="Side by side").click()
    panes, images = pair.locator(".pane"), pair.locator(".pane .image")
    expect(panes).to_have_count(2)
    left, right = panes.first.bounding_box(), panes.nth(1).bounding_box()
    assert left
    assert right
    assert left["x"] + left["width"] <= right["x"] + 1
    for _ in range(6):
        pair.get_by_role("button", name="Zoom in").click()
    before = [images.nth(n).bounding_box() for n in range(2)]
    x, y = left["x"] + left["width"] / 2, left["y"] + left["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 20, steps=4)
    page.mouse.up()
    after = [images.nth(n).bounding_box() for n in range(2)]
    moved = [
        (round(b["x"] - a["x"]), round(b["y"] - a["y"]))
        for a, b in zip(before, after, strict=True)
        if a and b
    ]
    assert moved[0] == moved[1]
    assert moved[0][0] < -30
    pair.get_by_role("button", name="Flicker").click()
    stage = pair.locator(".pane").first
    expect(stage.locator(".loading")).to_have_count(0)
    first = _colours(stage)
    page.keyboard.press("m")
    expect(pair.get_by_role("button", name="Hold to see B")).to_have_attribute(
        "aria-pressed", "true"
    )
    second = _colours(stage)
    page.keyboard.press("m")
    expect(pair.get_by_role("button", name="Hold to see B")).to_have_attribute(
        "aria-pressed", "false"
    )
    assert first != second
    assert _colours(stage) == first


def test_the_table_lists_what_differs_and_all_on_request(
    server: LiveServer, open_page: OpenPage, done: str
) -> None:
    page = open_page(server.url, f"compare/{done}")
    page.get_by_role("button", name="Choose aurora, steps 2 to compare").click()
    page.get_by_role("button", name="Choose aurora, steps 4 to compare").click()
    page.get_by_role("button", name="Compare A and B").click()
    table = page.get_by_role("table")
    steps = table.get_by_role("row", name=re.compile("^Steps"))
    expect(steps.get_by_role("cell")).to_have_text(["2", "4"])
    expect(table.get_by_role("row", name=re.compile("^Seed"))).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Show all")).click()
    seed = table.get_by_role("row", name=re.compile("^Seed"))
    expect(seed.get_by_role("cell")).to_have_text(["7", "7"])


def test_rows_are_sorted_by_the_time_of_their_images(
    server: LiveServer, open_page: OpenPage, done: str
) -> None:
    cells = server.client.get(f"/api/v1/comparisons/{done}").json()["cells"]
    seconds: dict[str, list[float]] = {}
    for cell in cells:
        if cell["seconds"] is not None and cell["files"]:
            seconds.setdefault(cell["model"], []).append(cell["seconds"])
    page = open_page(server.url, f"compare/{done}?sort=time")
    heads = page.locator(".name b")
    expect(heads).to_have_count(3)
    shown = heads.all_inner_texts()
    known = [sum(seconds[name]) / len(seconds[name]) for name in shown if name in seconds]
    assert known == sorted(known)
    assert shown[-1] == "broken"  # it has no times
    tops = [box["y"] for head in heads.all() if (box := head.bounding_box())]
    assert tops == sorted(tops)


def test_three_images_of_the_gallery_are_compared(
    server: LiveServer, open_page: OpenPage, done: str
) -> None:
    assert done
    page = open_page(server.url, size="tablet")
    tiles = page.get_by_role("option")
    expect(tiles.nth(2)).to_be_visible()
    tiles.first.focus()
    for _ in range(3):
        page.keyboard.press("x")
        page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Compare", exact=True).click()
    panes = page.get_by_role("dialog", name="Compare images").locator(".pane")
    expect(panes).to_have_count(3)
    for pane in panes.all():
        expect(pane).to_be_in_viewport(ratio=1)
