"""A server that drips its answers delays nothing beyond `total_seconds`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.comfyui_backends import REQUEST, open_comfyui
from support.raw_server import RawServer, answer_or_drip

from imagen.core.result import no_progress
from imagen.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Mapping[str, object] = {"queue_running": [], "queue_pending": []}
_TAKEN: dict[str, object] = {
    "POST /prompt": {"prompt_id": "abc", "number": 1, "node_errors": {}},
    "GET /ws": {},
    "GET /object_info": {},
    "GET /system_stats": {"system": {"comfyui_version": "0.3.64"}, "devices": []},
    "GET /queue": _NOTHING,
    "POST /queue": {},
    "POST /interrupt": {},
}
_FILE = {"filename": "a.png", "subfolder": "", "type": "output"}
_MADE: dict[str, object] = {
    "GET /history": {
        "abc": {
            "prompt": [1, "abc", {}, {}, []],
            "outputs": {"99": {"images": [_FILE]}},
            "status": {"status_str": "success", "completed": True, "messages": []},
            "meta": {},
        }
    }
}


def _ended(answers: Mapping[str, object]) -> TimedOut:
    """The error of a run that may take a second."""
    with (
        RawServer(answer_or_drip(answers)) as server,
        closing(open_comfyui(server.url, total_seconds=1)) as backend,
        pytest.raises(TimedOut, match=r"took more than 1 (s|seconds) in all") as caught,
    ):
        backend.collect(backend.prepare(REQUEST), no_progress)
    return caught.value


def test_a_dripping_server_does_not_delay_the_end_of_a_followed_job() -> None:
    assert not _ended(_TAKEN).is_stopped


def test_a_dripping_server_does_not_delay_the_end_of_a_fetch() -> None:
    error = _ended(_TAKEN | _MADE)
    assert not error.is_stopped
    assert "The images are finished, and the engine still has them." in error.remedy
