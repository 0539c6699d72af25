"""The gallery of 100,000 images in a real Chromium, beside a page with as many lazy images.

    python benchmarks/gallery.py [--rows N] [--seconds N] [--without-naive]

A library of generated records, `imagen serve` as a process of its own, and a window of 1440 × 900.
Frames are measured while the page scrolls by itself, 60 pixels a frame; memory while it scrolls and
a mock backend paints, by default for two minutes. Needs the built page (scripts/build_web.py) and
Chromium. Frames depend on what else the machine does: the load is printed. Exits with 1 for a limit
missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
from measure import Limit, report
from million import fill, settings_at
from sqlalchemy import text

from imagen.backends.mock.painting import paint
from imagen.config.paths import host_name
from imagen.core.filesystem import file_sha256
from imagen.library import open_library

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.browser import start_browser
from support.serve_process import serve_process, write_settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

_POOL = 48
"""So many files are behind all rows."""
_SIZES = ((512, 512), (768, 448), (448, 640), (640, 448), (448, 768))
_PHONE_NETWORK = {
    "offline": False,
    "latency": 40,
    "downloadThroughput": 10_000_000 / 8,
    "uploadThroughput": 5_000_000 / 8,
}
"""A radio in the same house: milliseconds, and bytes a second."""
_PHONE_SLOWNESS = 4
"""So many times slower than this machine is a phone of the middle class."""
_ROUNDS = 10
_FRAMES = 240
_WATCH = """
  window.firstTile = null;
  const look = () => {
    if (document.querySelector("nav a")) window.firstControl ??= performance.now();
    if (document.querySelector(".tile.shown")) window.firstTile = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
"""
_SCROLL = """
async ([selector, frames, by]) => {
  const scroller = document.querySelector(selector) ?? document.scrollingElement;
  const deltas = [];
  let nodes = 0;
  let last = await new Promise(requestAnimationFrame);
  for (let i = 0; i < frames; i += 1) {
    scroller.scrollTop += by;
    const now = await new Promise(requestAnimationFrame);
    deltas.push(now - last);
    last = now;
    if (i % 10 === 0) nodes = Math.max(nodes, document.querySelectorAll(".images *").length);
  }
  return { deltas, nodes };
}
"""
_JUMP = """
async (share) => {
  const scroller = document.querySelector(".scroller");
  const start = performance.now();
  scroller.scrollTop = scroller.scrollHeight * share;
  for (;;) {
    await new Promise(requestAnimationFrame);
    const box = scroller.getBoundingClientRect();
    const tile = document.elementFromPoint(box.left + 100, box.top + box.height / 2);
    if (tile?.closest(".tile.shown")) return performance.now() - start;
    if (performance.now() - start > 10000) return 10000;
  }
}
"""
_ARRIVAL = """
() => {
  window.arrivals = {};
  new MutationObserver(() => {
    for (const tile of document.querySelectorAll(".tile.shown[data-uid]"))
      window.arrivals[tile.dataset.uid] ??= Date.now();
    for (const tile of document.querySelectorAll("[data-job]"))
      window.arrivals[tile.dataset.job] ??= Date.now();
  }).observe(document.querySelector(".images"), {
    subtree: true, childList: true, attributes: true, attributeFilter: ["class", "data-job"],
  });
}
"""


class _Frames(NamedTuple):
    """Times between frames in milliseconds, and the most elements of the grid."""

    deltas: list[float]
    nodes: int

    def percentile(self, share: float) -> float:
        return sorted(self.deltas)[round(share * (len(self.deltas) - 1))]


def _fill(folder: Path, rows: int) -> None:
    """A library of so many images, whose files are a few painted ones."""
    pool = folder / "pool"
    pool.mkdir()
    files = []
    for number in range(_POOL):
        width, height = _SIZES[number % len(_SIZES)]
        path = pool / f"{number}.png"
        paint(prompt=f"a fox {number}", seed=number, width=width, height=height).save(path)
        files.append({"n": number, "path": str(path), "sha": file_sha256(path), "w": width})
        files[-1] |= {"h": height, "host": host_name(), "all": _POOL, "size": path.stat().st_size}
    with open_library(settings_at(str(folder / "library.db"))) as library:
        fill(library, rows, folder)
        with library.writing() as connection:
            change = text(
                "UPDATE images SET path = :path, host = :host, sha256 = :sha, width = :w, "
                "height = :h, size_bytes = :size WHERE rowid % :all = :n"
            )
            for one in files:
                connection.execute(change, one)


def _measure_phone(browser: Browser, url: str) -> tuple[float, float]:
    """Milliseconds until controls and images, with a slower processor and radio, and no cache."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.add_init_script(_WATCH)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", _PHONE_NETWORK)
    session.send("Emulation.setCPUThrottlingRate", {"rate": _PHONE_SLOWNESS})
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    controls: list[float] = []
    images: list[float] = []
    for _ in range(3):
        page.goto(url)
        page.locator(".tile.shown").first.wait_for()
        controls.append(page.evaluate("window.firstControl"))
        images.append(page.evaluate("window.firstTile"))
    context.close()
    return median(controls), median(images)


def _scroll(page: Page, selector: str, frames: int = _FRAMES, by: int = 60) -> _Frames:
    measured = page.evaluate(_SCROLL, [selector, frames, by])
    return _Frames(measured["deltas"], measured["nodes"])


def _measure_arrivals(page: Page, url: str) -> tuple[list[float], list[float]]:
    """Milliseconds from the request to its tile, and from the saved file to its image."""
    page.evaluate("document.querySelector('.scroller').scrollTop = 0")
    page.evaluate(_ARRIVAL)
    tiles, images = [], []
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in range(_ROUNDS):
            request = {"prompt": f"a fox {number}", "width": 512, "height": 512, "steps": 8}
            sent = time.time() * 1000
            body = {"backend": "mock", "request": request}
            job = client.post("/api/v1/generations", json=body).raise_for_status().json()["job"]
            uid = ""
            while not (shown := page.evaluate("uid => window.arrivals[uid]", uid) if uid else None):
                page.wait_for_timeout(50)
                known = client.get(f"/api/v1/jobs/{job}").json()
                uid = (known["image_ids"] or [""])[0]
                saved = Path(known["images"][0]).stat().st_mtime_ns / 1e6 if uid else 0.0
            images.append(shown - saved)
            if (tile := page.evaluate("id => window.arrivals[id]", job)) is not None:
                tiles.append(tile - sent)
    return tiles, images


def _measure_memory(page: Page, session: CDPSession, url: str, seconds: float) -> float:
    """By how many percent the heap grows from a quarter of the time to the end of it."""
    start = time.monotonic()
    sizes: list[tuple[float, float]] = []
    with httpx.Client(base_url=url, timeout=30) as client:
        while (elapsed := time.monotonic() - start) < seconds:
            body = {"backend": "mock", "request": {"prompt": "a fox", "width": 256, "steps": 2}}
            client.post("/api/v1/generations", json=body).raise_for_status()
            _scroll(page, ".scroller", 120, 400)
            if len(sizes) % 5 == 4:
                page.evaluate("document.querySelector('.scroller').scrollTop = 0")
            session.send("HeapProfiler.collectGarbage")
            heap = session.send("Runtime.getHeapUsage")["usedSize"]
            sizes.append((elapsed, heap))
    early = [size for at, size in sizes if at >= seconds / 4][:5]
    late = [size for _, size in sizes][-5:]
    return 100 * (median(late) / median(early) - 1)


def _naive(page: Page, url: str, rows: int) -> tuple[float, _Frames]:
    """Seconds until the first paint of a page with all images, and its frames."""
    uids = []
    with httpx.Client(base_url=url, timeout=60) as client:
        uids = [one["uid"] for one in client.get("/api/v1/images?limit=64").json()["images"]]
    images = "".join(
        f'<img loading="lazy" width="210" height="{150 + n % 7 * 30}" '
        f'src="/api/v1/images/{uids[n % 64]}/thumbnail?n={n}">'
        for n in range(rows)
    )
    html = f"<!doctype html><body style='columns:5;margin:0'>{images}"
    page.route("**/naive", lambda it: it.fulfill(body=html, content_type="text/html"))
    start = time.perf_counter()
    page.goto(f"{url}/naive", wait_until="commit")
    page.evaluate("new Promise(requestAnimationFrame)")
    seconds = time.perf_counter() - start
    return seconds, _scroll(page, "none", 40, 60)


def _measure(url: str, rows: int, seconds: float, *, has_naive: bool) -> list[Limit]:
    claims: list[Limit] = []
    with start_browser() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.add_init_script(_WATCH)
        paints = []
        for _ in range(3):
            page.goto(url)
            page.locator(".tile.shown").first.wait_for()
            paints.append(page.evaluate("window.firstTile"))
        claims.append(Limit("first images, from the start of the page", median(paints), 1000, "ms"))
        controls, images = _measure_phone(browser, url)
        claims.append(Limit("controls on a phone of the middle class", controls, 1000, "ms"))
        sys.stdout.write(f"first images there, after the whole index: {images:.0f} ms\n")
        session = context.new_cdp_session(page)
        page.wait_for_timeout(1000)
        _scroll(page, ".scroller", 60)
        frames = _scroll(page, ".scroller")
        claims += [
            Limit("median frame while scrolling", median(frames.deltas), 17, "ms"),
            Limit("95 of 100 frames", frames.percentile(0.95), 35, "ms"),
            Limit("elements of the grid", float(frames.nodes), 200, ""),
        ]
        jumps = [page.evaluate(_JUMP, share) for share in (0.5, 0.2, 0.8, 0.4, 0.6)]
        claims.append(
            Limit("jump into the middle, until an image is there", median(jumps), 500, "ms")
        )
        tiles, arrivals = _measure_arrivals(page, url)
        if tiles:
            claims.append(Limit("from the request to its tile", median(tiles), 150, "ms"))
        claims.append(Limit("from the saved file to the image", median(arrivals), 300, "ms"))
        if seconds:
            grown = _measure_memory(page, session, url, seconds)
            claims.append(Limit(f"memory grows in {seconds:.0f} s by", grown, 15, "%"))
        if has_naive:
            other = context.new_page()
            painted, lazy = _naive(other, url, rows)
            sys.stdout.write(
                f"lazy images instead: first paint {painted:.1f} s, median frame "
                f"{median(lazy.deltas):.0f} ms, 95 of 100 {lazy.percentile(0.95):.0f} ms\n"
            )
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the gallery.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--without-naive", action="store_true")
    given: Any = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_settings(folder, {"mock": {"type": "mock"}})
        start = time.perf_counter()
        _fill(folder, given.rows)
        took = time.perf_counter() - start
        sys.stdout.write(f"{given.rows} images in {took:.0f} s; load {os.getloadavg()[0]:.1f}\n")
        with serve_process(folder) as server:
            claims = _measure(
                server.url, given.rows, given.seconds, has_naive=not given.without_naive
            )
        sys.stdout.write(f"load {os.getloadavg()[0]:.1f}\n")
    report(claims)


if __name__ == "__main__":
    main()
