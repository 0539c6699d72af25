"""The guide for curl is a session that works."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.pages import blocks

if TYPE_CHECKING:
    from support.live_server import LiveServer

_PROGRAMS = ("bash", "curl", "jq")


@pytest.mark.skipif(not all(map(shutil.which, _PROGRAMS)), reason="needs bash, curl and jq")
def test_a_day_with_curl_works_as_written(live: LiveServer) -> None:
    page = [block for block in blocks("sh") if block.page.endswith("drive-over-http.md")]
    text = "\n".join(block.text for block in page)
    lines = [line for line in text.splitlines() if not line.startswith("imagen ")]
    script = "\n".join(lines).replace("http://127.0.0.1:8080", live.url)
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
    assert "event: ready" in ran.stdout
    assert '"cancelled"' in ran.stdout
    assert '"done": 3' in ran.stdout
    assert "stepz: unknown key" in ran.stdout
    assert '"name": "mock, steps 8"' in ran.stdout
