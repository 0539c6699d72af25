"""Measure `imagen batch` with a file of 10,000 prompts: `python benchmarks/batch.py`.

The command is a process of its own, on an SQLite library and a simulated ComfyUI.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from measure import Within, report

from imagen import Request
from imagen.batch.batch_file import BatchOptions, read_batch
from imagen.batch.prompt_files import find_format
from imagen.config import load_settings
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submit import SubmitOptions, plan_requests
from imagen.testing.comfyui import ComfyUI

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS = 10_000
_DEADLINE_SECONDS = 120
_PROMPT = "a {red|blue} __animal__, number %d, in snow, detailed fur, soft light"


def main() -> None:
    with TemporaryDirectory() as folder, chdir(folder), ComfyUI(step_seconds=0.05) as server:
        Path("words").mkdir()
        Path("words/animal.txt").write_text("fox\nbear\nowl\n" * 100)
        block = {"type": "comfyui", "url": server.url, "workflow": "sd15"}
        config = {"default_backend": "gpu", "backends": {"gpu": block}, "wildcard_dirs": ["words"]}
        places = {"library": {"url": "library.db"}, "state_dir": "state"}
        Path("imagen.yaml").write_text(json.dumps(config | places))
        Path("prompts.txt").write_text("\n".join(_PROMPT % n for n in range(_ROWS)))
        lines = "\n".join(f'"a fox, number {n}",{n},1024x768' for n in range(_ROWS))
        Path("prompts.csv").write_text(f"prompt,seed,size\n{lines}\n")
        checked = [_check("prompts.txt"), _check("prompts.csv")]
        enqueued, first = _enqueue("prompts.txt", server)
    report(
        [
            Within("read and check 10,000 prompts with wildcards", (checked[0],), 2.0),
            Within("read and check 10,000 rows of CSV", (checked[1],), 2.0),
            Within("imagen batch: until 10,000 jobs are in the queue", (enqueued,), 10.0),
            Within("imagen batch: from then to the first prompt at the engine", (first,), 1.0),
        ]
    )


def _check(file: str) -> float:
    """The seconds of the processor that reading and checking a prompt file takes."""
    settings = load_settings(None)
    options = BatchOptions(settings=settings, backend="gpu", defaults=Request(steps=8))
    started = time.process_time()
    rows, _ = read_batch(Path(file).read_bytes(), file, find_format(file), options)
    plan_requests([one.row for one in rows], settings, SubmitOptions(backend="gpu"))
    return time.process_time() - started


def _enqueue(file: str, server: ComfyUI) -> tuple[float, float]:
    """The seconds until all jobs are in the queue, and from then to the first prompt."""
    started = time.perf_counter()
    with open_job_store(load_settings(None)) as store, _running("batch", file):
        while not store.list_jobs():
            _sleep(started)
        enqueued = time.perf_counter()
        while not server.prompts:
            _sleep(started)
        return enqueued - started, time.perf_counter() - enqueued


def _sleep(started: float) -> None:
    if time.perf_counter() - started > _DEADLINE_SECONDS:
        raise TimeoutError("imagen batch did not get so far.")
    time.sleep(0.01)


@contextmanager
def _running(*words: str) -> Iterator[None]:
    command = [sys.executable, "-m", "imagen", *words, "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ.copy()) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
