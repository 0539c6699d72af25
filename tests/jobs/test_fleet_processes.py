"""Workers with separate homes and folders, which share a database and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from queue_contract import until

from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_JOBS = 10
_END_SECONDS = 120.0
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it kills with signals of POSIX")


@dataclass(frozen=True)
class _Machine:
    """A home, a configuration and folders of its own."""

    name: str
    home: Path

    @property
    def outputs(self) -> Path:
        return self.home / "images"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "imagen", *words]

    @property
    def environ(self) -> dict[str, str]:
        own = {"HOME": str(self.home), "IMAGEN_HOST": self.name}
        return {**os.environ, **own, "IMAGEN_CONFIG": str(self.home / "imagen.yaml")}

    def run(self, *words: str) -> str:
        """The output of a command on this machine."""
        ran = subprocess.run(
            self.command(*words),
            env=self.environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=_END_SECONDS,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def start_worker(self, backends: str) -> subprocess.Popen[bytes]:
        words = self.command("worker", "--log", "json", "--backends", backends)
        return subprocess.Popen(words, env=self.environ, cwd=self.home)


@pytest.fixture
def servers() -> Iterator[list[ComfyUI]]:
    with ExitStack() as stack:
        yield [stack.enter_context(ComfyUI(step_seconds=0.1)) for _ in range(2)]


@pytest.fixture
def machines(postgres_url: str, servers: list[ComfyUI], tmp_path: Path) -> list[_Machine]:
    made = []
    for number in range(4):
        home = tmp_path / f"machine-{number}"
        home.mkdir()
        configuration: dict[str, Any] = {
            "backends": {
                f"gpu{n}": {"type": "comfyui", "url": one.url, "workflow": "sd15"}
                for n, one in enumerate(servers)
            },
            "pools": {"sd15": ["gpu0", "gpu1"]},
            "library": {"url": postgres_url},
            "jobs": {"lease_seconds": 3},
            "state_dir": "state",
            "output": {"directory": str(home / "images")},
        }
        (home / "imagen.yaml").write_text(json.dumps(configuration))
        made.append(_Machine(f"machine-{number}", home))
    return made


def _history(machine: _Machine) -> list[dict[str, Any]]:
    found = json.loads(machine.run("history", "--limit", "50", "--json"))
    images: list[dict[str, Any]] = found["images"]
    return images


def test_images_of_killed_workers_are_read_on_the_third_machine(
    machines: list[_Machine], servers: list[ComfyUI]
) -> None:
    submitter, *three = machines
    Image.new("RGB", (64, 64), "red").save(submitter.home / "red.png")
    words = ("generate", "a red fox", "--image", "red.png", "--strength", "0.5", "--steps", "8")
    sized = (*words, "--backend", "sd15", "--count", str(_JOBS))
    job = submitter.run(*sized, "--detach").split()[-1]
    (submitter.home / "red.png").unlink()  # workers have the bytes from the database

    def posts() -> list[str]:
        requests = [one for server in servers for one in list(server.requests)]
        sent = [one for one in requests if (one.method, one.path) == ("POST", "/prompt")]
        return [one.json()["prompt_id"] for one in sent]

    workers = [machine.start_worker(f"gpu{n}") for n, machine in enumerate(three[:2])]
    try:
        both = {machine.name for machine in three[:2]}
        until(lambda: {one["host"] for one in _history(submitter)} == both, seconds=_END_SECONDS)
        for worker in workers:
            worker.kill()
        workers.append(three[2].start_worker("gpu0,gpu1"))
        shown = json.loads(submitter.run("jobs", "wait", job, "--timeout", "100", "--json"))
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)
    assert "failed" not in json.dumps(shown)
    assert len(posts()) == len(set(posts())) == _JOBS

    for machine in three[:2]:  # their disks are not the third one's
        machine.outputs.rename(machine.home / "elsewhere")
    third = three[2]
    fetched = json.loads(third.run("library", "fetch", "--all", "-o", "all", "--json"))
    history = _history(third)
    assert len(history) == _JOBS
    assert {one["host"] for one in history} == {machine.name for machine in three}
    own = [one for one in history if one["host"] == third.name]
    assert fetched["here"] == len(own)
    assert len(fetched["images"]) == _JOBS - len(own)
    paths = [Path(one["path"]) for one in (*own, *fetched["images"])]
    digests = {sha256(path.read_bytes()).hexdigest() for path in paths}
    assert digests == {one["sha256"] for one in history}
    assert all(path.is_relative_to(third.home) for path in paths)
    sidecars = [json.loads(Path(f"{path}.json").read_text()) for path in paths]
    assert {sidecar["request"]["prompt"] for sidecar in sidecars} == {"a red fox"}
    for machine in three:
        text = "".join(one.read_text() for one in machine.home.rglob("*.png.json"))
        assert str(submitter.home) not in text
