"""Insert small faults into the code that must never lose an image; count those the tests notice.

    scripts/test mutants --seed 7 --count 60

The seed selects the faults. Each is tried in a copy of the project with the tests that execute its
line; a test that does not end notices it too. The lines that each test executes are recorded first,
in `.mutants`, and again when code or tests change. Faults without an effect are skipped:
scripts/equivalent_mutants.tsv lists them with the reason.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from textwrap import shorten
from threading import get_ident
from typing import TYPE_CHECKING, TypeVar

from coverage import CoverageData

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.tsv")
MODULES = (
    *("backends/remote_job", "backends/comfyui/job", "backends/comfyui/follow"),
    *("backends/comfyui/client", "backends/comfyui/outputs", "backends/replicate/job"),
    *("backends/replicate/client", "backends/replicate/outputs", "backends/replicate/payload"),
    *("pipeline/generate", "pipeline/record", "pipeline/budgets", "jobs/recover"),
    *("jobs/file_store", "jobs/store", "core/filesystem", "comparison/run", "comparison/record"),
    *("jobs/sql_store", "jobs/transitions", "jobs/submission", "jobs/user_changes"),
    *("jobs/embedded", "jobs/row_store"),
    *("outputs/save", "library/write", "library/trash", "library/outbox", "delivery/worker"),
)
TESTS = (
    *("pipeline", "jobs", "backends", "outputs", "comparison", "library", "delivery", "cli"),
    *("reproduce", "doctor", "core", "net"),
)
_MOST_TESTS = 150
_TEST_SECONDS = 120
"""Longer than any test takes, on a busy machine too."""
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
_NEVER_RUN = {"TYPE_CHECKING", "sys.platform == 'win32'"}
_TYPES = {"annotation", "returns", "decorator_list", "bases"}
_PROSE = {"description", "remedy", "title", "why"}
_SWAPS = [
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)),
    *((ast.In, ast.NotIn), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitOr, ast.BitAnd)),
    (ast.And, ast.Or),
]
_OPPOSITES = dict([*_SWAPS, *((b, a) for a, b in _SWAPS)])
_Node = TypeVar("_Node", bound=ast.AST)
_Changeable = ast.stmt | ast.expr | ast.ExceptHandler


@dataclass(frozen=True, slots=True)
class Mutant:
    """One small fault: a text that replaces another."""

    path: str
    """Relative to the project's folder."""
    function: str
    line: int
    lines: frozenset[int]
    """A test that runs one of them runs the fault."""
    start: int
    end: int
    before: str
    after: str

    @property
    def key(self) -> tuple[str, ...]:
        """As EQUIVALENT lists it: without the line, which moves."""
        return self.path, self.function, shorten(self.before, 100), shorten(self.after, 100)

    def __str__(self) -> str:
        _, _, before, after = self.key
        return f"{self.path}:{self.line}: {before} -> {after}"


def find_mutants(path: Path, root: Path = ROOT) -> Iterator[Mutant]:
    """Every fault that can be put into the module."""
    source = path.read_bytes()
    starts = [0, *(match.end() for match in re.finditer(b"\n", source))]
    tree = ast.parse(source)
    name = path.relative_to(root).as_posix()
    for function, statement, node in _nodes(tree):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        lines = frozenset(_own_lines(tree, function, statement))
        for changed in _changes(node):
            after = ast.unparse(changed)
            if not isinstance(changed, ast.expr):
                after = after.replace("\n", "\n" + " " * node.col_offset)
            elif not isinstance(changed, ast.Constant):
                after = f"({after})"
            before = source[start:end].decode()
            yield Mutant(name, function, node.lineno, lines, start, end, before, after)


def _nodes(
    parent: ast.AST, function: str = "", statement: ast.stmt | None = None
) -> Iterator[tuple[str, ast.stmt, _Changeable]]:
    """What may be changed, with its function and statement: no types, no sentences."""
    if isinstance(parent, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    is_never_run = isinstance(parent, ast.If) and ast.unparse(parent.test) in _NEVER_RUN
    for name, value in ast.iter_fields(parent):
        if name in _TYPES or (is_never_run and name != "orelse"):
            continue
        for child in value if isinstance(value, list) else [value]:
            match child:
                case ast.Expr(value=ast.Constant()):
                    continue
                case ast.keyword(arg=argument) if argument in _PROSE:
                    continue
                case ast.AST():
                    inside = child if isinstance(child, ast.stmt) else statement
                    within = function
                    if isinstance(child, ast.FunctionDef | ast.ClassDef):
                        within = f"{function}.{child.name}".lstrip(".")
                    if isinstance(child, _Changeable) and inside:
                        yield within, inside, child
                    yield from _nodes(child, within, inside)


def _own_lines(tree: ast.Module, function: str, statement: ast.stmt) -> Iterator[int]:
    """The lines of a statement without its body; of a constant, those that use it."""
    if not function and isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = set(map(ast.unparse, targets))
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in names and node not in targets:
                yield node.lineno
        return
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    yield from range(statement.lineno, max(last, statement.lineno) + 1)


def _changes(node: _Changeable) -> Iterator[_Changeable]:
    """What may replace it."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in _OPPOSITES:
            yield _copy(node, ops=[_OPPOSITES[type(op)]()])
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in _OPPOSITES:
            yield _copy(node, op=_OPPOSITES[type(op)]())
            if isinstance(node, ast.BoolOp):
                yield from _with_one_less(node, "values")
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.IfExp():
            yield _copy(node, body=node.orelse, orelse=node.body)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as value) if value and " " not in value:
            yield ast.Constant(f"{value}x")
        case ast.Call(func=function):
            for dropped, fewer in zip(node.keywords, _with_one_less(node, "keywords"), strict=True):
                if isinstance(dropped.value, ast.Constant) and dropped.arg not in _PROSE:
                    yield fewer
            match function:
                case ast.Name("suppress"):
                    yield from _with_one_less(node, "args")
                case ast.Name("min" | "max" as name):
                    yield _copy(node, func=ast.Name("max" if name == "min" else "min"))
        case ast.ExceptHandler(type=ast.expr() as kind):
            kinds = kind if isinstance(kind, ast.Tuple) else ast.Tuple([kind])
            yield from (_copy(node, type=fewer) for fewer in _with_one_less(kinds, "elts"))
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))


def _copy(node: _Node, **fields: object) -> _Node:
    changed = copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _with_one_less(node: _Node, field: str) -> Iterator[_Node]:
    items = getattr(node, field)
    for number in range(len(items)):
        yield _copy(node, **{field: [*items[:number], *items[number + 1 :]]})


def modules() -> list[Path]:
    return [ROOT / "imagen" / f"{name}.py" for name in MODULES]


def equivalent() -> set[tuple[str, ...]]:
    """The keys of the faults that are known to change nothing."""
    rows = EQUIVALENT.read_text(encoding="utf-8").splitlines()[1:]
    return {tuple(row.split("\t")[:4]) for row in rows}


def choose_mutants(seed: int, count: int, only: str) -> list[Mutant]:
    """That many faults, the same for the same seed and code."""
    known = equivalent()
    every = [m for path in modules() if only in path.as_posix() for m in find_mutants(path)]
    fresh = [mutant for mutant in every if mutant.key not in known]
    return random.Random(seed).sample(fresh, min(count, len(fresh)))


def map_tests(tests: Sequence[str]) -> dict[str, set[tuple[str, int]]]:
    """The lines that each test runs: specific tests first, slow ones with PostgreSQL last."""
    digest = sha256(repr(tests).encode())
    for folder in ("imagen", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    record = ROOT / ".mutants" / digest.hexdigest()[:16]
    if not record.exists():
        record.parent.mkdir(exist_ok=True)
        part = record.with_suffix(".part")
        measured = [f"--cov=imagen.{name.replace('/', '.')}" for name in MODULES]
        words = [*_PYTEST, "-n", "auto", "--cov-context=test", "--cov-report=", *measured, *tests]
        subprocess.run(words, cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(part)}, check=False)
        part.rename(record)
    data = CoverageData(str(record))
    data.read()
    runs: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for path in map(Path, data.measured_files()):
        for line, contexts in data.contexts_by_lineno(str(path)).items():
            for test in {context.rpartition("|")[0] for context in contexts} - {""}:
                runs[test].add((path.relative_to(ROOT).as_posix(), line))
    return dict(sorted(runs.items(), key=lambda run: ("postgres" in run[0], len(run[1]), run[0])))


def try_out(mutant: Mutant, tests: Sequence[str], folder: Path) -> str:
    """The test that notices the fault in this copy of the project, or what else ended; else ""."""
    if not folder.exists():
        for part in ("imagen", "tests", "workflows", "scripts", "docs"):
            shutil.copytree(ROOT / part, folder / part)
        for file in ROOT.glob("*.*"):
            if file.is_file():
                shutil.copy(file, folder)
    path = folder / mutant.path
    source = path.read_bytes()
    remaining = list(tests)
    while remaining:
        _write(path, source[: mutant.start] + mutant.after.encode() + source[mutant.end :])
        failed = _run(remaining, folder)
        _write(path, source)
        if failed not in remaining or not _run([failed], folder):
            return failed
        remaining.remove(failed)  # it fails without the fault, too
    return ""


def _write(path: Path, source: bytes) -> None:
    path.write_bytes(source)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()


def _run(tests: Sequence[str], folder: Path) -> str:
    """The first test that fails, or how else they ended; "" where all pass."""
    limit = f"faulthandler_timeout={_TEST_SECONDS}"
    process = subprocess.Popen(
        [*_PYTEST, "-x", "-o", limit, "-o", "faulthandler_exit_on_timeout=true", *tests],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    output, _ = process.communicate()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    failed = re.findall(r"(?m)^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output)
    return failed[0] if failed else f"exit code {process.returncode}" if process.returncode else ""


def main() -> None:
    """Try the faults; print each, and the share that was noticed."""
    parser = argparse.ArgumentParser(description="Count the small faults that the tests notice.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=1, help="faults tried at once")
    parser.add_argument("--only", default="", help="a part of the modules' paths")
    parser.add_argument("tests", nargs="*", default=[f"tests/{name}" for name in TESTS])
    options = parser.parse_args()
    mutants = choose_mutants(options.seed, options.count, options.only)
    runs = map_tests(options.tests)

    def attempt(mutant: Mutant) -> tuple[Mutant, str]:
        lines = {(mutant.path, line) for line in mutant.lines}
        tests = [test for test, its_lines in runs.items() if not lines.isdisjoint(its_lines)]
        if not tests:
            return mutant, ""
        return mutant, try_out(mutant, tests[:_MOST_TESTS], Path(folder, str(get_ident())))

    noticed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        for mutant, by in pool.map(attempt, mutants):
            noticed += bool(by)
            print(f"noticed  {mutant}  ({by})" if by else f"SURVIVED {mutant}", flush=True)  # noqa: T201
    share = noticed / len(mutants)
    print(f"seed {options.seed}: {noticed} of {len(mutants)} noticed, {share:.0%}")  # noqa: T201


if __name__ == "__main__":
    main()
