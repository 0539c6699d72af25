"""Kill `imagen sync` before each of its steps in turn; the next sync finishes the work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simulators.supabase import SERVICE_KEY, Supabase

from imagen.cli import run
from support.sync_folder import configuration, count_unsent, let_time_pass
from support.thoroughness import sample
from support.webhook_receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

_SWITCH = Path(__file__).with_name("kill_switch.py")
_PROGRAM = f"""
import imagen.cli.commands.sync, imagen.cli.commands.sync, imagen.pipeline.record
import imagen.library.outbox, imagen.delivery.worker
import imagen.delivery.images, imagen.delivery.usage
import imagen.delivery.supabase, imagen.delivery.webhooks
import runpy
runpy.run_path({str(_SWITCH)!r}, run_name="__main__")
"""
_KILLED = -9
_LINE = ["sync", "--quiet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the targets have after a kill and the next sync."""

    objects: int
    """Objects in the bucket, each under its own path."""
    rows: int
    """Rows of images."""
    accounted: int
    """Rows of the ledger's copy."""
    messages: int
    """Webhook messages, each with its own id."""
    recorded: int
    """Images whose cloud path the library knows."""
    left: int
    """Deliveries in the outbox."""


class Kills:
    """Two images and their generation are delivered; each kill happens in its own folder."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._place = place
        self._patch = monkeypatch
        self._template = place / "template"
        self.steps: list[str] = []
        """The kinds of all steps, once `outcomes` has run."""

    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of the kill before each step, or a sample of them, by their descriptions."""
        with Supabase() as cloud, Receiver() as hook:
            self._patch.setenv("SUPABASE_URL", cloud.url)
            self._patch.setenv("SUPABASE_SERVICE_KEY", SERVICE_KEY)
            self._make(hook)
            with _Runner() as runner:
                return dict(self._killed(runner, cloud, hook))

    def _make(self, hook: Receiver) -> None:
        self._template.mkdir(parents=True)
        self._patch.chdir(self._template)
        settings = configuration(webhooks=[{"url": hook.url}])
        Path("imagen.yaml").write_text(json.dumps(settings))
        images = self._place / "images"
        line = f"generate fox --count 2 --latent-batch --size 32x32 --seed 1 -q -o {images}"
        assert run(line.split()) == 0

    def _killed(
        self, runner: _Runner, cloud: Supabase, hook: Receiver
    ) -> Iterator[tuple[str, Outcome]]:
        self.steps = self._steps(runner)
        first, every = sample(3)
        for number in range(first, len(self.steps), every):
            step = self.steps[number]
            _forget(cloud, hook)
            folder = self._folder(str(number))
            assert runner.run(folder, _LINE, number) == _KILLED
            let_time_pass(folder)
            assert runner.run(folder, _LINE) == 0, (folder / "said.txt").read_text()
            yield f"{number} {step}", _outcome(folder, cloud, hook)
            shutil.rmtree(folder)

    def _steps(self, runner: _Runner) -> list[str]:
        folder = self._folder("whole")
        assert runner.run(folder, _LINE) == 0, (folder / "said.txt").read_text()
        return (folder / "steps.txt").read_text().splitlines()

    def _folder(self, name: str) -> Path:
        return Path(shutil.copytree(self._template, self._place / name))


class _Runner:
    """The process that runs commands and kills them."""

    def __init__(self) -> None:
        words = [sys.executable, "-c", _PROGRAM]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, folder: Path, arguments: Sequence[str], at: int = -1) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), arguments, at]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _forget(cloud: Supabase, hook: Receiver) -> None:
    cloud.objects.clear()
    cloud.rows("imagen", "images").clear()
    cloud.rows("mai", "imagen_usage").clear()
    hook.requests.clear()


def _outcome(folder: Path, cloud: Supabase, hook: Receiver) -> Outcome:
    ids = Counter(one.headers["webhook-id"] for one in hook.requests)
    left, recorded = count_unsent(folder)
    return Outcome(
        objects=len(cloud.objects),
        rows=len(cloud.rows("imagen", "images")),
        accounted=len(cloud.rows("mai", "imagen_usage")),
        messages=len(ids),
        recorded=recorded,
        left=left,
    )
