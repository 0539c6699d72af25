"""One ticket through sd-cli: from its arguments to the bytes it gives."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, NamedTuple

from imagen.backends.sdcpp import images, troubles
from imagen.backends.sdcpp.cli_output import Lines, Record
from imagen.backends.sdcpp.command import command
from imagen.backends.sdcpp.process import Process
from imagen.core.filesystem import read_at_most
from imagen.core.image_format import is_whole, media_type
from imagen.core.result import Facts, Output, Progress, Result
from imagen.errors import BackendError, TimedOut
from imagen.net.threads import TICK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagen.backends.sdcpp.binary import Program
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.core.result import OnProgress, Stage
    from imagen.core.ticket import Ticket

_FOLDER = "imagen-sdcpp-"
_FORGOTTEN_SECONDS = 7 * 86400.0
"""Older than any run."""
_LARGEST_PREVIEW = 8 << 20


class Job(NamedTuple):
    """All that one run needs to know."""

    ticket: Ticket
    config: SdCppConfig
    program: Program
    model: str
    """The name of the model's file."""


class Run:
    """One ticket on this machine."""

    def __init__(
        self,
        job: Job,
        on_progress: OnProgress,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._on_progress = on_progress
        self._clock = clock
        self._enlarges = job.ticket.request.task == "upscale"
        self._record = Record(counts_at_once=self._enlarges)
        self._told = clock()
        self._preview = Preview()

    def result(self) -> Result:
        """Run the program to its end; whatever ends that sooner ends the program too."""
        began = self._clock()
        _sweep(Path(gettempdir()))
        with TemporaryDirectory(prefix=_FOLDER, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            arguments = command(self._job.ticket, self._job.config, self._job.program, folder)
            self._preview = Preview(folder / "preview.png")
            code = self._ran(arguments, began)
            error = self._ended(code)
            if error is not None:
                raise error
            self._tell("fetching")
            outputs = self._fetched(folder)
        seconds = self._clock() - began
        self._on_progress(Progress(stage="done", fraction=1.0))
        return Result(
            outputs=outputs,
            facts=self._facts(outputs, seconds),
            warnings=tuple(troubles.warnings(self._record)),
        )

    def _ran(self, arguments: list[str], began: float) -> int:
        """Its exit status."""
        process = Process(arguments)
        try:
            self._on_progress(Progress(stage="submitted", ticket=self._job.ticket.sent()))
            self._watch(process, began)
            return process.wait()
        except BaseException:
            process.stop()
            raise
        finally:
            process.close()

    def _ended(self, code: int) -> BackendError | None:
        prompt = self._job.ticket.request.prompt or ""
        return troubles.ended(code, self._record, self._job.program.name, prompt)

    def _watch(self, process: Process, began: float) -> None:
        """Listen until it ends; the caller hears of each step, and of silence too."""
        lines = {"out": Lines(), "err": Lines()}
        heard = self._clock()
        while not process.has_ended:
            piece = process.read(TICK_SECONDS)
            if piece is not None:
                heard = self._clock()
                name, data = piece
                for line in lines[name].feed(data) if data else lines[name].end():
                    self._take(line)
            if self._clock() - self._told >= TICK_SECONDS:
                self._tell(self._stage())
            self._refuse_late(self._clock(), began, heard)

    def _take(self, line: str) -> None:
        """Note a line; where it says that the work went on, the caller hears of that."""
        before = self._record.fraction, self._stage()
        self._record.take(line)
        if before != (self._record.fraction, self._stage()):
            self._tell(self._stage())

    def _refuse_late(self, now: float, began: float, heard: float) -> None:
        config, name = self._job.config, self._job.program.name
        if now - began >= config.total_seconds:
            raise TimedOut(
                f"{name} did not end within {config.total_seconds:g} s, and was stopped.",
                remedy=f"Raise backends.{config.name}.total_seconds.",
            )
        if now - heard >= config.idle_seconds:
            raise TimedOut(
                f"{name} said nothing for {config.idle_seconds:g} s, and was stopped.",
                remedy=f"Raise backends.{config.name}.idle_seconds.",
            )

    def _stage(self) -> Stage:
        if self._record.is_sampled or self._record.kept:
            return "fetching"
        return "running" if self._record.has_begun else "loading"

    def _tell(self, stage: Stage) -> None:
        record = self._record
        self._told = self._clock()
        is_running = stage == "running"
        image = f"image {record.image} of {record.images}" if record.images > 1 else ""
        self._on_progress(
            Progress(
                stage=stage,
                fraction=min(record.fraction, 0.99),
                node=image if is_running else "",
                step=record.step if is_running else None,
                steps=record.steps if is_running else None,
                preview=self._preview.take() if is_running else None,
            )
        )

    def _fetched(self, folder: Path) -> tuple[Output, ...]:
        kept = [kept for kept in self._record.kept if kept.is_written]
        factor = self._job.ticket.request.upscale
        size = _enlarged_size(self._job.ticket) if factor and self._enlarges else None
        return tuple(self._output(folder, kept.index, kept.name, size) for kept in kept)

    def _output(self, folder: Path, index: int, name: str, size: tuple[int, int] | None) -> Output:
        """One picture; whatever name the program tells, only our own folder is looked into."""
        data = images.read(folder / Path(name).name)
        if size is not None:
            data = images.resized(data, size)
        data = images.finished(data, self._job.ticket.request)
        return Output(data=data, media_type="image/png", seed=self._seed(index), index=index)

    def _seed(self, index: int) -> int | None:
        seeds = self._record.seeds
        if index < len(seeds):
            return seeds[index]
        first = self._job.ticket.request.seed
        return None if first is None else first + index

    def _facts(self, outputs: tuple[Output, ...], seconds: float) -> Facts:
        request, record = self._job.ticket.request, self._record
        width, height = images.size(outputs[0].data)
        told = {
            "version": self._job.program.version,
            "model_version": record.version,
            "steps_taken": record.steps,
        }
        return Facts(
            model=self._job.model,
            models=(self._job.model,) if self._job.model else (),
            seed=request.seed,
            steps=request.steps,
            cfg=request.cfg,
            sampler=request.sampler,
            scheduler=request.scheduler,
            width=width,
            height=height,
            latency_seconds=seconds,
            executing_seconds=record.seconds,
            engine={name: value for name, value in told.items() if value},
        )


def _sweep(folder: Path) -> None:
    """Remove what runs left that were killed with us, days ago."""
    for path in folder.glob(f"{_FOLDER}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS:
                rmtree(path, ignore_errors=True)


class Preview:
    """A picture that the program writes anew in place at each step, and may be writing now."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen = 0

    def take(self) -> bytes | None:
        """The newest one, once, and only if it is whole."""
        try:
            if self._path is None or (stamp := self._path.stat().st_mtime_ns) == self._seen:
                return None
            data = read_at_most(self._path, _LARGEST_PREVIEW)
        except OSError:
            return None
        if media_type(data) is None or not is_whole(data):
            return None
        self._seen = stamp
        return data


def _enlarged_size(ticket: Ticket) -> tuple[int, int]:
    from imagen.core.image_file import read_image_file

    request = ticket.request
    picture = read_image_file(request.image or "")
    factor = request.upscale.factor if request.upscale else 1.0
    return round(picture.width * factor), round(picture.height * factor)
