"""From the request to the bytes of a picture of a ComfyUI, beside the script written by hand.

    python benchmarks/roundtrip.py [URL]

Without a URL, against the simulator in a process of its own. In one process: request, websocket,
POST, wait, fetch. As whole processes: from start to the file on disk.
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
from imagen.request import Request
from imagen.result import ignore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends import Backend

_HERE = Path(__file__).parent
_FLAT = _HERE / "flat.json"
_colours = count(1)


@contextmanager
def _server() -> Iterator[str]:
    """The address of a ComfyUI: the one named, or a simulator's."""
    if len(sys.argv) > 1:
        yield sys.argv[1].rstrip("/")
        return
    words = [sys.executable, "-m", "imagen.testing.comfyui", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        try:
            yield simulator.stdout.readline().strip()
        finally:
            simulator.terminate()


def _graph(size: int) -> dict[str, Any]:
    """The graph by hand, in a colour that no run had: the server keeps what it made."""
    text = _FLAT.read_text(encoding="utf-8")
    for token, value in (("width", size), ("height", size), ("seed", next(_colours))):
        text = text.replace(f'"$<{token}>"', str(value))
    graph: dict[str, Any] = json.loads(text)
    return graph


def _ours(engine: Backend, size: int) -> bytes:
    request = Request(width=size, height=size, seed=next(_colours))
    return engine.collect(engine.prepare(request), ignore).images[0].data


def _in_one_process(url: str, size: int) -> Claim:
    engine = open_backend("flat", {"flat": {"type": "comfyui", "url": url, "workflow": str(_FLAT)}})
    try:
        return in_turn(
            f"request to bytes, {size} x {size} / bare script",
            lambda: _ours(engine, size),
            lambda: bare.picture(url, _graph(size)),
            at_most=1.2,
            runs=40,
        )
    finally:
        engine.close()


def _as_processes(url: str, place: Path) -> Claim:
    block = {"type": "comfyui", "url": url, "workflow": str(_FLAT)}
    (place / "imagen.yaml").write_text(json.dumps({"backends": {"flat": block}}))

    def ours() -> None:
        words = ("generate", "x", "-b", "flat", "--size", "512x512", "-q", "-o", "ours.png")
        command(sys.executable, "-m", "imagen", *words, "--seed", str(next(_colours)), cwd=where)()

    def by_hand() -> None:
        (place / "graph.json").write_text(json.dumps(_graph(512)))
        command(sys.executable, str(_HERE / "bare.py"), url, "graph.json", "bare.png", cwd=where)()

    where = str(place)
    what = "imagen generate, the whole process / bare script"
    return in_turn(what, ours, by_hand, at_most=3.3, runs=20)


def main() -> None:
    """Measure and report."""
    with _server() as url, tempfile.TemporaryDirectory() as place:
        report(
            [
                _in_one_process(url, 512),
                _in_one_process(url, 1024),
                _as_processes(url, Path(place)),
            ]
        )


if __name__ == "__main__":
    main()
