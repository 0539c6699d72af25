"""One running program: its output as it comes, and its end, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from threading import Thread
from typing import IO, TYPE_CHECKING, NamedTuple

from imagen.backends.sdcpp import cli_output, images
from imagen.backends.sdcpp.cli_args import build_command
from imagen.backends.sdcpp.cli_output import CliOutput, LineSplitter
from imagen.core.filesystem import read_at_most
from imagen.core.image_file import is_complete, media_type
from imagen.core.result import Facts, Output, Progress, Result
from imagen.core.text import one_line
from imagen.errors import BackendError, TimedOut, Unavailable
from imagen.net.threads import TICK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imagen.backends.sdcpp.binary import SdCli
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.core.result import OnProgress, Stage
    from imagen.core.ticket import Ticket


_PIECE = 1 << 16
_GRACE_SECONDS = 3.0
"""How long it may take to end when it is asked to."""
_LAST_WORDS_SECONDS = 2.0
_OUT, _ERR = "out", "err"


class SdCliProcess:
    """A program in a process group of its own, so that what it starts ends with it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it; raises Unavailable where that fails."""
        try:
            self._popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **_apart(),  # type: ignore[call-overload]  # by system
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Unavailable(f"{one_line(command[0])} can't be started: {reason}.") from error
        self._pieces: Queue[tuple[str, bytes]] = Queue()
        self._open = {_OUT, _ERR}
        streams = {_OUT: self._popen.stdout, _ERR: self._popen.stderr}
        self._threads = [
            Thread(target=self._pump, args=item, daemon=True) for item in streams.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return int(self._popen.pid)

    def read(self, seconds: float) -> tuple[str, bytes] | None:
        """The next piece of `out` or `err`; empty where that stream ended; None for silence."""
        if not self._open:  # all is said, and it has yet to end
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(seconds)
            return None
        try:
            name, piece = self._pieces.get(timeout=seconds)
        except Empty:
            return None
        if not piece:
            self._open.discard(name)
        return name, piece

    @property
    def has_ended(self) -> bool:
        """Whether it is gone and all that it said was read."""
        if self._popen.poll() is None:
            return False
        # Something that it left behind may hold its streams open.
        return not self._open or (self._pieces.empty() and self._is_quiet())

    def wait(self) -> int:
        """Its exit status, once it has ended; below 0, the signal that ended it."""
        return int(self._popen.wait())

    def stop(self) -> None:
        """End it and all that it started: asked first, then made to."""
        try:
            if self._popen.poll() is None:
                _ask_to_end(self._popen)
                with suppress(subprocess.TimeoutExpired):
                    self._popen.wait(_GRACE_SECONDS)
        finally:  # also where the user's patience ends first
            _make_end(self._popen)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(_GRACE_SECONDS)

    def close(self) -> None:
        """Let go of its streams; the program must have ended."""
        for thread in self._threads:
            thread.join(_LAST_WORDS_SECONDS)
        for stream, thread in zip(
            (self._popen.stdout, self._popen.stderr), self._threads, strict=True
        ):
            if stream is not None and not thread.is_alive():
                stream.close()

    def _is_quiet(self) -> bool:
        """Whether nothing more comes although it has ended."""
        until = time.monotonic() + _LAST_WORDS_SECONDS
        while time.monotonic() < until:
            if not self._pieces.empty() or not any(t.is_alive() for t in self._threads):
                return False
            time.sleep(0.05)
        return True

    def _pump(self, name: str, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while piece := stream.read1(_PIECE):  # type: ignore[attr-defined]  # a BufferedReader
                self._pieces.put((name, piece))
        self._pieces.put((name, b""))


def _apart(system: str = sys.platform) -> Mapping[str, int]:
    """Out of reach of the terminal's Ctrl-C, which is ours to act on."""
    if system == "win32":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"process_group": 0}


def _ask_to_end(popen: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        _end_tree(popen)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGTERM)


def _make_end(popen: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        popen.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGKILL)


def _end_tree(popen: subprocess.Popen[bytes]) -> None:
    """Windows knows no groups that can be ended; where its own tool is missing, only the head."""
    try:
        subprocess.run(
            ["taskkill", "/PID", str(popen.pid), "/T", "/F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_GRACE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        popen.kill()


_FOLDER = "imagen-sdcpp-"
_FORGOTTEN_SECONDS = 7 * 86400.0
"""Older than any run."""
_LARGEST_PREVIEW = 8 << 20


class CliJob(NamedTuple):
    """All that one run needs to know."""

    ticket: Ticket
    config: SdCppConfig
    program: SdCli
    model: str
    """The name of the model's file."""


class CliRun:
    """One ticket on this machine."""

    def __init__(
        self,
        job: CliJob,
        on_progress: OnProgress,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._on_progress = on_progress
        self._clock = clock
        self._enlarges = job.ticket.request.task == "upscale"
        self._record = CliOutput(counts_at_once=self._enlarges)
        self._told = clock()
        self._preview = PreviewFile()

    def result(self) -> Result:
        """Run the program to its end; whatever ends that sooner ends the program too."""
        began = self._clock()
        _sweep(Path(gettempdir()))
        with TemporaryDirectory(prefix=_FOLDER, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            arguments = build_command(self._job.ticket, self._job.config, self._job.program, folder)
            self._preview = PreviewFile(folder / "preview.png")
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
            warnings=tuple(cli_output.run_warnings(self._record)),
        )

    def _ran(self, arguments: list[str], began: float) -> int:
        """Its exit status."""
        process = SdCliProcess(arguments)
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
        return cli_output.exit_error(code, self._record, self._job.program.name, prompt)

    def _watch(self, process: SdCliProcess, began: float) -> None:
        """Listen until it ends; the caller hears of each step, and of silence too."""
        lines = {"out": LineSplitter(), "err": LineSplitter()}
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
        data = images.read_image(folder / Path(name).name)
        if size is not None:
            data = images.resize_image(data, size)
        data = images.restore_unmasked(data, self._job.ticket.request)
        return Output(data=data, media_type="image/png", seed=self._seed(index), index=index)

    def _seed(self, index: int) -> int | None:
        seeds = self._record.seeds
        if index < len(seeds):
            return seeds[index]
        first = self._job.ticket.request.seed
        return None if first is None else first + index

    def _facts(self, outputs: tuple[Output, ...], seconds: float) -> Facts:
        request, record = self._job.ticket.request, self._record
        width, height = images.check_image(outputs[0].data)
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


class PreviewFile:
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
        if media_type(data) is None or not is_complete(data):
            return None
        self._seen = stamp
        return data


def _enlarged_size(ticket: Ticket) -> tuple[int, int]:
    from imagen.core.image_file import read_image_file

    request = ticket.request
    picture = read_image_file(request.image or "")
    factor = request.upscale.factor if request.upscale else 1.0
    return round(picture.width * factor), round(picture.height * factor)
