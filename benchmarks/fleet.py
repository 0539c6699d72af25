"""Workers and engines against what the engines allow: makespan, switches, overhead, idleness.

    python benchmarks/fleet.py [quick]

Four simulated ComfyUI servers, each a process of its own, of speed 1, 1, 1/2 and 1/4. The bound of
a makespan is the least time in which such servers could do the jobs without anything in between.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING
from urllib.request import urlopen

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.config.settings import JobSettings
from imagen.core.request import Request
from imagen.jobs.model import JobSpec, NewJob
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.worker import StopRequest, WorkerEvent, run_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SPEEDS = (1, 1, 2, 4)
"""How much longer than the fastest server each takes."""
_STEPS = 20
_LATEST_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class _Result:
    """One measurement and what is allowed."""

    what: str
    value: float
    at_most: float
    unit: str = ""

    def row(self) -> str:
        verdict = "holds" if self.value <= self.at_most else "MISSED"
        return f"{self.what:<64} {self.value:9.3f} {self.at_most:9.3f} {self.unit:<6} {verdict}"


@dataclass
class _Run:
    """What one run of a worker did."""

    seconds: float = 0.0
    """From its start to the end of the last job."""
    servers: list[dict[str, dict[str, float]]] = field(default_factory=list)
    """When each prompt of each server began and ended, in seconds."""
    events: list[tuple[float, WorkerEvent]] = field(default_factory=list)


@contextmanager
def _servers(*options: Sequence[str]) -> Iterator[list[str]]:
    """The URLs of simulated servers, each with these words of its command line."""
    with ExitStack() as stack:
        urls: list[str] = []
        for words in options:
            command = [sys.executable, "-m", "imagen.testing.comfyui", "--port", "0"]
            process = stack.enter_context(
                subprocess.Popen(
                    [*command, "--images", "flat", *words], stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            urls.append(process.stdout.readline().strip())
        yield urls


def _settings(folder: Path, urls: Sequence[str]) -> Settings:
    names = [f"gpu{number}" for number in range(len(urls))]
    return Settings(
        backends={
            name: {"type": "comfyui", "url": url, "workflow": "sd15"}
            for name, url in zip(names, urls, strict=True)
        },
        pools={"all": tuple(names)},
        state_dir=folder / "state",
        library=LibrarySettings(url=str(folder / "library.db")),
        output=OutputSettings(directory=folder / "out"),
        jobs=JobSettings(lease_seconds=8.0, queue="embedded"),
    )


def _jobs(number: int, workflows: Sequence[str] = ("sd15",), steps: int = _STEPS) -> list[NewJob]:
    parent = NewJob(kind="batch", name="benchmark")
    jobs = []
    for seed in range(number):
        workflow = workflows[seed % len(workflows)]
        request = Request(prompt=f"fox {seed}", width=64, height=64, seed=seed, steps=steps)
        spec = JobSpec(request=request, backend="all", workflow=workflow)
        jobs.append(NewJob(parent=parent.id, number=seed, spec=spec, affinity=workflow))
    return [parent, *jobs]


def _work(settings: Settings, jobs: Sequence[NewJob], known: dict[str, float]) -> _Run:
    """Run jobs with one worker, which knows how long they take on some backends."""
    run = _Run()
    with open_job_store(settings) as store:
        for backend, seconds in known.items():
            store.learn_speed(backend, "sd15", seconds)
        store.submit(jobs)
    started = time.monotonic()

    def note(event: WorkerEvent) -> None:
        run.events.append((time.monotonic() - started, event))

    run_worker(settings, drain=True, on_event=note)
    run.seconds = max(at for at, event in run.events if event.kind == "done")
    for block in settings.backends.values():
        with urlopen(f"{block['url']}/history") as answer:
            history = json.load(answer)
        times = {}
        for id, entry in history.items():
            messages = {
                kind: data["timestamp"] / 1000 for kind, data in entry["status"]["messages"]
            }
            if "execution_success" in messages:
                times[id] = {
                    "start": messages["execution_start"],
                    "end": messages["execution_success"],
                }
        run.servers.append(times)
    assert sum(map(len, run.servers)) == len(jobs) - 1, "a job was lost, or made twice"
    return run


def _bound(durations: Sequence[float], jobs: int) -> float:
    """The least time in which servers that take so long can do the jobs."""
    ends = sorted(number * each for each in durations for number in range(1, jobs + 1))
    return ends[jobs - 1]


def measure_makespan(
    number: int, seconds: float, *, late_factor: int = 0, at_most: float = 1.05
) -> _Result:
    """A batch of jobs; with a factor, one of the fastest servers is late from 40 % on."""
    durations = [seconds * speed for speed in _SPEEDS]
    words = [["--step-seconds", str(each / _STEPS)] for each in durations]
    what = f"makespan / bound, {number} jobs of {seconds:g} s"
    first = 0
    if late_factor:
        first = int(0.4 * _bound(durations, number) / seconds) + 1
        words[0] += ["--switch", f"late_from={first}", "--switch", f"late_factor={late_factor}"]
        what += f", one {late_factor} x slower from 40 % on"
    with TemporaryDirectory() as folder, _servers(*words) as urls:
        settings = _settings(Path(folder), urls)
        known = dict(zip(settings.backends, durations, strict=True))
        run = _work(settings, _jobs(number), known)
    # What the servers took: on a busy machine, longer than they were told.
    took = [median(one["end"] - one["start"] for one in times.values()) for times in run.servers]
    # With a late server at best: what it did before, and the others do the rest.
    bound = _bound(took[1:], number - first + 1) if late_factor else _bound(took, number)
    return _Result(what=what, value=run.seconds / bound, at_most=at_most)


def measure_gap(number: int = 8, seconds: float = 3.0) -> _Result:
    """How long a server waits between two jobs, in the mean."""
    words = ["--step-seconds", str(seconds / _STEPS)]
    with TemporaryDirectory() as folder, _servers(words) as urls:
        settings = _settings(Path(folder), urls)
        run = _work(settings, _jobs(number), {"gpu0": seconds})
    (times,) = run.servers
    spans = sorted((each["start"], each["end"]) for each in times.values())
    idle = spans[-1][1] - spans[0][0] - sum(end - start for start, end in spans)
    what = "overhead of a job: the engine waits between two"
    return _Result(what=what, value=1000 * idle / (number - 1), at_most=50, unit="ms")


def measure_switches(load_seconds: float = 2.0) -> _Result:
    """Twelve jobs that alternate between two models."""
    words = ["--step-seconds", "0.02", "--load-seconds", str(load_seconds)]
    with TemporaryDirectory() as folder, _servers(words) as urls:
        jobs = _jobs(12, ("sd15", "sdxl"))
        run = _work(_settings(Path(folder), urls), jobs, {})
    (times,) = run.servers
    model_of = {job.id: job.affinity for job in jobs}
    order = [model_of[id] for id in sorted(times, key=lambda id: times[id]["start"])]
    switches = sum(a != b for a, b in itertools.pairwise(order))
    return _Result(what="switches, 12 jobs alternating two models", value=switches, at_most=2)


def measure_cancel() -> _Result:
    """From `cancel` until the server has been told to stop."""
    with TemporaryDirectory() as folder, _servers(["--step-seconds", "0.05"]) as urls:
        settings = _settings(Path(folder), urls)
        stop = StopRequest()
        worker = Thread(target=run_worker, args=(settings,), kwargs={"stop": stop})
        worker.start()
        with open_job_store(settings) as store:
            taken = []
            for _ in range(5):
                *_, id = store.submit(_jobs(1, steps=4000))
                _wait(lambda id=id: (store.read(id).progress or {}).get("stage") == "running")
                began = time.monotonic()
                store.cancel(id)
                _wait(lambda id=id: store.read(id).state == "cancelled")
                taken.append(time.monotonic() - began)
        stop.set()
        worker.join()
    what = "cancel of a running job until it is confirmed, slowest of 5"
    return _Result(what=what, value=max(taken), at_most=1.0, unit="s")


def measure_idle(seconds: float = 20.0) -> list[_Result]:
    """The processor time and the memory of a worker with nothing to do."""
    with TemporaryDirectory() as folder:
        settings = _settings(Path(folder), ["http://127.0.0.1:9", "http://127.0.0.1:10"])
        values = {
            "backends": settings.backends,
            "state_dir": str(settings.state_dir),
            "library": {"url": settings.library.url},
        }
        config = Path(folder) / "imagen.yaml"
        config.write_text(json.dumps(values))
        words = [sys.executable, "-m", "imagen", "worker", "--config", str(config)]
        with subprocess.Popen(words, cwd=folder, stderr=subprocess.DEVNULL) as process:
            time.sleep(12.0)  # it starts, and looks whether its engines are ready
            before = _processor_seconds(process.pid)
            time.sleep(seconds)
            share = (_processor_seconds(process.pid) - before) / seconds
            memory = _megabytes(process.pid)
            process.terminate()
    return [
        _Result(what="idle worker, share of a core", value=100 * share, at_most=0.5, unit="%"),
        _Result(what="idle worker, memory", value=memory, at_most=80, unit="MB"),
    ]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def _wait(is_true: object) -> None:
    assert callable(is_true)
    end = time.monotonic() + _LATEST_SECONDS
    while not is_true():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def main() -> None:
    """Measure, print a table, and exit 1 if something is above its limit."""
    is_quick = sys.argv[1:] == ["quick"]
    seconds = 3.0 if is_quick else 6.0
    results = [*measure_idle(), measure_cancel(), measure_switches(), measure_gap()]
    results += [measure_makespan(n, seconds) for n in ((24,) if is_quick else (16, 24, 60))]
    results.append(measure_makespan(24, seconds, late_factor=10, at_most=1.10))
    results.append(measure_makespan(24, seconds, late_factor=1000, at_most=1.3))
    head = f"{'':<64} {'measured':>9} {'limit':>9}"
    sys.stdout.write("\n".join([head, *(result.row() for result in results)]) + "\n")
    sys.exit(0 if all(result.value <= result.at_most for result in results) else 1)


if __name__ == "__main__":
    main()
