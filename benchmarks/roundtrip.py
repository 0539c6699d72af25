"""Time from the request to the bytes of a ComfyUI image, compared with a minimal script.

    python benchmarks/roundtrip.py [URL]

Without a URL, the server is the simulator in a process of its own. In one process: request,
websocket, POST, wait, fetch. As whole processes: from start to the file on disk, with the library
and without it. The simulated engine takes no time, so the job is recorded by a later command; one
case takes it a second, in which imagen loads the library and records the job itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bare
from measure import Claim, command, in_turn, report

from imagen.backends import open_backend
from imagen.core.request import Request
from imagen.core.result import no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagen.backends import Backend

_HERE = Path(__file__).parent
_FLAT = _HERE / "flat.json"
_colours = count(1)


@contextmanager
def _server() -> Iterator[str]:
    """The URL of a ComfyUI: the one given, or of a simulator."""
    if len(sys.argv) > 1:
        yield sys.argv[1].rstrip("/")
        return
    with simulator() as url:
        yield url


@contextmanager
def simulator(*switches: str) -> Iterator[str]:
    words = [sys.executable, "-m", "imagen.testing.comfyui", "--port", "0", *switches]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        try:
            yield simulator.stdout.readline().strip()
        finally:
            simulator.terminate()


def _graph(size: int) -> dict[str, Any]:
    """The graph in a colour of its own, since the server caches results."""
    text = _FLAT.read_text(encoding="utf-8")
    for token, value in (("width", size), ("height", size), ("seed", next(_colours))):
        text = text.replace(f'"$<{token}>"', str(value))
    graph: dict[str, Any] = json.loads(text)
    return graph


def _ours(engine: Backend, size: int) -> bytes:
    request = Request(width=size, height=size, seed=next(_colours))
    return engine.collect(engine.prepare(request), no_progress).images[0].data


def _in_one_process(url: str, size: int) -> Claim:
    engine = open_backend("flat", {"flat": {"type": "comfyui", "url": url, "workflow": str(_FLAT)}})
    try:
        return in_turn(
            f"request to bytes, {size} x {size} / bare script",
            lambda: _ours(engine, size),
            lambda: bare.fetch_image(url, _graph(size)),
            at_most=1.2,
            runs=40,
        )
    finally:
        engine.close()


def _generating(
    url: str, place: Path, *flags: str, keeping: bool, workflow: str = str(_FLAT)
) -> Callable[[], object]:
    """`imagen generate` from start to end, with the library or without."""
    block = {"type": "comfyui", "url": url, "workflow": workflow}
    place.mkdir()
    config = {"backends": {"comfy": block}, "library": {"enabled": keeping}}
    (place / "imagen.yaml").write_text(json.dumps(config))
    words = ("generate", "x", "-b", "comfy", "--size", "512x512", "-q", "-o", "ours.png", *flags)

    def run() -> None:
        seed = ("--seed", str(next(_colours)))
        command(sys.executable, "-m", "imagen", *words, *seed, cwd=str(place))()

    return run


def _by_hand(url: str, place: Path) -> Callable[[], object]:
    words = (sys.executable, str(_HERE / "bare.py"), url, "graph.json", "bare.png")

    def run() -> None:
        (place / "graph.json").write_text(json.dumps(_graph(512)))
        command(*words, cwd=str(place))()

    return run


def _as_processes(url: str, place: Path) -> Iterator[Claim]:
    by_hand = _by_hand(url, place)
    for what, keeping, at_most in (("", True, 3.3), (", library off", False, 3.3)):
        yield in_turn(
            f"imagen generate, the whole process{what} / bare script",
            _generating(url, place / f"keeping-{keeping}", keeping=keeping),
            by_hand,
            at_most=at_most,
            runs=20,
        )


def _of_a_second(place: Path) -> Claim:
    """What the library adds where the engine computes for a second: ten steps."""
    place.mkdir()
    with simulator("--step-seconds", "0.1") as url:
        kept, unkept = (
            _generating(
                url, place / str(keeping), "--steps", "10", keeping=keeping, workflow="sd15"
            )
            for keeping in (True, False)
        )
        what = "imagen generate, a second at the engine / library off"
        return in_turn(what, kept, unkept, at_most=1.1, runs=12)


def main() -> None:
    """Measure and report."""
    with _server() as url, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        report(
            [
                _in_one_process(url, 512),
                _in_one_process(url, 1024),
                *_as_processes(url, place),
                _of_a_second(place / "second"),
            ]
        )


if __name__ == "__main__":
    main()
