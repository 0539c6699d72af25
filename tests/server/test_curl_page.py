"""The guide for curl is a session that works."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.pages import blocks

if TYPE_CHECKING:
    from support.live_server import LiveServer

_PROGRAMS = ("bash", "curl", "jq")


_NEEDS = pytest.mark.skipif(not all(map(shutil.which, _PROGRAMS)), reason="needs bash, curl and jq")


def _run_page(name: str, server: LiveServer) -> str:
    """What the commands of a guide print, one after the other."""
    page = [block for block in blocks("sh") if block.page.endswith(name)]
    text = "\n".join(block.text for block in page)
    lines = [line for line in text.splitlines() if not line.startswith("imagen ")]
    script = "\n".join(lines).replace("http://127.0.0.1:8080", server.url)
    # The stream of events has no end.
    script = script.replace('--no-buffer "$IMAGEN/events"', '--max-time 1 "$IMAGEN/events" || true')
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"no_proxy": "*"},
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@_NEEDS
def test_a_day_with_curl_works_as_written(live: LiveServer) -> None:
    printed = _run_page("drive-over-http.md", live)
    assert "event: ready" in printed
    assert '"cancelled"' in printed
    assert '"done": 3' in printed
    assert "stepz: unknown key" in printed
    assert '"name": "mock, steps 8"' in printed


@_NEEDS
def test_engines_are_asked_with_curl_as_written(live: LiveServer) -> None:
    printed = _run_page("ask-engines-over-http.md", live)
    assert '"Steps"' in printed
    assert '["imagen.inpaint",["image","mask","prompt"]]' in printed
    assert '"token": "image"' in printed
    assert '"status": "ok"' in printed
    for name in ("fox.png", "hare.png"):
        with Image.open(name) as image:
            assert image.size == (256, 256)
