"""Measure `imagen serve`, a process of its own: `python benchmarks/server.py [PART…]`.

Parts: `start`, until the first answer; `crowd`, 1000 open streams and 500 slow clients;
`roundtrip`, from POST to the image of a simulated ComfyUI, beside the same in one process;
`events`, 200 clients of the event stream while four jobs run with previews; `memory`, two minutes
of load. Processor time and memory are read from /proc, so the last two need Linux.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from measure import Limit, report
from roundtrip import simulator

from imagen.core.request import Request
from imagen.jobs.sql_store import open_job_store
from imagen.pipeline.generate import generate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.serve_process import ServeProcess, serve_process, write_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAT = Path(__file__).parent / "flat.json"
_STARTS = 7
_STREAMS, _SLOW = 1000, 500
_ROUNDS = 40
_CLIENTS = 200
_EVENT_SECONDS = 20.0
_MEMORY_SECONDS = 120.0
_JOBS_AT_ONCE = 16


@contextmanager
def _server(backends: dict[str, dict[str, Any]]) -> Iterator[tuple[ServeProcess, Path]]:
    with TemporaryDirectory() as folder:
        write_settings(Path(folder), backends, lease_seconds=20.0)
        with serve_process(Path(folder)) as server:
            yield server, Path(folder)


def _start() -> list[Limit]:
    """From the start of the process to the first answer, beside the import of its packages."""
    packages = "import fastapi, uvicorn, sqlalchemy, PIL.Image, httpx"
    times: dict[str, list[float]] = {"server": [], "packages": []}
    for _ in range(_STARTS):
        began = time.perf_counter()
        with _server({"mock": {"type": "mock"}}) as (server, _):
            httpx.get(f"{server.url}/api/v1/jobs").raise_for_status()
            times["server"].append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", packages], check=True)
        times["packages"].append(time.perf_counter() - began)
    ours, theirs = (median(each) for each in times.values())
    return [Limit(f"first answer; the packages alone take {theirs:.2f} s", ours, 0.8, "s")]


def _crowd() -> list[Limit]:
    """How long others wait while many streams are open, and many clients send slowly."""

    async def run(server: ServeProcess) -> tuple[int, float, float]:
        address = urlsplit(server.url)

        async def connect(text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(text.replace("\n", "\r\n").encode())
            return reader, writer

        async def wait(client: httpx.AsyncClient) -> float:
            times = []
            for _ in range(20):
                began = time.perf_counter()
                (await client.get("/api/v1/jobs")).raise_for_status()
                times.append(time.perf_counter() - began)
            return median(times)

        head = f"Host: {address.netloc}\n"
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            before = await wait(client)
            post = f"POST /api/v1/generations HTTP/1.1\n{head}Content-Length: 9\n\n{{"
            slow = [await connect(post) for _ in range(_SLOW)]
            streams = [
                await connect(f"GET /api/v1/events HTTP/1.1\n{head}\n") for _ in range(_STREAMS)
            ]
            open_ = [await reader.readline() for reader, _ in streams]
            during = await wait(client)
        for _, writer in (*slow, *streams):
            writer.close()
        return sum(line.startswith(b"HTTP/1.1 200") for line in open_), before, during

    with _server({"mock": {"type": "mock"}}) as (server, _):
        answered, before, during = asyncio.run(run(server))
    what = f"answer among {_STREAMS} streams and {_SLOW} slow clients"
    return [
        Limit("streams that were not opened", _STREAMS - answered, 0, ""),
        Limit(f"{what}, above {before * 1000:.0f} ms", (during - before) * 1000, 15, "ms"),
    ]


def _roundtrip() -> list[Limit]:
    """What the server adds: both in turn, with the same engine, library and folder of images."""
    numbers = iter(range(10**9))
    with (
        simulator() as url,
        _server({"flat": {"type": "comfyui", "url": url, "workflow": str(_FLAT)}}) as (server, own),
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        block = {"type": "comfyui", "url": url, "workflow": str(_FLAT)}
        settings = write_settings(own, {"flat": block})

        def direct() -> None:
            request = Request(width=64, height=64, seed=next(numbers))
            generate([request], settings, backend="flat")

        def over_http() -> None:
            request = {"width": 64, "height": 64, "seed": next(numbers)}
            made = client.post(
                "/api/v1/generations", params={"wait": 20}, json={"request": request}
            )
            assert made.json()["images"], made.text

        times: dict[str, list[float]] = {"direct": [], "over_http": []}
        for round_ in range(_ROUNDS + 3):
            for work in (direct, over_http):
                began = time.perf_counter()
                work()
                if round_ >= 3:
                    times[work.__name__].append(time.perf_counter() - began)
    ours, theirs = (median(each) * 1000 for each in (times["over_http"], times["direct"]))
    return [
        Limit(f"POST to image, above {theirs:.0f} ms in process", ours - theirs, 15, "ms"),
    ]


# --- events ---


async def _follow(url: str, until: float, seen: list[list[int]], previews: list[int]) -> None:
    """A client that notes the numbers of all events."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**22)
    writer.write(f"GET /api/v1/events HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    own: list[int] = []
    seen.append(own)
    with suppress(TimeoutError):
        async with asyncio.timeout(until - time.monotonic()):
            kind = ""
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    own.append(int(line[4:]))
                elif line.startswith(b"event: "):
                    kind = line[7:].decode().strip()
                    previews[0] += kind == "preview"
                    assert kind != "resync"
    writer.close()


async def _load(server: ServeProcess, names: list[str], until: float) -> None:
    """Keep one job on each backend."""

    async def keep_busy(client: httpx.AsyncClient, name: str) -> None:
        number = 0
        while time.monotonic() < until - 4:
            number += 1
            request = {"prompt": f"{name} {number}", "steps": 12, "width": 512, "height": 512}
            body = {"request": request, "backend": name}
            made = await client.post("/api/v1/generations", params={"wait": 60}, json=body)
            made.raise_for_status()

    async with httpx.AsyncClient(base_url=server.url, timeout=90) as client:
        await asyncio.gather(*(keep_busy(client, name) for name in names))


class _Stream(NamedTuple):
    """What became of the clients of a stream."""

    processor: float
    """Of a core."""
    missed: int
    events: int
    previews: int


def _run_stream(clients: int) -> _Stream:
    names = [f"gpu{number}" for number in range(4)]
    seen: list[list[int]] = []
    previews = [0]
    with ExitStack() as stack:
        switches = ("--previews", "--step-seconds", "0.2", "--images", "flat")
        urls = [stack.enter_context(simulator(*switches)) for _ in names]
        blocks = {
            name: {"type": "comfyui", "url": url, "workflow": "sd15"}
            for name, url in zip(names, urls, strict=True)
        }
        server, folder = stack.enter_context(_server(blocks))

        async def run() -> None:
            until = time.monotonic() + _EVENT_SECONDS
            followers = [_follow(server.url, until, seen, previews) for _ in range(clients)]
            await asyncio.gather(_load(server, names, until), *followers)

        before, began = _processor_seconds(server.pid), time.monotonic()
        asyncio.run(run())
        share = (_processor_seconds(server.pid) - before) / (time.monotonic() - began)
        with open_job_store(write_settings(folder, {"mock": {"type": "mock"}})) as store:
            stored = {event.seq for event in store.events_after(0, limit=10**6)}
    # The first number is that of `ready`: the event before the first.
    missed = sum(len({seq for seq in stored if seq > own[0]} - {*own}) for own in seen)
    return _Stream(share, missed, sum(map(len, seen)), previews[0])


def _events() -> list[Limit]:
    """The processor time of the server with many clients and with none, and what they missed."""
    alone, crowd = _run_stream(0), _run_stream(_CLIENTS)
    more = 100 * (crowd.processor - alone.processor)
    what = f"processor for {_CLIENTS} clients, above {alone.processor:.0%} for the jobs"
    return [
        Limit(f"missed of {crowd.events} events, {crowd.previews} previews", crowd.missed, 0, ""),
        Limit(what, more, 25, "% of a core"),
    ]


# --- memory ---


def _memory() -> list[Limit]:
    """How much memory grows under load, from a quarter of the time to its end."""
    samples: list[float] = []
    jobs = [0]
    with _server({"mock": {"type": "mock"}}) as (server, _):

        async def submit(client: httpx.AsyncClient, until: float) -> None:
            while time.monotonic() < until:
                request = {"prompt": f"fox {jobs[0]}", "width": 64, "height": 64}
                body = {"request": request}
                made = await client.post("/api/v1/generations", params={"wait": 30}, json=body)
                made.raise_for_status()
                jobs[0] += 1

        async def come_and_go(until: float) -> None:
            while time.monotonic() < until:
                await _follow(server.url, min(until, time.monotonic() + 2), [], [0])

        async def watch(until: float) -> None:
            while time.monotonic() < until:
                await asyncio.sleep(1)
                samples.append(_memory_megabytes(server.pid))

        async def run() -> None:
            until = time.monotonic() + _MEMORY_SECONDS
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                work = [submit(client, until) for _ in range(_JOBS_AT_ONCE)]
                work += [come_and_go(until) for _ in range(8)]
                await asyncio.gather(*work, watch(until))

        asyncio.run(run())
    quarter = len(samples) // 4
    early, late = (median(each) for each in (samples[quarter : 2 * quarter], samples[-quarter:]))
    what = f"growth of memory in {jobs[0]} jobs, from {early:.0f} MB"
    return [Limit(what, 100 * (late / early - 1), 10, "%")]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_megabytes(pid: int) -> float:
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return resident * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parts = {
        "start": _start,
        "crowd": _crowd,
        "roundtrip": _roundtrip,
        "events": _events,
        "memory": _memory,
    }
    report([limit for name in sys.argv[1:] or [*parts] for limit in parts[name]()])


if __name__ == "__main__":
    main()
