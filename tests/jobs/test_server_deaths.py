"""A server that dies before any word of its own costs no image, and makes none twice unasked."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from contextlib import closing, suppress
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

import pytest
from support.kill_matrix import Outcome, Runner, outcome
from support.thoroughness import sample

from imagen.config import load_settings
from imagen.jobs import file_store
from imagen.testing.http_server import HeldPort

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
_LINE = "generate fox --size 64x64 --steps 1 --seed 7 --quiet"
_PATIENCE_SECONDS = 20.0


class _Death(NamedTuple):
    """What was the end of it, and what it took to get there."""

    outcome: Outcome
    was_forgotten: bool
    """Whether the user had to say that it is to be made all the same."""


class _Servers:
    """Simulated servers on one port, one after another."""

    def __init__(self) -> None:
        self._runner = Runner("servers")
        self._held = HeldPort()
        self.port = self._held.port
        self._pid = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, dies_at: int = -1) -> None:
        self.kill()
        self._held.release()
        self._pid = self._runner.ask(self.port, dies_at)
        end = time.monotonic() + _PATIENCE_SECONDS
        while self.is_alive() and not self._answers():
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.01)

    def is_alive(self) -> bool:
        with suppress(ProcessLookupError):
            os.kill(self._pid, 0)
            return self._pid > 0
        return False

    def kill(self) -> None:
        if self.is_alive():
            os.kill(self._pid, signal.SIGKILL)
        while self.is_alive():
            time.sleep(0.01)
        self._held.release()
        self._held = HeldPort(self.port)

    def made(self) -> int:
        with urlopen(f"{self.url}/history") as answer:
            return len(json.load(answer))

    def close(self) -> None:
        self.kill()
        self._runner.close()

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


def _deaths(place: Path) -> Iterator[_Death]:
    """Deaths at steps of the server in turn, until it has said all it has to say."""
    with closing(Runner()) as runner, closing(_Servers()) as servers:
        for step in count(*sample(4)):
            servers.start(dies_at=step)
            folder = _folder(place / str(step), servers.url)
            code = runner.run(folder, _LINE.split())
            if servers.is_alive():
                assert (code, step > 20) == (0, True)
                return
            yield _recovered(folder, runner, servers)


def _folder(folder: Path, url: str) -> Path:
    folder.mkdir()
    studio = {"type": "comfyui", "url": url, "workflow": "sd15", "lost_seconds": 0.2}
    settings = {"default_backend": "studio", "backends": {"studio": studio}, "state_dir": "./state"}
    whole = settings | {"library": {"url": "./library.db"}}
    (folder / "imagen.yaml").write_text(json.dumps(whole))
    return folder


def _recovered(folder: Path, runner: Runner, servers: _Servers) -> _Death:
    servers.start()
    runner.run(folder, ["resume", "--quiet"])
    forgotten = file_store.pending(load_settings(folder / "imagen.yaml").state_dir)
    for id in forgotten:
        assert servers.made() == 0
        assert runner.run(folder, ["resume", id, "--resubmit", "--quiet"]) == 0
    if outcome(folder, 0).in_library == 0:  # it ended with an error that left nothing behind
        assert servers.made() == 0
        assert runner.run(folder, _LINE.split()) == 0
    return _Death(outcome(folder, servers.made()), bool(forgotten))


def test_image_survives_the_death_of_its_server(tmp_path: Path) -> None:
    deaths = list(_deaths(tmp_path))
    once = Outcome(generations=1, in_library=1, on_disk=1, accounted=1, left=0)
    assert [death.outcome for death in deaths] == [once] * len(deaths)
    assert {death.was_forgotten for death in deaths} == {False, True}
