"""One ticket through sd-cli: start the program, follow its output, read its images."""

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
from typing import IO, TYPE_CHECKING

from imagen.backends.images import check_image, read_image, resize_image, restore_unmasked
from imagen.backends.sdcpp.cli_args import build_command
from imagen.backends.sdcpp.cli_output import CliOutput, LineSplitter, exit_error, run_warnings
from imagen.core.filesystem import read_at_most
from imagen.core.image_file import is_complete, media_type, read_image_file
from imagen.core.result import Facts, Output, Progress, Result
from imagen.core.text import one_line
from imagen.errors import TimedOut, Unavailable
from imagen.net.threads import TICK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imagen.backends.sdcpp.binary import SdCli
    from imagen.backends.sdcpp.config import SdCppConfig
    from imagen.core.result import OnProgress, Stage
    from imagen.core.ticket import Ticket

_FOLDER_PREFIX = "imagen-sdcpp-"
_ABANDONED_SECONDS = 7 * 86400.0
"""Longer than any run."""
_LARGEST_PREVIEW = 8 << 20
_PIECE = 1 << 16
_STOP_SECONDS = 3.0
"""How long the program may take to end when it is asked to."""
_LAST_OUTPUT_SECONDS = 2.0
_OUT, _ERR = "out", "err"


class CliRun:
    """One ticket on this machine."""

    def __init__(
        self,
        ticket: Ticket,
        config: SdCppConfig,
        sd_cli: SdCli,
        model: str,
        on_progress: OnProgress,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`model` is the name of the model's file."""
        self._ticket = ticket
        self._config = config
        self._sd_cli = sd_cli
        self._model = model
        self._on_progress = on_progress
        self._clock = clock
        self._started = self._reported = clock()
        self._output = CliOutput(is_upscale=ticket.request.task == "upscale")
        self._preview = PreviewFile()

    def run(self) -> Result:
        """Run the program to its end; whatever ends the run sooner ends the program too."""
        for path in Path(gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    rmtree(path, ignore_errors=True)  # its process was killed days ago
        request = self._ticket.request
        with TemporaryDirectory(prefix=_FOLDER_PREFIX, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            command = build_command(self._ticket, self._config, self._sd_cli, folder)
            self._preview = PreviewFile(folder / "preview.png")
            code = self._run_process(command)
            if error := exit_error(code, self._output, self._sd_cli.name, request.prompt or ""):
                raise error
            self._report("fetching")
            outputs = self._read_outputs(folder)
        facts = self._build_facts(outputs)
        self._on_progress(Progress(stage="done", fraction=1.0))
        return Result(outputs=outputs, facts=facts, warnings=tuple(run_warnings(self._output)))

    def _run_process(self, command: list[str]) -> int:
        """The exit status."""
        process = SdCliProcess(command)
        try:
            self._on_progress(Progress(stage="submitted", ticket=self._ticket.sent()))
            self._follow(process)
            return process.wait()
        except BaseException:
            process.stop()
            raise
        finally:
            process.close()

    def _follow(self, process: SdCliProcess) -> None:
        """Read the output until the program ends; report each step, and silence too."""
        config, name = self._config, self._sd_cli.name
        splitters = {_OUT: LineSplitter(), _ERR: LineSplitter()}
        heard = self._clock()
        while not process.has_ended:
            piece = process.read(TICK_SECONDS)
            if piece is not None:
                heard = self._clock()
                stream, data = piece
                lines = splitters[stream].feed(data) if data else splitters[stream].end()
                for line in lines:
                    before = self._output.fraction, self._stage()
                    self._output.add_line(line)
                    if before != (self._output.fraction, self._stage()):
                        self._report(self._stage())
            now = self._clock()
            if now - self._reported >= TICK_SECONDS:
                self._report(self._stage())
            if now - self._started >= config.total_seconds:
                raise TimedOut(
                    f"{name} took more than {config.total_seconds:g} s and was stopped.",
                    remedy=f"Raise backends.{config.name}.total_seconds.",
                )
            if now - heard >= config.idle_seconds:
                raise TimedOut(
                    f"{name} printed nothing for {config.idle_seconds:g} s and was stopped.",
                    remedy=f"Raise backends.{config.name}.idle_seconds.",
                )

    def _stage(self) -> Stage:
        if self._output.is_sampled or self._output.written:
            return "fetching"
        return "running" if self._output.has_begun else "loading"

    def _report(self, stage: Stage) -> None:
        output = self._output
        self._reported = self._clock()
        fraction = min(output.fraction, 0.99)
        if stage != "running":
            self._on_progress(Progress(stage=stage, fraction=fraction))
            return
        self._on_progress(
            Progress(
                stage=stage,
                fraction=fraction,
                node=f"image {output.image} of {output.images}" if output.images > 1 else "",
                step=output.step,
                steps=output.steps,
                preview=self._preview.take(),
            )
        )

    def _read_outputs(self, folder: Path) -> tuple[Output, ...]:
        request, seeds = self._ticket.request, self._output.seeds
        size: tuple[int, int] | None = None
        if request.task == "upscale" and request.upscale:
            source = read_image_file(request.image or "")
            factor = request.upscale.factor
            size = round(source.width * factor), round(source.height * factor)
        outputs = []
        for image in self._output.written:
            if image.is_written:
                # Only files in our own folder are read, whatever name the program prints.
                data = read_image(folder / Path(image.name).name)
                data = data if size is None else resize_image(data, size)
                data = restore_unmasked(data, request)
                index = image.index
                seed = None if request.seed is None else request.seed + index
                seed = seeds[index] if index < len(seeds) else seed
                outputs.append(Output(data=data, media_type="image/png", seed=seed, index=index))
        return tuple(outputs)

    def _build_facts(self, outputs: tuple[Output, ...]) -> Facts:
        request, output = self._ticket.request, self._output
        width, height = check_image(outputs[0].data)
        engine = {
            "version": self._sd_cli.version,
            "model_version": output.version,
            "steps_taken": output.steps,
        }
        return Facts(
            model=self._model,
            models=(self._model,) if self._model else (),
            seed=request.seed,
            steps=request.steps,
            cfg=request.cfg,
            sampler=request.sampler,
            scheduler=request.scheduler,
            width=width,
            height=height,
            latency_seconds=self._clock() - self._started,
            executing_seconds=output.seconds,
            engine={name: value for name, value in engine.items() if value},
        )


class PreviewFile:
    """An image that the program overwrites at each step, and may be writing right now."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._taken_at = 0

    def take(self) -> bytes | None:
        """The newest preview, once, and only if it is complete."""
        try:
            if self._path is None or (changed := self._path.stat().st_mtime_ns) == self._taken_at:
                return None
            data = read_at_most(self._path, _LARGEST_PREVIEW)
        except OSError:
            return None
        if media_type(data) is None or not is_complete(data):
            return None
        self._taken_at = changed
        return data


class SdCliProcess:
    """A running program in a process group of its own, so that its children end with it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it; raises Unavailable where that fails."""
        # Keeps the terminal's Ctrl-C from the program: imagen handles it.
        group: dict[str, int] = {"process_group": 0}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            self._popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **group,  # type: ignore[call-overload]  # by system
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Unavailable(f"{one_line(command[0])} cannot be started: {reason}.") from error
        self._pieces: Queue[tuple[str, bytes]] = Queue()
        self._open = {_OUT, _ERR}
        streams = {_OUT: self._popen.stdout, _ERR: self._popen.stderr}
        self._threads = [
            Thread(target=self._read_stream, args=item, daemon=True) for item in streams.items()
        ]
        for thread in self._threads:
            thread.start()

    def _read_stream(self, name: str, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while piece := stream.read1(_PIECE):  # type: ignore[attr-defined]  # a BufferedReader
                self._pieces.put((name, piece))
        self._pieces.put((name, b""))

    @property
    def pid(self) -> int:
        return int(self._popen.pid)

    def read(self, seconds: float) -> tuple[str, bytes] | None:
        """The next piece of `out` or `err`; empty at the end of a stream; None for silence."""
        if not self._open:  # both streams have ended, but not yet the program
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
        """Whether the program has ended and its output was read."""
        if self._popen.poll() is None:
            return False
        if not self._open:
            return True
        # A child that outlives it may hold its streams open: then wait for silence.
        until = time.monotonic() + _LAST_OUTPUT_SECONDS
        while time.monotonic() < until:
            if not self._pieces.empty() or not any(t.is_alive() for t in self._threads):
                return False
            time.sleep(0.05)
        return True

    def wait(self) -> int:
        """The exit status, once it has ended; below 0, the signal that ended it."""
        return int(self._popen.wait())

    def stop(self) -> None:
        """End the program and its children: politely first, then by force."""
        try:
            if self._popen.poll() is None:
                _terminate(self._popen)
                with suppress(subprocess.TimeoutExpired):
                    self._popen.wait(_STOP_SECONDS)
        finally:  # also where the user presses Ctrl-C again
            if sys.platform == "win32":
                self._popen.kill()
            else:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._popen.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(_STOP_SECONDS)

    def close(self) -> None:
        """Close its streams; the program must have ended."""
        for thread in self._threads:
            thread.join(_LAST_OUTPUT_SECONDS)
        streams = (self._popen.stdout, self._popen.stderr)
        for stream, thread in zip(streams, self._threads, strict=True):
            if stream is not None and not thread.is_alive():
                stream.close()


def _terminate(popen: subprocess.Popen[bytes]) -> None:
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGTERM)
        return
    try:  # Windows has no process groups that can be ended
        subprocess.run(
            ["taskkill", "/PID", str(popen.pid), "/T", "/F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_STOP_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        popen.kill()
