"""Another process that imports folders: `import_process.py URL ROUNDS FOLDER…`.

It waits for a line on stdin, so that several begin at once. With PICTURES instead of ROUNDS it
records `generate`'s entries of the files in the folders instead.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen

from imagen.library import GenerationRecord, add_files, record_generation
from support.library_process import open_at
from support.library_samples import make_image, make_record


def start_importer(url: str, *words: str) -> Popen[str]:
    """Start the process and wait until it is ready."""
    process = Popen(
        [sys.executable, __file__, url, *words],
        stdin=PIPE,
        stdout=PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def release_all(*processes: Popen[str]) -> list[int]:
    """Release all processes, and wait for their exit codes."""
    with ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    return [process.returncode for process in processes]


def records_of_folder(folder: Path) -> list[GenerationRecord]:
    """As `generate` records the files of the folder: each image is a generation of its own."""
    return [
        make_record(number, images=(make_image(number, path=path.absolute()),))
        for number, path in enumerate(sorted(folder.glob("*.png")), 1)
    ]


def _work(url: str, what: str, folders: list[Path]) -> None:
    with open_at(url) as library:
        print("ready", flush=True)  # noqa: T201 - what the test waits for
        sys.stdin.readline()
        if what == "generate":
            for folder in folders:
                for one in records_of_folder(folder):
                    record_generation(library, one)
            return
        for _ in range(int(what)):
            add_files(library, folders)


if __name__ == "__main__":
    _work(sys.argv[1], sys.argv[2], [Path(name) for name in sys.argv[3:]])
