"""Count the files and functions of imagen that a command enters, and hold the limits.

    python benchmarks/path.py [generate|compare|workflows-add ...] [--functions]

Each command runs in a process of its own with a profile hook, against the ComfyUI simulator in
another process, with a configuration and state of its own. A function counts if it is called while
the command runs; what runs only because a module is imported does not count. Lambdas and
comprehensions belong to the function around them. `--functions` lists the functions too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = _ROOT / "imagen"
_OPTIMIZED = 0x1
"""Set in the code of functions, not of modules and class bodies."""


class Limit(NamedTuple):
    """How many files and functions a command may enter; None means unlimited."""

    files: int | None
    functions: int | None


LIMITS = {
    "generate": Limit(45, 350),
    "compare": Limit(55, None),
    "workflows-add": Limit(20, None),
}


class CommandPath(NamedTuple):
    """What one command entered: functions as `module.py:name`, in order of the first call."""

    command: str
    functions: list[str]

    @property
    def files(self) -> Counter[str]:
        return Counter(function.partition(":")[0] for function in self.functions)


def measure(command: str, url: str, place: Path) -> CommandPath:
    """Run one command in `place` against the simulator at `url`, and count what it enters."""
    place.mkdir()
    block = {"type": "comfyui", "url": url, "workflow": "sd15"}
    config = {"backends": {"comfy": block, "other": block}, "state_dir": str(place / "state")}
    config |= {"workflow_dirs": [str(place / "workflows")]}
    (place / "imagen.yaml").write_text(json.dumps(config))
    (place / "graph.json").write_text((_ROOT / "workflows" / "sd15.json").read_text())
    words = {
        "generate": ["generate", "a fox", "-b", "comfy", "--steps", "2", "--quiet"],
        "compare": ["compare", "a fox", "-m", "comfy,other", "--steps", "2", "-q"],
        "workflows-add": ["workflows", "add", str(place / "graph.json"), "--name", "mine"],
    }[command]
    record = place / "entered.json"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("IMAGEN_", "TMUX"))}
    environment |= {"XDG_CONFIG_HOME": str(place), "XDG_CACHE_HOME": str(place / "cache")}
    environment |= {"IMAGEN_LIBRARY": str(place / "library.db"), "PYTHONPATH": str(_ROOT)}
    hook = [sys.executable, __file__, "--record", str(record)]
    ran = subprocess.run(
        [*hook, *words], cwd=place, env=environment, capture_output=True, text=True, timeout=120
    )
    if ran.returncode:
        raise SystemExit(f"imagen {' '.join(words)} failed:\n{ran.stdout}{ran.stderr}")
    return CommandPath(command, json.loads(record.read_text()))


@contextmanager
def simulator() -> Iterator[str]:
    """The URL of a ComfyUI simulator that runs in its own process."""
    words = [sys.executable, "-m", "imagen.testing.comfyui", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _record(target: str, words: list[str]) -> None:
    """Run `imagen WORDS` in this process and write the functions that it entered to `target`."""
    entered: dict[str, None] = {}
    root = str(_PACKAGE) + os.sep

    def hook(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(root):
            return
        if not code.co_flags & _OPTIMIZED or code.co_name.startswith("<"):
            return
        name = f"{code.co_filename.removeprefix(root)}:{code.co_qualname}"
        if name not in entered and not _is_import(frame):
            entered[name] = None

    def _is_import(frame: FrameType) -> bool:
        """Whether a module's body is among the callers."""
        caller = frame.f_back
        while caller is not None:
            is_module = caller.f_code.co_name == "<module>"
            if is_module and caller.f_code.co_filename.startswith(root):
                return True
            caller = caller.f_back
        return False

    from imagen.cli import main

    threading.setprofile(hook)
    sys.setprofile(hook)
    try:
        main(words)
    finally:
        sys.setprofile(None)
        Path(target).write_text(json.dumps(list(entered)))


def measure_all(commands: Sequence[str] = tuple(LIMITS)) -> list[CommandPath]:
    """Measure these commands, each in a fresh folder."""
    with simulator() as url, tempfile.TemporaryDirectory() as folder:
        return [measure(command, url, Path(folder, command)) for command in commands]


def main() -> None:
    """Print the tables; exit 1 where a limit is exceeded."""
    words = sys.argv[1:]
    if words[:1] == ["--record"]:
        _record(words[1], words[2:])
        return
    is_over = False
    for path in measure_all([word for word in words if word in LIMITS] or tuple(LIMITS)):
        limit, files = LIMITS[path.command], path.files
        sys.stdout.write(
            f"imagen {path.command.replace('-', ' ')}: {len(files)} files (limit {limit.files}), "
            f"{len(path.functions)} functions (limit {limit.functions})\n"
        )
        is_over |= len(files) > (limit.files or len(files))
        is_over |= len(path.functions) > (limit.functions or len(path.functions))
        for file, count in files.most_common():
            sys.stdout.write(f"  {count:4} {file}\n")
            if "--functions" in words:
                inside = (one for one in path.functions if one.startswith(f"{file}:"))
                sys.stdout.writelines(f"         {one.partition(':')[2]}\n" for one in inside)
    sys.exit(is_over)


if __name__ == "__main__":
    main()
