"""A server for all tests of a module, with a quick and a slow mock."""

from __future__ import annotations

from contextlib import chdir
from typing import TYPE_CHECKING

import pytest
from support.live_server import live_server, server_settings

from imagen.config import Style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

STEP_SECONDS = 0.1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    slow = {"type": "mock", "step_seconds": STEP_SECONDS, "resource": "slow"}
    broken = {"type": "mock", "fail": "failed", "resource": "broken"}
    backends = {"quick": {"type": "mock"}, "slow": slow, "broken": broken}
    styles = {"ink": Style(prompt="ink drawing of {prompt}", negative="colour")}
    with chdir(tmp_path_factory.mktemp("a1111")):
        settings = server_settings(backends, styles=styles, default_backend="quick")
    with live_server(settings) as live:
        yield live
