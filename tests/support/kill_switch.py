"""Runs imagen's command line again and again, and kills it, as a power cut would, at a given step.

Each line of standard input is JSON: a folder, the arguments, and the number of the step before
which the run is killed (-1 for none). The answer is a line with the exit status, -9 for killed.
Each run is a process of its own, forked from this one, so that imagen is imported only once.

With the argument `servers` it runs simulated ComfyUI servers instead, each until it is killed: a
line is then a port and the number of a step, and the answer the process id.

A step is whatever changes something outside the process: a file, a connection, the library; and
each word of progress. A run that comes to its end writes them into `steps.txt`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import FrameType

_EFFECTS = {
    "posix": {"link", "replace", "unlink", "mkdir", "fsync"},
    "fcntl": {"flock"},
    "socket": {"connect", "send", "sendall", "shutdown"},
    "sqlite3": {"execute", "commit"},
    "_io": {"write"},
}
"""Functions that change something outside the process, by module."""
_LOADED = (
    *(
        "imagen.cli.commands.generate",
        "imagen.cli.commands.resume",
        "imagen.cli.commands.compare",
        "imagen.cli.progress",
    ),
    *("imagen.backends.comfyui", "imagen.backends.replicate", "imagen.core.image_file"),
    *("imagen.comparison", "imagen.comparison.sheet", "imagen.jobs.recover", "imagen.graphs"),
    *("imagen.library.write", "imagen.library.database", "imagen.library.migrations"),
    *(
        "imagen.delivery.images",
        "imagen.delivery.usage",
        "imagen.delivery.webhooks",
        "imagen.outputs.metadata.png",
    ),
    *(
        "imagen.config.yaml_document",
        "httpx",
        "websockets.sync.client",
        "sqlalchemy.dialects.sqlite",
    ),
    *("PIL.PngImagePlugin", "PIL.WebPImagePlugin"),
)
"""Loaded once, before any run."""
_WORDS = {"socket": {"send", "sendall"}}
"""Functions that send something from a server."""
_PROGRESS = "run_job.<locals>."


class Switch:
    """Counts the steps of all threads, and ends the process before one of them."""

    def __init__(self, at: int, effects: Mapping[str, Collection[str]] = _EFFECTS) -> None:
        self._at = at
        self._effects = effects
        self._lock = threading.Lock()
        self.steps: list[str] = []

    def profile(self, frame: FrameType, event: str, what: Any) -> None:
        if event == "call" and frame.f_code.co_qualname.startswith(_PROGRESS):
            self._step("progress")
        if event == "c_call" and what.__name__ in self._effects.get(_module(what), ()):
            self._step(what.__name__)

    def _step(self, name: str) -> None:
        with self._lock:
            if len(self.steps) == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.steps.append(name)


def _module(what: Any) -> str:
    owner = getattr(what, "__self__", None)
    return owner.__name__ if isinstance(owner, ModuleType) else type(owner).__module__


def _run(folder: str, arguments: list[str], at: int) -> int:
    from imagen.cli import run

    os.chdir(folder)
    with Path("said.txt").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    switch = Switch(at)
    threading.setprofile(switch.profile)
    sys.setprofile(switch.profile)
    code = run(arguments)
    sys.setprofile(None)
    Path("steps.txt").write_text("\n".join(switch.steps))
    return code


def _forked(folder: str, arguments: list[str], at: int) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _run(folder, arguments, at)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _serve(port: int, at: int) -> None:
    from imagen.testing.comfyui.__main__ import main as serve

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    threading.setprofile(Switch(at, _WORDS).profile)
    serve(["--port", str(port)])


def _served(port: int, at: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            _serve(port, at)
        finally:
            os._exit(1)
    return child


def _serve_all() -> None:
    import imagen.testing.comfyui.__main__  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # killed processes are not waited for
    for line in sys.stdin:
        sys.stdout.write(f"{_served(*json.loads(line))}\n")
        sys.stdout.flush()


def main() -> None:
    for name in _LOADED:
        import_module(name)
    for line in sys.stdin:
        sys.stdout.write(f"{_forked(*json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve_all() if "servers" in sys.argv else main()
