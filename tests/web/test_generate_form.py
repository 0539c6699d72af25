"""The form of a new image: what it sends, what it keeps, and what it says beforehand."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from simulators.replicate import Replicate
from support.live_server import live_server, server_settings

from imagen.config import Budget, ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page
    from support.browser import OpenPage
    from support.live_server import LiveServer


def _generate(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile(r"^Generate( \d+)?( Ctrl.*)?$"))


def _prompt(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Prompt", exact=True)


def _submitted(page: Page) -> list[dict[str, Any]]:
    """The bodies of the submissions that the page sends from now on."""
    bodies: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.url.endswith("/api/v1/generations"):
            key = request.headers["idempotency-key"]
            bodies.append(json.loads(request.post_data) | {"key": key})

    page.on("request", note)
    return bodies


def _keep_draft(page: Page, **request: Any) -> None:
    """Load the page again with these values in the form."""
    draft = json.dumps({"request": request, "backends": []})
    page.evaluate("draft => { sessionStorage['imagen.draft'] = draft; }", draft)
    page.reload()


def _wait_for_jobs(live: LiveServer, count: int) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = live.client.get("/api/v1/jobs").json()["jobs"]
    top = [job for job in jobs if job["parent"] is None]
    assert len(top) == count
    return top


def test_a_click_sends_what_the_form_holds(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url)
    bodies = _submitted(page)
    _prompt(page).fill("a fox in fog")
    page.get_by_role("radio", name="16:9").click()
    page.get_by_role("button", name="More images").click()
    with page.expect_response("**/api/v1/generations"):
        _generate(page).click()
    assert bodies[0]["request"] == {
        "prompt": "a fox in fog",
        "width": 1344,
        "height": 768,
        "count": 2,
    }
    assert (bodies[0]["backend"], bodies[0]["priority"]) == ("mock", 0)
    page.reload()
    expect(_prompt(page)).to_have_value("a fox in fog")
    expect(page.get_by_role("radio", name="16:9")).to_have_attribute("aria-checked", "true")


def test_two_presses_of_ctrl_enter_are_two_jobs(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url)
    bodies = _submitted(page)
    _prompt(page).fill("a fox")
    expect(_generate(page)).not_to_have_attribute("aria-disabled", "true")
    with page.expect_response("**/api/v1/generations"):
        _prompt(page).press("Control+Enter")
    with page.expect_response("**/api/v1/generations"):
        _prompt(page).press("Control+Shift+Enter")
    assert [body["priority"] > 0 for body in bodies] == [False, True]
    assert bodies[0]["key"] != bodies[1]["key"]
    _wait_for_jobs(live, 2)


def test_a_submission_that_the_network_cut_off_is_one_job(
    live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url, may_fail=True)
    cut: list[str] = []

    def cut_off(route: Any) -> None:
        if cut:
            route.continue_()
            return
        cut.append(route.request.headers["idempotency-key"])
        route.fetch()
        route.abort()

    page.route("**/api/v1/generations", cut_off)
    bodies = _submitted(page)
    _prompt(page).fill("a fox")
    with page.expect_response("**/api/v1/generations"):
        _generate(page).click()
    assert {body["key"] for body in bodies} == set(cut)
    _wait_for_jobs(live, 1)


def test_the_phone_generates_from_the_composer(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, size="phone")
    page.get_by_role("button", name="Describe the image").click()
    _prompt(page).fill("a fox")
    page.get_by_role("button", name="Close").click()
    composer = page.get_by_role("region", name="New image")
    button = composer.get_by_role("button", name="Generate")
    expect(button).to_be_in_viewport(ratio=1)
    with page.expect_response("**/api/v1/generations"):
        button.click()
    _wait_for_jobs(live, 1)


def test_a_value_out_of_range_is_clamped_and_said(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url)
    page.get_by_role("button", name=re.compile("^Advanced")).click()
    steps = page.get_by_role("textbox", name="Steps")
    steps.fill("999")
    steps.press("Tab")
    expect(steps).to_have_value("200")
    expect(page.get_by_text("999 became 200. This model accepts up to 200.")).to_be_in_viewport()


def test_an_error_of_the_server_is_at_its_field(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, may_fail=True)
    _prompt(page).fill("a {red|blue fox")
    with page.expect_response("**/api/v1/generations"):
        _generate(page).click()
    expect(_prompt(page)).to_have_attribute("aria-invalid", "true")
    expect(_prompt(page)).to_be_focused()
    expect(page.locator("#prompt-about")).to_contain_text("this brace is not closed")
    _prompt(page).fill("a {red|blue} fox")
    expect(_prompt(page)).to_have_attribute("aria-invalid", "false")


def test_the_panel_scrolls_to_an_error_below(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "?panel=generate", size="phone", may_fail=True)
    _keep_draft(page, prompt="a fox " * 400, negative="a {red|blue fox")
    sheet = page.get_by_role("dialog", name="New image")
    negative = sheet.get_by_role("textbox", name="Negative prompt")
    expect(_prompt(page)).to_have_css("height", "250px")  # ten lines, also in a sheet
    sheet.get_by_role("button", name=re.compile("^Advanced")).click()
    expect(sheet.get_by_role("textbox", name="Steps")).to_be_visible()
    sheet.locator(".body").evaluate("body => body.scrollTo(0, body.scrollHeight)")
    expect(negative).not_to_be_in_viewport()
    with page.expect_response("**/api/v1/generations"):
        sheet.get_by_role("button", name=re.compile("^Generate")).click()
    expect(negative).to_be_in_viewport(ratio=1)
    expect(negative).to_be_focused()
    expect(negative).to_have_accessible_description(re.compile("this brace is not closed"))
    expect(negative).to_have_value("a {red|blue fox")


def test_a_kept_seed_counts_up_with_the_images(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url)
    bodies = _submitted(page)
    _prompt(page).fill("a fox")
    page.get_by_role("textbox", name="Seed").fill("18446744073709551614")
    lock = page.get_by_role("button", name="Keep this seed")
    expect(lock).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="More images").click()
    with page.expect_response("**/api/v1/generations") as sent:
        _generate(page).click()
    assert bodies[0]["request"]["seed"] == "18446744073709551614"
    jobs = [live.client.get(f"/api/v1/jobs/{id}").json() for id in sent.value.json()["jobs"]]
    seeds = {job["request"]["seed"] for job in jobs}
    assert seeds <= {2**64 - 2, 2**64 - 1}
    lock.click()
    expect(page.get_by_role("textbox", name="Seed")).to_have_value("")


def test_without_the_server_the_button_says_why(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, may_fail=True)
    expect(page.locator("#generate-reason")).to_have_text("Describe the image first.")
    _prompt(page).fill("a fox")
    expect(page.locator("#generate-reason")).to_have_count(0)


@pytest.mark.parametrize("text", ["ضباب فوق التلال", "薄雾中的狐狸", "x" * 10_000])
def test_any_prompt_fits_into_its_field(live: LiveServer, open_page: OpenPage, text: str) -> None:
    page = open_page(live.url)
    _prompt(page).fill(text)
    box = _prompt(page).bounding_box()
    assert box is not None
    assert box["height"] <= 230
    assert box["x"] + box["width"] <= 80 + 352
    expect(_generate(page)).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("locale", ["de", "pseudo"])
def test_long_words_do_not_overflow_the_panel(
    live: LiveServer, open_page: OpenPage, locale: str
) -> None:
    page = open_page(live.url, locale=locale)
    panel = page.locator("aside.panel")
    expect(panel.locator("#prompt")).to_be_visible()
    panel.locator('[aria-controls="advanced"]').click()
    wide = panel.evaluate(
        "one => [...one.querySelectorAll('*')].filter(e => !e.closest('.scroll-x, .hidden')"
        " && e.getBoundingClientRect().right > one.getBoundingClientRect().right + 1)"
        ".map(e => e.className || e.tagName)"
    )
    assert wide == []


def test_what_will_be_changed_and_left_out_is_said_beforehand(
    live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url)
    _keep_draft(page, prompt="a fox", steps=500, cfg=7, negative="text")
    panel = page.locator("aside.panel")
    expect(panel.get_by_text("Steps: 500 → 200.")).to_be_in_viewport(ratio=1)
    unused = panel.get_by_text("Not used by this model: CFG")
    unused.scroll_into_view_if_needed()
    expect(unused).to_be_in_viewport(ratio=1)
    bodies = _submitted(page)
    with page.expect_response("**/api/v1/generations"):
        _generate(page).click()
    assert "cfg" not in bodies[0]["request"]
    page.reload()
    expect(unused).to_be_visible()  # it is kept for other models


@pytest.mark.usefixtures("replicate_token")
def test_over_budget_the_button_says_so_and_sends_anyway(
    tmp_path: Path, open_page: OpenPage
) -> None:
    with Replicate() as cloud:
        model = "black-forest-labs/flux-schnell"
        block = {"type": "replicate", "model": model, "base_url": cloud.url}
        settings = server_settings(
            {"cloud": block},
            folder=tmp_path,
            budgets=(Budget(amount=0.001, per="run"),),
            server=ServerSettings(backend="cloud"),
        )
        with live_server(settings, has_worker=False) as server:
            page = open_page(server.url)
            bodies = _submitted(page)
            _prompt(page).fill("a fox")
            button = page.get_by_role("button", name=re.compile(r"^Generate anyway \$0\.00\d"))
            expect(button).to_be_in_viewport(ratio=1)
            with page.expect_response("**/api/v1/generations"):
                button.click()
            assert bodies[0]["over_budget"] is True
            _wait_for_jobs(server, 1)


def test_keys_weigh_words_and_wildcards_are_marked(tmp_path: Path, open_page: OpenPage) -> None:
    wildcards = tmp_path / "wildcards"
    wildcards.mkdir()
    (wildcards / "animal.txt").write_text("fox\nowl\n")
    settings = server_settings(folder=tmp_path, wildcard_dirs=(wildcards,))
    with live_server(settings, has_worker=False) as server:
        page = open_page(server.url, "settings")

        def with_weights(route: Any) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, json=answer.json() | {"prompt_syntax": ["weights"]})

        page.route("**/api/v1/backends/mock", with_weights)
        page.goto(server.url)
        prompt = _prompt(page)
        prompt.fill("a red __ani")
        page.get_by_role("button", name="__animal__").click()
        expect(prompt).to_have_value("a red __animal__")
        marks = page.locator("aside.panel mark")
        expect(marks).to_have_text(["__animal__"])
        text, mark = prompt.bounding_box(), marks.bounding_box()
        assert text is not None
        assert mark is not None
        assert text["x"] < mark["x"] < text["x"] + text["width"]
        assert text["y"] < mark["y"] < text["y"] + text["height"]
        prompt.evaluate("area => area.setSelectionRange(2, 5)")
        prompt.press("Control+ArrowUp")
        expect(prompt).to_have_value("a (red:1.1) __animal__")
        expect(marks).to_have_count(2)
        prompt.press("Control+ArrowDown")
        expect(prompt).to_have_value("a red __animal__")
        prompt.press("Control+z")
        expect(prompt).to_have_value("a (red:1.1) __animal__")
        prompt.fill("an __unknown__ animal")
        expect(page.get_by_text(re.compile("__unknown__.*"))).to_have_count(2)


def test_the_composer_follows_the_form_and_opens_it_at_the_right_field(
    tmp_path: Path, open_page: OpenPage
) -> None:
    backends: dict[str, dict[str, Any]] = {
        "dawn": {"type": "mock"},
        "dusk": {"type": "mock", "look": "dusk"},
    }
    settings = server_settings(backends, folder=tmp_path, server=ServerSettings(backend="dusk"))
    with live_server(settings) as server:
        page = open_page(server.url, size="phone")
        composer = page.get_by_role("region", name="New image")
        chip = composer.get_by_role("button", name="Model: ")
        expect(chip).to_have_text("dusk")
        composer.get_by_role("button", name="Size: ").click()
        sheet = page.get_by_role("dialog", name="New image")
        square = sheet.get_by_role("radio", name="1:1")
        expect(square).to_be_focused()
        expect(square).to_be_in_viewport(ratio=1)
        sheet.get_by_role("radio", name="16:9").click()
        page.go_back()
        expect(composer.get_by_role("button", name="Size: ")).to_have_text("16:9")
        composer.get_by_role("button", name="Describe the image").click()
        expect(_prompt(page)).to_be_focused()
        _prompt(page).fill("a fox " * 60)
        page.go_back()
        expect(composer.locator(".lines2")).to_have_css("height", "46px")
        chip.click()
        page.get_by_role("option", name="dawn").first.click()
        expect(sheet).to_have_count(0)
        expect(chip).to_have_text("dawn")
        with page.expect_request("**/api/v1/generations") as sent:
            composer.get_by_role("button", name="Generate").click()
        assert json.loads(sent.value.post_data or "")["backend"] == "dawn"
