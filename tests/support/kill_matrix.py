"""Kill a command before each of its steps in turn, and recover after each kill."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

from imagen.config import load_settings
from imagen.jobs import file_store
from imagen.library import Query, search_images, sum_usage
from imagen.pipeline.record import open_library_synced
from support.thoroughness import sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SWITCH = Path(__file__).with_name("kill_switch.py")
_AT_ONCE = 2
_KILLED = -9


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What exists after a kill and the recovery."""

    generations: int
    """Jobs at the engine."""
    in_library: int
    """Images."""
    on_disk: int
    """Images with a sidecar."""
    accounted: int
    """Rows of the ledger."""
    left: int
    """Job files."""


class Runner:
    """The process that runs commands and kills them; used by one thread at a time."""

    def __init__(self, *arguments: str) -> None:
        words = [sys.executable, str(_SWITCH), *arguments]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder: Path, arguments: Sequence[str], at: int = -1) -> int:
        return self.ask(str(folder), list(arguments), at)

    def ask(self, *question: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


class Matrix:
    """One command, killed again and again, each time in a folder of its own.

    In its arguments RUN stands for words that tell the engine which of the runs it is;
    `made_at_engine` says how many generations of these words it has made. `recover` is the command
    that brings to an end what was left; where nothing was, the command itself is run again. By
    default it is killed before one of `every` so many steps.
    """

    def __init__(
        self,
        place: Path,
        settings: Mapping[str, Any],
        line: str,
        made_at_engine: Callable[[str], int],
        *,
        recover: str = "resume --quiet",
        since: str = "",
        every: int = 4,
    ) -> None:
        self._place = place
        own = {"state_dir": "./state", "library": {"url": "./library.db"}}
        self._settings = {**own, **settings}
        self._line = line
        self._made = made_at_engine
        self._recover = recover
        self._since = since
        """The kind of step before the first kill; "" for any."""
        self._first, self._every = sample(every)
        self.steps: list[str] = []
        """The kinds of all steps, once `outcomes` has run."""
        self._idle: Queue[Runner] = Queue()

    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of the kill before each step, or a sample of them, by their descriptions."""
        runners = [Runner() for _ in range(_AT_ONCE)]
        for runner in runners:
            self._idle.put(runner)
        try:
            return self._all()
        finally:
            for runner in runners:
                runner.close()

    def _all(self) -> dict[str, Outcome]:
        self.steps = steps = self._steps()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            since = steps.index(self._since) if self._since else 0
            numbers = range(since + self._first, len(steps), self._every)
            found = pool.map(self._killed_at, numbers)
            return {f"{n} {steps[n]}": one for n, one in zip(numbers, found, strict=True)}

    def _steps(self) -> list[str]:
        folder = self._folder("whole")
        assert self._run(folder, self._line) == 0, (folder / "said.txt").read_text()
        return (folder / "steps.txt").read_text().splitlines()

    def _killed_at(self, step: int) -> Outcome:
        """A run may end before that step, since threads interleave differently."""
        folder = self._folder(str(step))
        assert self._run(folder, self._line, step) in (0, _KILLED)
        assert self._run(folder, self._recover) == 0, (folder / "said.txt").read_text()
        if self._outcome(folder).in_library == 0:  # it had not even been written down
            assert self._made(_words(folder)) == 0
            assert self._run(folder, self._line) == 0
        return self._outcome(folder)

    def _folder(self, name: str) -> Path:
        folder = self._place / name
        folder.mkdir()
        (folder / "imagen.yaml").write_text(json.dumps(self._settings))
        with open_library_synced(
            load_settings(folder / "imagen.yaml")
        ):  # its tables are made before
            return folder

    def _run(self, folder: Path, line: str, at: int = -1) -> int:
        arguments = [word.replace("RUN", _words(folder)) for word in line.split()]
        runner = self._idle.get()
        try:
            return runner.run(folder, arguments, at)
        finally:
            self._idle.put(runner)

    def _outcome(self, folder: Path) -> Outcome:
        return outcome(folder, self._made(_words(folder)))


def outcome(folder: Path, generations: int) -> Outcome:
    """What exists in a folder with a configuration."""
    settings = load_settings(folder / "imagen.yaml")
    images = [*folder.glob("**/*.png"), *folder.glob("**/*.webp")]
    saved = [path for path in images if path.name != "contact-sheet.png"]
    whole = [path for path in saved if path.with_name(f"{path.name}.json").is_file()]
    with open_library_synced(settings) as library:
        known = search_images(library, Query()).images
        ledger = sum(total.generations for total in sum_usage(library))
    assert all(image.path in whole for image in known)
    return Outcome(
        generations=generations,
        in_library=len(known),
        on_disk=len(saved),
        accounted=ledger,
        left=len(file_store.pending(settings.state_dir)),
    )


def _words(folder: Path) -> str:
    return f"run {folder.name}."
