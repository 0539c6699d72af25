"""The settings, the workflows and the first run, each as a user goes through it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from support.live_server import live_server, server_settings

from imagen.config import load_settings
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page
    from support.browser import OpenPage
    from support.live_server import LiveServer

_SECRET = "a-secret-of-this-test-alone"
_CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
_GRAPH: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": _CHECKPOINT}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "5": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["3", 0],
            "latent_image": ["4", 0],
            "seed": 3,
            "steps": 4,
            "cfg": 2.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    },
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
    "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x"}},
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LiveServer]:
    """A server with two ComfyUIs, of which one lacks a model and one is not started."""
    with ComfyUI(missing_models=[_CHECKPOINT]) as comfy:
        with ComfyUI() as gone:
            pass
        backends: dict[str, dict[str, Any]] = {
            "mock": {"type": "mock"},
            "studio": {"type": "comfyui", "url": comfy.url, "workflow": "sdxl"},
            "attic": {"type": "comfyui", "url": gone.url, "workflow": "sdxl"},
        }
        settings = server_settings(
            backends, folder=tmp_path, workflow_dirs=(tmp_path / "workflows",)
        )
        with live_server(settings) as server:
            yield server


def _row(page: Page, name: str) -> Locator:
    return page.get_by_role("listitem").filter(has_text=name)


def _drop(page: Page, name: str, text: str) -> None:
    """Drop a file where workflows are added."""
    handle = page.evaluate_handle(
        """([name, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], name, { type: "application/json" }));
            return transfer;
        }""",
        [name, text],
    )
    page.locator(".drop").dispatch_event("drop", {"dataTransfer": handle})


# --- look and about ---


def test_theme_and_language_change_at_once_and_stay(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "settings", size="phone")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Light").tap()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    light = page.evaluate(background)
    assert light != dark
    page.get_by_label("Language").select_option("de")
    expect(page.get_by_role("heading", level=1)).to_have_text("Einstellungen")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("button", name="Hell")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Einstellungen")
    assert page.evaluate(background) == light


def test_about_names_the_version_and_the_licences(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "settings/about", size="phone")
    version = live.client.get("/api/v1/status").json()["version"]
    expect(page.get_by_text(version, exact=True)).to_be_in_viewport()
    expect(page.get_by_text("this machine")).to_be_in_viewport()
    expect(page.get_by_role("link", name="About")).to_be_in_viewport(ratio=1)
    licences = page.get_by_role("link", name="Licences").get_attribute("href") or ""
    assert "svelte" in live.client.get(licences).raise_for_status().text


# --- access ---


def test_a_token_is_shown_once_and_revoked(tmp_path: Path, open_page: OpenPage) -> None:
    with live_server(server_settings(folder=tmp_path), secret=_SECRET) as server:
        page = open_page(
            server.url, f"settings/access#token={_SECRET}", size="phone", may_fail=True
        )
        expect(page.get_by_text("There are no tokens.")).to_be_in_viewport()
        page.get_by_label("Name, such as phone").fill("tablet")
        page.get_by_role("button", name="See").tap()
        expect(page.get_by_text("Sees images, the queue and usage.")).to_be_in_viewport()
        page.get_by_role("button", name="Create token").tap()
        made = page.get_by_role("status").filter(has_text="Token for tablet")
        expect(made.get_by_text("It is shown this once.")).to_be_in_viewport()
        token = made.locator("code").first.inner_text()
        allowed = {"Authorization": f"Bearer {token}"}
        seen = server.client.get("/api/v1/session", headers=allowed).json()
        assert (seen["name"], seen["scopes"]) == ("tablet", ["read"])
        page.reload()
        row = _row(page, "tablet")
        expect(row).to_contain_text("read")
        assert token not in page.content()
        row.get_by_role("button", name="Revoke tablet").tap()
        row.get_by_role("button", name="Keep").tap()
        row.get_by_role("button", name="Revoke tablet").tap()
        row.get_by_role("button", name="Revoke", exact=True).tap()
        expect(page.get_by_text("There are no tokens.")).to_be_in_viewport()
        answer = server.client.post("/api/v1/session", json={"token": token})
        assert answer.status_code == 401


def test_a_name_that_is_taken_is_refused_in_a_sentence(
    live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url, "settings/access", may_fail=True)
    for _ in range(2):
        page.get_by_label("Name, such as phone").fill("tablet")
        page.get_by_role("button", name="Create token").click()
        expect(_row(page, "tablet")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("tablet")
    expect(page.get_by_label("Name, such as phone")).to_have_value("tablet")


# --- engines ---


def test_engines_say_how_they_are_and_doctor_what_to_do(
    site: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(site.url, "settings/engines")
    expect(_row(page, "studio")).to_contain_text("Ready")
    gone = _row(page, "attic")
    expect(gone.locator(".bad")).to_contain_text("127.0.0.1")
    expect(gone).to_contain_text("python main.py")
    doctor = page.locator("section").filter(has=page.get_by_role("heading", name="What doctor"))
    expect(doctor).to_contain_text("attic")
    page.wait_for_load_state("networkidle")  # it asks once, and not without end
    page.set_viewport_size({"width": 390, "height": 844})
    heading = page.get_by_role("heading", name="Engines").bounding_box()
    connect = page.get_by_role("link", name="Connect an engine").bounding_box()
    assert heading is not None
    assert connect is not None
    is_below = connect["y"] >= heading["y"] + heading["height"]
    assert is_below or connect["x"] >= heading["x"] + heading["width"]


def test_a_paused_engine_is_marked_and_goes_on(site: LiveServer, open_page: OpenPage) -> None:
    page = open_page(site.url, "settings/engines", size="phone")
    row = _row(page, "studio")
    expect(row).to_contain_text("Ready")
    row.get_by_role("button", name="Pause studio").tap()
    expect(row.get_by_text("Paused", exact=True)).to_be_in_viewport()
    (engine,) = [
        one
        for one in site.client.get("/api/v1/status").json()["engines"]
        if "studio" in one["backends"]
    ]
    assert engine["paused"]
    page.reload()
    row.get_by_role("button", name="Resume studio").tap()
    expect(row.get_by_text("Paused", exact=True)).to_have_count(0)


# --- keys ---


def test_a_key_is_changed_used_and_reset(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "settings/keys")
    queue = page.get_by_role("dialog", name="Queue")
    change = page.get_by_role("button", name="Change the keys of Open or close the queue")
    reset = page.get_by_role("button", name="Reset the keys of Open or close the queue")
    expect(reset).to_be_disabled()
    change.click()
    page.keyboard.press("j")
    expect(change).to_have_text("J")
    page.reload()
    page.keyboard.press("Shift+Q")
    page.keyboard.press("j")
    expect(queue).to_be_in_viewport()
    page.go_back()
    expect(queue).to_have_count(0)
    change.click()
    page.keyboard.press("Backspace")
    expect(change).to_have_text("Off")
    page.keyboard.press("j")
    reset.click()
    page.keyboard.press("Shift+Q")
    expect(queue).to_be_in_viewport()


def test_keys_that_two_actions_have_are_said(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "settings/keys")
    page.get_by_role("button", name="Change the keys of Open or close the queue").click()
    page.keyboard.press("?")
    said = page.get_by_text("These keys are also for: Open or close the queue")
    expect(said).to_be_in_viewport()
    page.get_by_role("button", name="Reset all keys").click()
    expect(said).to_have_count(0)


# --- workflows ---


def test_a_dropped_workflow_is_recognised_added_and_checked(
    site: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(site.url, "workflows", may_fail=True)
    _drop(page, "My fox.json", json.dumps(_GRAPH))
    found = page.locator("form.card")
    expect(found).to_contain_text("text-to-image")
    expect(found.get_by_text("prompt", exact=True)).to_be_in_viewport()
    expect(found.get_by_text("negative", exact=True)).to_be_in_viewport()
    expect(found.get_by_text(_CHECKPOINT).first).to_be_in_viewport()
    name = found.get_by_label("Name").input_value()
    found.get_by_role("button", name="Add", exact=True).click()
    expect(found).to_contain_text(f"{name} was added.")
    expect(page.get_by_role("heading", name="Added 1")).to_be_visible()
    _drop(page, "My fox.json", json.dumps(_GRAPH))
    found.get_by_role("button", name="Add", exact=True).click()
    expect(found.get_by_role("alert")).to_contain_text("already exists")
    found.get_by_label("Replace the workflow of this name").check()
    found.get_by_role("button", name="Add", exact=True).click()
    expect(found).to_contain_text(f"{name} was added.")
    expect(page.get_by_role("heading", name="Added 1")).to_be_visible()
    found.get_by_role("link", name="Open").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.get_by_label("Engine").select_option("studio")
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.locator(".fault").filter(has_text=_CHECKPOINT)).to_be_in_viewport()


def test_a_bundled_workflow_links_to_its_models(site: LiveServer, open_page: OpenPage) -> None:
    page = open_page(site.url, "workflows", size="phone")
    page.get_by_role("link", name=re.compile("sd15")).first.tap()
    link = page.get_by_role("link", name=_CHECKPOINT)
    expect(link).to_have_attribute("href", re.compile("^https://huggingface.co/"))
    page.get_by_label("Engine").select_option("studio")
    page.get_by_role("button", name="Check", exact=True).tap()
    expect(page.locator(".fault").filter(has_text=_CHECKPOINT)).to_be_visible()
    page.get_by_label("All workflows").tap()
    page.get_by_role("link", name=re.compile("sdxl")).first.tap()
    page.get_by_label("Engine").select_option("studio")
    page.get_by_role("button", name="Check", exact=True).tap()
    expect(page.get_by_text("Everything it needs is there.")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("torn.json", '{"1": ', "torn.json is not JSON."),
        ("list.json", "[1, 2]", "list.json is not a workflow"),
        ("other.json", '{"a": 1}', "workflow"),
    ],
)
def test_a_broken_file_gives_a_sentence(
    name: str, text: str, sentence: str, site: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(site.url, "workflows", may_fail=True)
    _drop(page, name, text)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(sentence)
    expect(alert).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="Add", exact=True)).to_be_disabled()
    assert not re.search(r"undefined|\[object|Traceback|Error:", alert.inner_text())


# --- first run ---


def test_the_demo_painter_is_two_taps_from_a_first_image(
    tmp_path: Path, open_page: OpenPage
) -> None:
    with live_server(server_settings({}, folder=tmp_path)) as server:
        page = open_page(server.url, size="phone")
        expect(page).to_have_url(f"{server.url}/welcome")
        expect(_row(page, "Replicate")).to_be_visible()
        demo = page.get_by_role("button", name="Try the demo painter")
        expect(demo).to_be_in_viewport(ratio=1)
        demo.tap()
        image = page.get_by_role("main").locator('a[href*="/image/"]').first
        expect(image).to_be_in_viewport(ratio=1)
        image.tap()
        expect(page).to_have_url(re.compile("/image/"))
        shown = page.get_by_role("dialog").locator("img").first
        expect(shown).to_be_in_viewport()
        assert shown.evaluate("async (image) => (await image.decode(), image.naturalWidth)") > 0


def test_a_comfyui_that_runs_is_found_and_added(
    tmp_path: Path, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_server(server_settings({}, folder=tmp_path)) as server:
        page = open_page(server.url, "welcome", size="phone")
        row = _row(page, "ComfyUI")
        expect(row).to_contain_text("Not set up.")
        with ComfyUI() as comfy:
            place = "imagen.backends.comfyui.capabilities.DEFAULT_URL"
            monkeypatch.setattr(place, comfy.url)
            page.get_by_role("button", name="Check again").tap()
            expect(row).to_contain_text("Runs, but is not set up.")
            expect(row).to_contain_text(comfy.url)
            add = row.get_by_role("button", name="Add ComfyUI")
            add.tap()
            said = row.get_by_text("Added to")
            said.scroll_into_view_if_needed()
            expect(said).to_be_in_viewport(ratio=1)
            expect(add).to_have_count(0)
            settings = load_settings()
            assert str(settings.source) in said.inner_text()
            assert settings.backends["sdxl"]["url"] == comfy.url
            expect(row).to_contain_text("Ready")
            page.get_by_role("link", name="Start", exact=True).tap()
            page.get_by_role("button", name="New image").tap()
            page.get_by_role("textbox", name="Prompt").fill("a fox")
            sheet = page.get_by_role("dialog", name="New image")
            model = sheet.get_by_role("button", name=re.compile("^Model: "))
            expect(model).to_contain_text("ComfyUI")
            sheet.get_by_role("button", name="Generate", exact=True).tap()
            expect(page.get_by_role("option", name="a fox")).to_have_count(1)


def test_a_wrong_address_is_said_below_its_engine(tmp_path: Path, open_page: OpenPage) -> None:
    with ComfyUI() as comfy, live_server(server_settings({}, folder=tmp_path)) as server:
        page = open_page(server.url, "welcome")
        row = _row(page, "ComfyUI")
        row.get_by_role("button", name="How to connect ComfyUI").click()
        address = row.get_by_role("textbox", name="Address")
        address.fill("http://127.0.0.1:9")
        row.get_by_role("button", name="Look there").click()
        expect(row.get_by_role("alert")).to_contain_text("127.0.0.1:9 cannot be reached")
        expect(page.get_by_role("alert")).to_have_count(1)
        address.fill(comfy.url)
        row.get_by_role("button", name="Look there").click()
        expect(row.get_by_role("alert")).to_have_count(0)
        row.get_by_role("button", name="Add ComfyUI").click()
        expect(row).to_contain_text("Ready")
        assert load_settings().backends["sdxl"]["url"] == comfy.url
