"""Every regular expression of the package takes linear time on every text."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from time import process_time
from typing import Any

# Without an import statement: whether mypy knows them depends on what else it reads.
_constants: Any = importlib.import_module("re._constants")
_parser: Any = importlib.import_module("re._parser")
_PACKAGE = Path(__file__).parents[2] / "imagen"
_METHODS = ("search", "match", "fullmatch", "finditer", "findall", "sub", "split")
_LENGTH = 8_000
_TIMES_AS_LONG, _TIMES_AS_SLOW = 4, 9
"""A text four times as long takes a linear pattern four times as long, a quadratic one 16 times:
by the time of the processor, which does not depend on what else runs."""
_UNMEASURABLE_SECONDS = 0.004
_ENDLESS_SECONDS = 300
"""Time limit of the process: a pattern may need years."""
_OF_CATEGORIES: dict[Any, str] = {
    _constants.CATEGORY_SPACE: " ",
    _constants.CATEGORY_DIGIT: "1",
    _constants.CATEGORY_WORD: "a",
}


def _sources() -> dict[str, str]:
    """The text of each module by name, except the simulators, which read no text from outside."""
    paths = (path for path in _PACKAGE.rglob("*.py") if "testing" not in path.parts)
    return {
        ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts): path.read_text("utf-8")
        for path in paths
    }


def _patterns() -> dict[tuple[Any, int], set[str]]:
    """Every pattern of the package with the methods that are called on it."""
    sources = _sources()
    whole = "\n".join(sources.values())
    found: dict[tuple[Any, int], set[str]] = {}
    for name, source in sources.items():
        try:
            known = vars(importlib.import_module(name.removesuffix(".__init__")))
        except ImportError:  # of an extra that is not installed
            known = {}
        for variable, value in known.items():
            if isinstance(value, re.Pattern):
                where = source if variable.startswith("_") else whole
                used = set(re.findall(rf"\b{variable}\.({'|'.join(_METHODS)})\b", where))
                found.setdefault((value.pattern, value.flags), set()).update(used or {"search"})
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="re"), attr=method),
                    args=[ast.Constant() | ast.Name() as first, *_],
                ) if method in _METHODS:
                    text = first.value if isinstance(first, ast.Constant) else known.get(first.id)
                    if isinstance(text, str | bytes):
                        pattern = re.compile(text)
                        found.setdefault((text, pattern.flags), set()).add(method)
    return found


def _example(tree: Any) -> str:
    """A text that the parsed pattern matches, or nearly."""
    return "".join(_example_of(operation, value) for operation, value in tree)


def _example_of(operation: Any, value: Any) -> str:
    match operation:
        case _constants.LITERAL:
            return chr(value)
        case _constants.IN:
            kind, inner = value[0]
            if kind in (_constants.LITERAL, _constants.RANGE):
                return chr(inner if kind is _constants.LITERAL else inner[0])
            return _OF_CATEGORIES.get(inner, "a")
        case _constants.MAX_REPEAT | _constants.MIN_REPEAT:
            return _example(value[2]) * max(1, min(int(value[0]), 3))
        case _constants.SUBPATTERN:
            return _example(value[3])
        case _constants.BRANCH:
            return _example(value[1][0])
        case _constants.ANY | _constants.NOT_LITERAL:
            return "a"
    return ""


def _pieces(tree: Any) -> set[str]:
    """Texts that the parts of the pattern match, which repeated may take it long."""
    found = {_example(tree)}
    for operation, value in tree:
        match operation:
            case _constants.MAX_REPEAT | _constants.MIN_REPEAT:
                found |= _pieces(value[2])
            case _constants.SUBPATTERN:
                found |= _pieces(value[3])
            case _constants.BRANCH:
                found |= {piece for branch in value[1] for piece in _pieces(branch)}
            case _constants.IN | _constants.LITERAL:
                found.add(_example_of(operation, value))
    parts = [_example_of(operation, value) for operation, value in tree]
    starts = ("".join(parts[:end]) for end in range(1, min(len(parts), 30)))
    ends = ("".join(parts[start:]) for start in range(1, min(len(parts), 30)))
    return (found | {*starts, *ends}) - {""}


def _strain(pattern: re.Pattern[Any], methods: set[str]) -> None:
    text = (
        pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    )
    tree = _parser.parse(text, pattern.flags & ~re.UNICODE & ~re.DEBUG)
    whole = _example(tree)
    for piece in sorted(_pieces(tree) - {""}):
        for start in {"", whole, whole[: len(whole) // 2]}:
            if _is_superlinear(pattern, methods, start, piece):
                print("superlinear for", repr(start), "and many of", repr(piece))  # noqa: T201
                return


def _is_superlinear(pattern: re.Pattern[Any], methods: set[str], start: str, piece: str) -> bool:
    """Whether it is slow three times: once may be chance."""
    return all(
        (long := _seconds(pattern, methods, start, piece, _LENGTH)) > _UNMEASURABLE_SECONDS
        and long
        > _TIMES_AS_SLOW * _seconds(pattern, methods, start, piece, _LENGTH // _TIMES_AS_LONG)
        for _ in range(3)
    )


def _seconds(
    pattern: re.Pattern[Any], methods: set[str], start: str, piece: str, length: int
) -> float:
    text = start + piece * (length // len(piece)) + "\n!"
    began = process_time()
    _use(pattern, methods, text if isinstance(pattern.pattern, str) else text.encode())
    return process_time() - began


def _use(pattern: re.Pattern[Any], methods: set[str], text: Any) -> None:
    for method in methods & {"search", "match", "fullmatch"}:
        getattr(pattern, method)(text)
    if methods & {"finditer", "findall", "sub", "split"}:
        for _ in pattern.finditer(text):
            pass


def strain_all() -> None:
    """Run every pattern on long texts, and print each."""
    for (text, flags), methods in _patterns().items():
        print(repr(text), sorted(methods), flush=True)  # noqa: T201
        _strain(re.compile(text, flags), methods)


def test_every_pattern_takes_linear_time() -> None:
    code = "from test_patterns import strain_all; strain_all()"
    where = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=where, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        output, _ = process.communicate(timeout=_ENDLESS_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        output += "superlinear\n"
    lines = output.splitlines()
    slow = [lines[n - 1] for n, line in enumerate(lines) if line.startswith("superlinear")]
    assert slow == []
    assert process.returncode == 0
    assert len(lines) > 100
