"""Servers that are too old for a workflow."""

from __future__ import annotations

from contextlib import closing

import pytest
from support.comfyui_backends import REQUEST, SHORT_WAITS

from imagen.backends import open_backend
from imagen.core.result import Result, no_progress
from imagen.errors import Failed
from imagen.testing.comfyui import ComfyUI, NodeError

_WHY = "The server runs ComfyUI 0.3.64; this workflow needs 0.3.75 or later."


def _collected(server: ComfyUI) -> Result:
    block = {"type": "comfyui", "url": server.url, "workflow": "z-image-turbo", **SHORT_WAITS}
    with closing(open_backend("z", {"z": block})) as backend:
        return backend.collect(backend.prepare(REQUEST), no_progress)


def test_an_image_from_an_outdated_server_comes_with_a_warning() -> None:
    with ComfyUI(version="0.3.64") as server:
        assert _collected(server).warnings == (_WHY,)


def test_a_failure_on_an_outdated_server_names_a_possible_reason() -> None:
    with ComfyUI(version="0.3.64", error=NodeError()) as server, pytest.raises(Failed) as caught:
        _collected(server)
    assert _WHY in caught.value.remedy


def test_a_recent_server_gives_no_warning() -> None:
    with ComfyUI(version="0.3.75") as server:
        assert _collected(server).warnings == ()
