"""The arena: votes without any hint, by mouse, keys and fingers, and the ranking."""

from __future__ import annotations

import csv
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from support.live_server import live_server, server_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Page, Response
    from support.browser import OpenPage
    from support.live_server import LiveServer

_MODELS = ("kestrel", "osprey", "merlin")
_REQUEST = {"prompt": "a hill in fog", "seed": 7, "width": 96, "height": 64}


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with a comparison of three models. Each test votes under a name of its own."""
    folder = tmp_path_factory.mktemp("arena")
    backends = {name: {"type": "mock", "look": name} for name in _MODELS}
    with live_server(server_settings(backends, folder=folder)) as server:
        body = {"request": _REQUEST, "models": [*_MODELS]}
        made = server.client.post("/api/v1/comparisons", json=body).raise_for_status().json()
        server.wait_for_job(made["job"])
        yield server


def _votes(server: LiveServer, voter: str, **query: Any) -> list[Any]:
    params = {"voter": voter, **query}
    found: list[Any] = server.client.get("/api/v1/arena/votes", params=params).json()["votes"]
    return found


def _choices(server: LiveServer, voter: str) -> list[str]:
    return [vote["choice"] for vote in _votes(server, voter)]


def _wait_for_vote(page: Page, number: int) -> None:
    expect(page.get_by_text(f"Vote {number}", exact=True)).to_be_visible()
    expect(page.get_by_alt_text("Image A")).to_have_js_property("complete", value=True)


def _box(locator: Locator) -> Any:
    box = locator.bounding_box()
    assert box is not None
    return box


def _swipe(page: Page, element: Locator, dx: int, dy: int) -> None:
    """A finger moves over an element."""
    box = _box(element)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for step in range(6):
        kind = "touchStart" if step == 0 else "touchMove"
        points = [{"x": x + dx * step / 5, "y": y + dy * step / 5}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def _whole_document(page: Page) -> str:
    """All elements with their attributes, and every value that a script can read of them."""
    text: str = page.evaluate(
        """() => [...document.querySelectorAll("*")].flatMap((element) => [
          element.tagName,
          ...[...element.attributes].map(({ name, value }) => `${name}=${value}`),
          element.title, element.alt, element.value, element.currentSrc, element.textContent,
        ]).join("\\n") + JSON.stringify({...sessionStorage}) + document.title + location.href"""
    )
    return text


def _natural_size(page: Page, name: str) -> str:
    image = page.get_by_alt_text(name, exact=True).first
    size: str = image.evaluate("image => `${image.naturalWidth} ${image.naturalHeight}`")
    return size


def test_nothing_says_what_made_the_images(arena: LiveServer, open_page: OpenPage) -> None:
    page = open_page(arena.url, "settings/about", preferences={"voter": "spy"})
    seen: list[Response] = []
    page.on("response", lambda response: seen.append(response))
    page.goto(f"{arena.url}/arena")
    _wait_for_vote(page, 1)
    page.get_by_role("button", name="Options of the arena").click()
    page.get_by_role("menuitem", name="Choose images").click()
    expect(page.get_by_role("button", name="a hill in fog")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Enlarge image A").click()
    expect(page.get_by_role("dialog", name="Image A, enlarged")).to_be_visible()
    told = [page.content(), page.url]
    page.get_by_role("button", name="Close").click()
    told += [_whole_document(page)]
    page.keyboard.press("ArrowUp")
    _wait_for_vote(page, 2)
    told += [_whole_document(page)]
    urls = " ".join(response.url for response in seen)
    assert not any(name in urls for name in _MODELS)
    # Both have one size, in the page and as files.
    sizes = {_natural_size(page, f"Image {letter}") for letter in "AB"}
    assert len(sizes) == 1
    for response in seen:
        if response.url.endswith("/arena/votes"):
            continue  # the answer to a vote names both
        if "/arena/" in response.url:
            told += [response.url, str(response.all_headers())]
            told.append(response.body().decode("latin-1"))
        # No other address that would say it is asked; the index is of all images.
        assert not re.search(r"/api/v1/(images/(?!index)|comparisons|generations)", response.url)
    text = "\n".join(told).lower()
    hashes = [
        file["sha256"]
        for one in arena.client.get("/api/v1/comparisons").json()["comparisons"]
        for cell in arena.client.get(f"/api/v1/comparisons/{one['id']}").json()["cells"]
        for file in cell["files"]
    ]
    assert len(hashes) == 3
    for word in (*_MODELS, ".png", "mock", *hashes):
        assert word not in text, word
    assert "image a" in text


def test_buttons_and_keys_vote(arena: LiveServer, open_page: OpenPage) -> None:
    page = open_page(arena.url, "arena", preferences={"voter": "keys"})
    _wait_for_vote(page, 1)
    before = page.get_by_alt_text("Image A").get_attribute("src")
    page.get_by_role("button", name="A is better").click()
    _wait_for_vote(page, 2)
    assert page.get_by_alt_text("Image A").get_attribute("src") != before
    for number, key in enumerate(("ArrowRight", "ArrowUp", "ArrowDown", "ArrowLeft"), start=3):
        page.keyboard.press(key)
        _wait_for_vote(page, number)
    assert _choices(arena, "keys") == ["left", "right", "tie", "both_bad", "left"]
    assert all(vote["milliseconds"] > 0 for vote in _votes(arena, "keys"))


def test_undo_and_skip(arena: LiveServer, open_page: OpenPage) -> None:
    page = open_page(arena.url, "arena", preferences={"voter": "undo"})
    _wait_for_vote(page, 1)
    expect(page.get_by_role("button", name="Undo")).to_have_attribute("aria-disabled", "true")
    image = page.get_by_alt_text("Image A")
    first = str(image.get_attribute("src"))
    page.keyboard.press("ArrowLeft")
    _wait_for_vote(page, 2)
    second = str(image.get_attribute("src"))
    page.keyboard.press("u")
    _wait_for_vote(page, 1)
    expect(image).to_have_attribute("src", first)
    page.keyboard.press("ArrowRight")
    _wait_for_vote(page, 2)
    expect(image).to_have_attribute("src", second)
    page.get_by_role("button", name="Skip").click()
    expect(image).not_to_have_attribute("src", second)
    _wait_for_vote(page, 2)
    assert _choices(arena, "undo") == ["right", "skip"]


def test_swipes_vote_and_a_tap_only_enlarges(arena: LiveServer, open_page: OpenPage) -> None:
    page = open_page(arena.url, "arena", size="phone", preferences={"voter": "finger"})
    _wait_for_vote(page, 1)
    image = page.get_by_role("button", name="Enlarge image A")
    image.tap()
    enlarged = page.get_by_role("dialog", name="Image A, enlarged")
    expect(enlarged).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Show image B").tap()
    expect(page.get_by_role("dialog", name="Image B, enlarged")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).to_have_url(f"{arena.url}/arena")
    assert _choices(arena, "finger") == []
    _swipe(page, image, -150, 0)
    _wait_for_vote(page, 2)
    _swipe(page, image, 0, 90)
    _wait_for_vote(page, 3)
    _swipe(page, image, 150, 0)
    _wait_for_vote(page, 4)
    _swipe(page, image, 0, -90)
    _wait_for_vote(page, 5)
    assert _choices(arena, "finger") == ["left", "both_bad", "right", "tie"]


def test_names_are_shown_after_a_vote_on_request(arena: LiveServer, open_page: OpenPage) -> None:
    page = open_page(arena.url, "arena", preferences={"voter": "curious", "isArenaRevealed": True})
    _wait_for_vote(page, 1)
    names = page.get_by_text(re.compile(f"^({'|'.join(_MODELS)})$"))
    expect(names).to_have_count(0)
    page.keyboard.press("ArrowLeft")
    expect(names).to_have_count(2)
    shown = {*names.all_inner_texts()}
    page.keyboard.press("ArrowLeft")  # goes on at once, without a vote
    expect(names).to_have_count(0)
    (vote,) = _votes(arena, "curious")
    assert shown == {vote["left"]["backend"], vote["right"]["backend"]}


def test_on_a_phone_all_is_in_view_and_in_reach(arena: LiveServer, open_page: OpenPage) -> None:
    page = open_page(arena.url, "arena", size="phone", preferences={"voter": "phone"})
    _wait_for_vote(page, 1)
    boxes = [
        _box(page.get_by_role("button", name=name))
        for name in ("A is better", "Tie", "Both bad", "B is better")
    ]
    for box in boxes:
        assert box["height"] >= 68
        assert box["y"] > 844 * 2 / 3
    for name in ("Image A", "Image B"):
        expect(page.get_by_alt_text(name)).to_be_in_viewport(ratio=1)
    a, b = (_box(page.get_by_role("button", name=f"Enlarge image {one}")) for one in "AB")
    assert b["y"] >= a["y"] + a["height"]  # wide images are larger above each other
    assert a["width"] > 360
    for name in ("Undo", "Skip"):
        expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)


def test_a_second_voter_and_the_ranking(arena: LiveServer, open_page: OpenPage) -> None:
    page = open_page(arena.url, "arena", preferences={"voter": "ada"})
    _wait_for_vote(page, 1)
    page.keyboard.press("ArrowLeft")
    _wait_for_vote(page, 2)
    page.get_by_role("button", name="Options of the arena").click()
    page.get_by_role("menuitem", name="Name of the voter").click()
    page.get_by_role("textbox", name="Name").fill("bob")
    page.keyboard.press("s")  # a letter in a field does not vote
    page.get_by_role("textbox", name="Name").fill("bob")
    page.keyboard.press("Enter")
    _wait_for_vote(page, 1)
    page.keyboard.press("ArrowRight")
    _wait_for_vote(page, 2)
    assert (_choices(arena, "ada"), _choices(arena, "bob")) == (["left"], ["right"])
    page.get_by_role("button", name="Ranking").click()
    page.get_by_role("button", name="All voters").click()
    page.get_by_role("menuitemradio", name="bob").click()
    expect(page).to_have_url(f"{arena.url}/arena/ranking?voter=bob")
    expect(page.get_by_text("Bradley–Terry from 1 vote.")).to_be_visible()


def test_the_ranking_shows_what_was_computed(arena: LiveServer, open_page: OpenPage) -> None:
    for number in range(24):
        pair = arena.client.post("/api/v1/arena/pairs", json={"voter": "judge"}).json()
        choice = ("left", "left", "right", "both_bad")[number % 4]
        arena.client.post("/api/v1/arena/votes", json={"pair": pair["id"], "choice": choice})
    ranking = arena.client.get("/api/v1/arena/ranking?voter=judge").json()
    page = open_page(arena.url, "arena/ranking?voter=judge")
    rows = page.get_by_role("table", name="Ranking").get_by_role("row")
    expect(rows).to_have_count(1 + len(ranking["contenders"]))
    marks = []
    for row, one in zip(rows.all()[1:], ranking["contenders"], strict=True):
        expect(row).to_contain_text(one["backend"])
        expect(row).to_contain_text(f"{math.floor(one['rating'] + 0.5)}")
        expect(row).to_contain_text(f"±{math.floor(one['half_width'] + 0.5)}")
        expect(row).to_contain_text(f"{one['votes']} votes")
        expect(row).to_contain_text("needs more votes")
        bar, mark = _box(row.locator(".span")), _box(row.locator(".mark"))
        middle = mark["x"] + mark["width"] / 2
        assert middle == pytest.approx(bar["x"] + bar["width"] / 2, abs=1)
        marks.append(middle)
    assert marks == sorted(marks, reverse=True)
    share = round(ranking["left"]["share"] * 100)
    expect(page.get_by_text(f"The left image won {share}%")).to_be_visible()
    expect(page.get_by_text("In 6 votes both were bad")).to_be_visible()


def test_votes_are_downloaded(arena: LiveServer, open_page: OpenPage) -> None:
    pair = arena.client.post("/api/v1/arena/pairs", json={"voter": "=files"}).json()
    arena.client.post("/api/v1/arena/votes", json={"pair": pair["id"], "choice": "tie"})
    page = open_page(arena.url, "arena/ranking?voter=%3Dfiles")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Votes as CSV").click()
    assert download.value.suggested_filename == "arena-votes.csv"
    with download.value.path().open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["choice"], row["voter"], row["prompt"]) == ("tie", "'=files", "a hill in fog")


def test_images_of_the_gallery_are_ranked(arena: LiveServer, open_page: OpenPage) -> None:
    images = arena.client.get("/api/v1/images").json()["images"]
    uids = ",".join(image["uid"] for image in images)
    page = open_page(arena.url, f"arena?images={uids}", preferences={"voter": "culler"})
    expect(page).to_have_url(re.compile(r"/arena\?set=images-\w+$"))
    for number in range(1, 4):
        _wait_for_vote(page, number)
        page.keyboard.press("ArrowLeft")
    _wait_for_vote(page, 4)
    page.get_by_role("button", name="Ranking").click()
    expect(page.get_by_role("link", name=re.compile("Image ranked"))).to_have_count(3)
    page.get_by_role("button", name="Options of the arena").click()
    page.get_by_role("menuitem", name="Star the best").click()
    expect(page.get_by_text("1 image starred")).to_be_visible()
    after = arena.client.get("/api/v1/images?rating=5").json()["images"]
    assert len(after) == 1


def test_selected_images_of_the_gallery_are_opened_in_the_arena(
    arena: LiveServer, open_page: OpenPage
) -> None:
    page = open_page(arena.url, preferences={"voter": "gallery"})
    expect(page.get_by_role("option")).to_have_count(3)
    page.get_by_role("option").first.focus()
    page.keyboard.press("Control+a")
    page.get_by_role("toolbar").get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Vote in arena").click()
    expect(page).to_have_url(re.compile(r"/arena\?set=images-\w+$"))
    _wait_for_vote(page, 1)
    for letter in "AB":
        expect(page.get_by_alt_text(f"Image {letter}")).to_be_in_viewport(ratio=1)


def test_the_ranking_counts_the_votes_on_images_with_a_tag(
    arena: LiveServer, open_page: OpenPage
) -> None:
    images = arena.client.get("/api/v1/images").json()["images"]
    chosen = next(image for image in images if image["backend"] == "osprey")
    body = {"images": [chosen["uid"]], "add_tags": ["birds"]}
    arena.client.patch("/api/v1/images", json=body).raise_for_status()
    for _ in range(3):  # each of the three pairs once; the tag is of one image of two of them
        pair = arena.client.post("/api/v1/arena/pairs", json={"voter": "tags"}).json()
        vote = {"pair": pair["id"], "choice": "left"}
        arena.client.post("/api/v1/arena/votes", json=vote).raise_for_status()
    page = open_page(arena.url, "arena/ranking?voter=tags")
    expect(page.get_by_text("Bradley–Terry from 3 votes.")).to_be_visible()
    page.get_by_role("button", name="All tags").click()
    page.get_by_role("menuitemradio", name="birds").click()
    expect(page).to_have_url(re.compile("tag=birds"))
    expect(page.get_by_text("Bradley–Terry from 2 votes.")).to_be_visible()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Votes as JSON").click()
    votes = json.loads(download.value.path().read_text("utf-8"))["votes"]
    assert len(votes) == 2
    assert all("osprey" in (one["left"]["backend"], one["right"]["backend"]) for one in votes)


def test_without_a_comparison_the_page_leads_to_one(live: LiveServer, open_page: OpenPage) -> None:
    page = open_page(live.url, "arena", size="phone")
    expect(page.get_by_role("heading", name="Run a comparison first")).to_be_in_viewport()
    page.get_by_role("link", name="New comparison").tap()
    expect(page).to_have_url(re.compile("/compare"))
