"""Every view of the page, at each size and in both themes: what is true of all of them."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Page  # noqa: TC002 - the type of a field
from support.browser import Size, Theme, open_pages
from support.sample_site import NOW, run_comparison, sample_site, submit_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser
    from support.browser import OpenPage
    from support.live_server import LiveServer

_AXE = (Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js").read_text(
    encoding="utf-8"
)
_RUN_AXE = """
async () => {
  const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const found = await axe.run(document, { runOnly: { type: "tag", values: rules } });
  return found.violations.map(one => ({
    rule: one.id,
    help: one.help,
    where: one.nodes.map(node => node.target.join(" ") + "  " + (node.any[0]?.message ?? "")),
  }));
}
"""
_FIND_SMALL_TARGETS = """
() => {
  const small = [];
  const all = "a[href], button, input:not([type=hidden]), select, textarea, [role=button]";
  for (const element of document.querySelectorAll(all)) {
    if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    if (element.closest("[inert], .hidden") || element.type === "file") continue;
    const target = element.closest("label") ?? element;
    const box = (element.closest(".field") ?? target).getBoundingClientRect();
    const { width, height } = box;
    const [x, y] = [box.left + width / 2, box.top + height / 2];
    // What a finger hits may be larger than what it sees.
    const isHit = (dx, dy) => target.contains(document.elementFromPoint(x + dx, y + dy));
    const isWide = width >= 43.5 || (isHit(-21, 0) && isHit(21, 0));
    const isTall = height >= 43.5 || (isHit(0, -21) && isHit(0, 21));
    const isShown = y > 0 && y < innerHeight && x > 0 && x < innerWidth;
    if (width && isShown && !element.matches("p a, li a, td a") && !(isWide && isTall))
      small.push(`${element.outerHTML.slice(0, 120)}: ${width} x ${height}`);
  }
  return small;
}
"""
_FIND_OVERFLOW = """
() => {
  const wide = [];
  const limit = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > limit) wide.push("the page itself");
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.closest("[inert], .hidden, svg")) continue;
    const { left, right, width } = element.getBoundingClientRect();
    let above = element.parentElement, scrolls = false;
    for (; above; above = above.parentElement)
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(above).overflowX)) scrolls = true;
    if (width && !scrolls && (right > limit + 1 || left < -1))
      wide.push(`${element.outerHTML.slice(0, 120)}: ${left} to ${right}`);
  }
  return wide;
}
"""
_IMAGE = "00000003-0000-4000-8000-000000000000.1"
VIEWS = {
    "gallery": "",
    "queue": "?panel=queue",
    "generate": "?panel=generate",
    "models": "?panel=generate&pick=model",
    "viewer": f"image/{_IMAGE}",
    "details": f"image/{_IMAGE}?details=1",
    "use": f"image/{_IMAGE}?use=1",
    "trash": "trash",
    "settings": "settings",
    "engines": "settings/engines",
    "workflows": "workflows",
    "welcome": "welcome",
    "usage": "usage?since=2026-11",
    "compare": "compare",
    "comparison": "compare/{comparison}",
    "axes": "compare/{comparison}/edit",
    "arena": "arena",
    "ranking": "arena/ranking",
}
_SIZES: tuple[Size, ...] = ("phone", "tablet", "desktop")
_THEMES: tuple[Theme, ...] = ("dark", "light")
_SCREENS = Path(__file__).parent / "screens"
_REDUCED = 4
_MEASURE_FONTS = """
() => {
  const context = document.createElement("canvas").getContext("2d");
  const style = getComputedStyle(document.body);
  return [400, 650].map(weight => {
    context.font = `${weight} 100px ${style.fontFamily}`;
    return context.measureText("Generate 4 images: Größe, 山間, وادٍ").width;
  });
}
"""
_DIFFERENT = 24
"""From this difference of a channel on, of 255, a pixel is another one."""
_TOLERATED_SHARE = 0.02
_WAIT_UNTIL_NOTHING_CHANGES = """
() => new Promise(resolve => {
  let timer = setTimeout(resolve, 300);
  setTimeout(resolve, 5000);
  new MutationObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(resolve, 300);
  }).observe(document, { subtree: true, childList: true, attributes: true });
})
"""
_HIDE_WHAT_VARIES = """
() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("time, [data-varying] { visibility: hidden } * { caret-color: transparent }");
  document.adoptedStyleSheets.push(sheet);
}
"""


class ShownView(NamedTuple):
    """A view of the page, as a browser shows it."""

    page: Page
    name: str
    size: Size

    def use_theme(self, theme: Theme) -> None:
        self.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, str]]:
    """A server with something in every view, and the id of its comparison."""
    with sample_site(tmp_path_factory.mktemp("site")) as server:
        comparison = run_comparison(server)
        submit_jobs(server)
        yield server, comparison


@pytest.fixture(scope="module")
def pages(
    site: tuple[LiveServer, str], browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Size, Page]]:
    """A page of each size: the views are shown in them one after another."""
    server, _ = site
    with open_pages(browser, tmp_path_factory.mktemp("pages")) as open_page:
        yield {size: open_page(server.url, size=size, now=NOW) for size in _SIZES}


@pytest.fixture(
    scope="module",
    params=[(view, size) for view in VIEWS for size in _SIZES],
    ids=lambda param: "-".join(param),
)
def shown(
    request: pytest.FixtureRequest, site: tuple[LiveServer, str], pages: dict[Size, Page]
) -> ShownView:
    """Each view at each size."""
    view, size = request.param
    server, comparison = site
    page = pages[size]
    page.goto(f"{server.url}/{VIEWS[view].format(comparison=comparison)}")
    page.locator("h1, h2").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.evaluate(_WAIT_UNTIL_NOTHING_CHANGES)
    page.evaluate(_HIDE_WHAT_VARIES)
    return ShownView(page, view, size)


def test_axe_finds_nothing_and_every_control_is_within_reach(shown: ShownView) -> None:
    shown.page.evaluate(_AXE)
    found = {}
    for theme in _THEMES:
        shown.use_theme(theme)
        found[theme] = shown.page.evaluate(_RUN_AXE)
    small = shown.page.evaluate(_FIND_SMALL_TARGETS) if shown.size != "desktop" else []
    assert (found, small) == ({theme: [] for theme in _THEMES}, [])
    assert shown.page.evaluate(_FIND_OVERFLOW) == []


@pytest.fixture(scope="module")
def is_updated(pages: dict[Size, Page], request: pytest.FixtureRequest) -> bool:
    """Whether to write the references anew. Skips where text looks other than in the references."""
    fonts = pages["desktop"].evaluate(_MEASURE_FONTS)
    known = _SCREENS / "fonts.json"
    if request.config.getoption("--update-screens"):
        _SCREENS.mkdir(exist_ok=True)
        known.write_text(json.dumps(fonts) + "\n", encoding="utf-8")
        return True
    if json.loads(known.read_text(encoding="utf-8")) != fonts:
        pytest.skip("this machine has other fonts than the one that made the references")
    return False


@pytest.mark.parametrize("theme", _THEMES)
def test_it_looks_as_its_reference(
    is_updated: bool, shown: ShownView, theme: Theme, tmp_path: Path
) -> None:
    """Compared at a quarter of the size, where the edges of letters do not count."""
    shown.use_theme(theme)
    shot = tmp_path / f"{shown.name}.png"
    shown.page.screenshot(path=shot, animations="disabled")
    with Image.open(shot) as image:
        now = image.convert("RGB").reduce(_REDUCED)
    reference = _SCREENS / f"{shown.name}-{shown.size}-{theme}.webp"
    if is_updated:
        now.save(reference, quality=92, method=6)
    with Image.open(reference) as image:
        before = image.convert("RGB")
    assert now.size == before.size
    share = _share_of_different_pixels(before, now)
    assert share <= _TOLERATED_SHARE, f"{share:.1%} of {reference.name} is different: {shot}"


def test_no_view_is_wider_than_a_small_phone(
    site: tuple[LiveServer, str], open_page: OpenPage
) -> None:
    server, comparison = site
    page = open_page(server.url, size="phone", locale="pseudo")
    page.set_viewport_size({"width": 320, "height": 640})
    wide = {}
    for view, path in VIEWS.items():
        page.goto(f"{server.url}/{path.format(comparison=comparison)}")
        page.locator("h1, h2").first.wait_for()
        wide[view] = page.evaluate(_FIND_OVERFLOW)
    assert {view: found for view, found in wide.items() if found} == {}


def _share_of_different_pixels(before: Image.Image, now: Image.Image) -> float:
    bands = ImageChops.difference(before, now).split()
    most = reduce(ImageChops.lighter, bands)
    return sum(most.histogram()[_DIFFERENT:]) / (most.width * most.height)
