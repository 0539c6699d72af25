"""Almost valid inputs for the fuzz tests, resource limits, and a command line to feed them to.

`scripts/test fuzz 20000 --hypothesis-seed=7` gives each parser that many; each seed gives others.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from imagen.cli import run
from imagen.core.text import printable
from support.thoroughness import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

_EXAMPLES = int(os.environ.get("IMAGEN_FUZZ_EXAMPLES", "0"))
"""Inputs for each test; by default the same every time."""
settings.register_profile(
    "fuzz",
    deadline=None,
    database=None,
    derandomize=not _EXAMPLES,
    max_examples=_EXAMPLES or scaled(120, 400),
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")

_SECONDS = 2.0
_BYTES = 300 * 1000**2


@contextmanager
def limits() -> Iterator[None]:
    """Limit the block to two seconds of CPU time and 300 MB; on Linux only.

    Raises TimeoutError or MemoryError. CPU time does not depend on the load of the machine.
    """
    if sys.platform != "linux":
        yield
        return
    import resource
    import signal
    from pathlib import Path

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = pages * resource.getpagesize()

    def expire(_signum: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {_SECONDS:.0f} s of CPU time")

    handler = signal.signal(signal.SIGPROF, expire)
    resource.setrlimit(resource.RLIMIT_AS, (used + _BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


_DEEP: Any = "end"
for _ in range(300):
    _DEEP = [_DEEP]
ODD_VALUES: list[Any] = [
    *(None, True, -1, 0, 2**63, 2**64, 10**400, -0.5, 1e308, "", " \n ", "\x1b[31m\x9b\x00"),
    *([], {}, [[]], [{}], [None], {"": None}, ["1", 0], ["1", -1], ["1", 1e400], ["nowhere", 0]),
    *("a" * 5000, "(" * 2000, "<lora:" * 500, "\\" * 999, "../../etc/passwd", "/etc/passwd"),
    *("$<seed>", "${prompt}", "%date:yyyy%", "\ud800", "NaN", "1" * 5000, _DEEP, [0] * 3000),
    {str(number): number for number in range(2000)},
]
ODD_BYTES = [
    *(b"", b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"),
    *(b"\x1b[2J", b"\xed\xa0\x80", b"{" * 5000, b"[" * 5000, b"," * 5000, b" " * 9999, b"\n" * 500),
    *(b'"', b"\\", b"1" * 5000, b"NaN", b"Infinity", b"null", b": &a [*a]", b"!!python/object:x"),
    *(b"\x00asm", b"PK\x03\x04", b"<!DOCTYPE html>", b"2500-01-01", b"1:30:00", b"0x1F"),
]


@st.composite
def mutated_bytes(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """One of the samples with up to six changes."""
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 4, 16, 200, 4000])))
        change = draw(st.sampled_from(["replace", "cut", "repeat", "end"]))
        if change == "replace":
            odd = draw(st.sampled_from(ODD_BYTES) | st.binary(max_size=8))
            data = data[:start] + odd + data[end:]
        elif change == "cut":
            data = data[:start] + data[end:]
        elif change == "repeat":
            data = data[:end] + data[start:end] * draw(st.sampled_from([1, 3, 40])) + data[end:]
        else:
            data = data[:start]
    return data


@st.composite
def mutated_json(draw: st.DrawFn, samples: Sequence[Any]) -> Any:
    """One of the samples with up to four values replaced, renamed, removed or copied elsewhere."""
    document = {"": deepcopy(draw(st.sampled_from(samples)))}
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(document))
        if not places:
            break
        parent, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["odd", "odd", "copy", "remove", "rename"]))
        if change == "odd":
            parent[key] = deepcopy(draw(st.sampled_from(ODD_VALUES)))
        elif change == "copy":
            other, name = draw(st.sampled_from(places))
            parent[key] = deepcopy(other[name])
        elif change == "remove" and parent is not document:
            del parent[key]
        elif isinstance(parent, dict) and parent is not document:
            parent[draw(st.sampled_from(["", "prompt", "1", "\x1b[31m", "a" * 3000]))] = parent[key]
    return document[""]


def mutated_text(samples: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """The samples as JSON text, changed in their values or in their bytes."""
    texts = [json.dumps(sample).encode() for sample in samples]
    return mutated_json(samples).map(_encode) | mutated_bytes(texts)


def _encode(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with each of its keys, without recursion."""
    waiting = [value]
    while waiting:
        parent = waiting.pop()
        keys: Any = parent if isinstance(parent, dict) else range(len(parent))
        for key in keys:
            yield parent, key
            if isinstance(parent[key], dict | list):
                waiting.append(parent[key])


def run_imagen(*arguments: str) -> tuple[int, str]:
    """Run a command within the limits; returns its exit code and its output.

    Errors other than imagen's own are raised. The output must hold no control characters.
    """
    printed = io.StringIO()
    with limits(), redirect_stdout(printed), redirect_stderr(printed):
        code = run(list(arguments))
    text = printed.getvalue()
    assert text == printable(text)
    assert 0 <= code <= 5
    assert code == 0 or text.strip()
    return code, text
