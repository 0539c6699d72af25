"""The pickers of the form, and the images that a request starts from."""

from __future__ import annotations

import io
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from playwright.sync_api import expect
from support.live_server import live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Page
    from support.browser import OpenPage
    from support.live_server import LiveServer

_DROP = """
([bytes, type, selector]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
  const target = document.querySelector(selector);
  const options = { bubbles: true, cancelable: true };
  const event = type === "paste"
    ? new ClipboardEvent(type, { ...options, clipboardData: data })
    : new DragEvent(type, { ...options, dataTransfer: data });
  target.dispatchEvent(event);
}
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with 300 backends, of which one cannot be used."""
    blocks: dict[str, dict[str, Any]] = {"mock": {"type": "mock"}}
    blocks |= {f"painter-{n:03}": {"type": "mock", "look": str(n)} for n in range(298)}
    blocks["gone"] = {"type": "mock", "fail": "unavailable"}
    folder = tmp_path_factory.mktemp("many")
    with live_server(server_settings(blocks, folder=folder), has_worker=False) as server:
        yield server


def _png(colour: str = "red", size: tuple[int, int] = (64, 48)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def _file(name: str, data: bytes) -> Any:
    return {"name": name, "mimeType": "image/png", "buffer": data}


def _add_image(server: LiveServer, prompt: str) -> str:
    body = {"request": {"prompt": prompt, "width": 64, "height": 64, "steps": 1}}
    answer = server.client.post("/api/v1/generations", params={"wait": 20}, json=body)
    return str(answer.json()["images"][0]["uid"])


def _send(page: Page, event: str, selector: str) -> None:
    page.evaluate(_DROP, [[*_png()], event, selector])


def _slot(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True)


def _draft(page: Page) -> dict[str, Any]:
    text = page.evaluate("sessionStorage['imagen.draft'] ?? localStorage['imagen.draft']")
    request: dict[str, Any] = json.loads(text)["request"]
    return request


def test_one_of_300_models_is_found_with_the_keyboard(
    many: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(many.url)
    button = page.get_by_role("button", name="Model: ")
    button.click()
    expect(page).to_have_url(f"{many.url}/?pick=model")
    search = page.get_by_role("combobox", name="Search 599 models")
    expect(search).to_be_focused()
    assert page.get_by_role("option").count() < 40
    page.keyboard.press("End")
    last = page.get_by_role("option", name="mock-dusk painter-297")
    expect(last).to_be_in_viewport(ratio=1)
    page.keyboard.type("painter-123")
    expect(page.get_by_role("option")).to_have_count(2)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(search).to_have_count(0)
    expect(button).to_contain_text("painter-123")
    expect(button).to_be_focused()
    expect(page).to_have_url(f"{many.url}/")


def test_an_engine_that_cannot_be_used_says_why_and_what_helps(
    many: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(many.url, "?pick=model")
    page.get_by_role("combobox").fill("gone")
    expect(page.get_by_text("The mock fails as configured")).to_be_in_viewport(ratio=1)
    option = page.get_by_role("option", name="gone")
    expect(option).to_have_attribute("aria-disabled", "true")
    option.click(force=True)
    expect(page).to_have_url(f"{many.url}/?pick=model")
    expect(page.get_by_role("button", name="Check again")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("link", name="Engine settings")).to_be_in_viewport(ratio=1)


def test_the_sheet_of_the_phone_is_replaced_and_back_closes_one_at_a_time(
    live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url, size="phone")
    page.get_by_role("button", name="Describe the image").click()
    form = page.get_by_role("dialog", name="New image")
    form.get_by_role("button", name="Model: ").click()
    expect(page.get_by_role("dialog", name="Model")).to_be_in_viewport()
    expect(page.get_by_role("dialog")).to_have_count(1)
    option = page.get_by_role("option", name="mock-dusk")
    box = option.bounding_box()
    assert box
    assert box["height"] == 60
    page.go_back()
    expect(form).to_be_in_viewport()
    expect(option).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_image_of_this_device_is_in_the_request(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url)
    page.get_by_role("button", name="Input image", exact=True).click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="This device", exact=True).click()
    chooser.value.set_files(_file("fox.png", _png()))
    slot = _slot(page, "Input image")
    image = slot.locator("img").first
    expect(image).to_be_in_viewport(ratio=1)
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    slot.get_by_role("spinbutton").fill("0.4")
    page.get_by_label("Prompt", exact=True).fill("a fox")
    with page.expect_request(
        lambda one: one.url.endswith("/api/v1/generations") and one.method == "POST"
    ) as sent:
        page.get_by_role("button", name="Generate").first.click()
    request = json.loads(sent.value.post_data or "")["request"]
    assert request.pop("image").endswith("/fox.png")
    assert request == {"prompt": "a fox", "strength": 0.4}


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_an_image_that_is_dropped_or_pasted_fills_the_slot(
    event: str, live: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(live.url)
    empty = page.get_by_role("button", name="Input image", exact=True)
    expect(empty).to_be_visible()
    if event == "drop":
        _send(page, "dragover", "[data-slot=image]")
        expect(page.get_by_text("Drop as input image")).to_be_visible()
    _send(page, event, "[data-slot=image]" if event == "drop" else "body")
    expect(_slot(page, "Input image").locator("img").first).to_be_visible()
    expect(empty).to_have_count(0)
    assert _draft(page)["image"].endswith("/dropped.png")


def test_an_image_of_the_gallery_is_found_and_used(live: LiveServer, open_page: OpenPage) -> None:
    _add_image(live, "a blue owl")
    wanted = _add_image(live, "a red fox")
    page = open_page(live.url, "?pick=image:image")
    page.get_by_role("searchbox", name="Search the gallery").fill("fox")
    expect(page.get_by_role("button", name="a blue owl")).to_have_count(0)
    page.get_by_role("dialog").get_by_role("button", name="a red fox").click()
    expect(_slot(page, "Input image")).to_be_visible()
    assert _draft(page) == {"image": f"image:{wanted}"}


def test_a_broken_file_says_so_in_its_place(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, may_fail=True)  # Chromium logs each answer with an error
    page.get_by_role("button", name="Input image", exact=True).click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="This device", exact=True).click()
    chooser.value.set_files(_file("broken.png", _png()[:60] + struct.pack(">I", 7)))
    expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("alert")).to_contain_text("image")
    page.get_by_role("button", name="Dismiss the message about broken.png").click()
    expect(page.get_by_role("alert")).to_have_count(0)
