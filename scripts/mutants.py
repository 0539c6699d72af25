"""Put small faults into the code that must never lose an image, and count those the tests notice.

    python scripts/mutants.py --seed 7 --count 60

Faults are chosen at random by the seed. For each, only the tests that run its line are run, in a
copy of the project: the working tree is never changed. Which test runs which line is recorded once
for each test file, in `.mutants`, and again when the file changes. A fault that changes nothing is
listed with its reason in scripts/equivalent_mutants.tsv, and left out.
"""

from __future__ import annotations

import argparse
import ast
import json
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
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".mutants"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.tsv")
MODULES = (
    *("backends/{}/" + name for name in ("submit", "run", "stop", "client", "answers")),
    *("backends/comfyui/follow", "backends/comfyui/files", "backends/comfyui/record"),
    *("backends/replicate/fetch", "backends/replicate/binding"),
    *("spine", "resuming", "tickets", "keeping", "budgets", "syncing", "locks", "filesystem"),
    *("comparison/loop", "comparison/once", "comparison/record"),
    *("outputs/saving", "outputs/files", "outputs/recovering"),
    *("library/taking", "library/outbox", "library/forgetting"),
)
TESTS = (
    *("spine", "backends/comfyui", "backends/replicate", "outputs", "comparison", "library"),
    *("syncing", "sinks", "cli", "again", "doctor", "words", "backends"),
)
_MOST_TESTS = 150
_PATIENCE_SECONDS = 60
_QUIET_KEYWORDS = {"description", "remedy", "title", "why"}
_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One small fault: text that stands in the place of another."""

    path: str
    """Below the project's folder."""
    function: str
    line: int
    lines: frozenset[int]
    """Of the statement: what runs one of them runs the fault."""
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {_one_line(self.before)} -> {_one_line(self.after)}"


def mutants_of(path: Path, root: Path = ROOT) -> Iterator[Mutant]:
    """Every fault that can be put into the module."""
    source = path.read_bytes()
    starts = [0, *(i + 1 for i, byte in enumerate(source) if byte == ord("\n"))]
    tree = ast.parse(source)
    for function, statement, node in _nodes(tree, ""):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        before = source[start:end].decode()
        for after in dict.fromkeys(_changed(node)):
            if after != before:
                lines = frozenset(_own_lines(tree, statement, function))
                name = path.relative_to(root).as_posix()
                yield Mutant(name, function, node.lineno, lines, start, end, before, after)


def _nodes(
    parent: ast.AST, function: str, statement: ast.stmt | None = None
) -> Iterator[tuple[str, ast.stmt, ast.stmt | ast.expr]]:
    """Every node that may be changed, with its function and the statement that holds it."""
    for child in _children(parent):
        inside = statement
        within = function
        if isinstance(child, ast.stmt):
            inside = child
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                within = f"{function}.{child.name}".lstrip(".")
        if isinstance(child, ast.stmt | ast.expr) and inside is not None:
            yield within, inside, child
        yield from _nodes(child, within, inside)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What is run of it: no annotations, no sentences, nothing that only Windows or mypy sees."""
    if isinstance(node, ast.If) and _is_passed_over(node.test):
        yield from node.orelse
        return
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.keyword) and node.arg in _QUIET_KEYWORDS:
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST) and not _is_text_alone(item):
                yield item


def _is_passed_over(test: ast.expr) -> bool:
    text = ast.unparse(test)
    return text == "TYPE_CHECKING" or text == "sys.platform == 'win32'"


def _is_text_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _own_lines(tree: ast.Module, statement: ast.stmt, function: str) -> Iterator[int]:
    """The lines of a statement without its body; of a constant, those that use it."""
    if not function and isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = {node.id for t in targets for node in ast.walk(t) if isinstance(node, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in names and node.lineno != statement.lineno:
                yield node.lineno
        return
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    yield from range(statement.lineno, max(last, statement.lineno) + 1)


def _changed(node: ast.stmt | ast.expr) -> Iterator[str]:
    """The texts of what may stand in its place."""
    match node:
        case ast.Compare(ops=[op], left=left, comparators=right) if type(op) in _COMPARED:
            yield _text(ast.Compare(left, [_COMPARED[type(op)]()], right))
        case ast.BoolOp(op=op, values=values):
            other = ast.And() if isinstance(op, ast.Or) else ast.Or()
            yield _text(ast.BoolOp(other, values))
            yield from (_text(_without(node, i)) for i in range(len(values)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _text(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTED:
            yield _text(ast.BinOp(left, _COMPUTED[type(op)](), right))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield _text(ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse))
        case ast.Constant(value=bool() as value):
            yield repr(not value)
        case ast.Constant(value=int() | float() as value):
            yield repr(value + 1)
        case ast.Constant(value=str() as value) if value and " " not in value:
            yield repr(f"{value}x")
        case ast.Call():
            yield from _changed_call(node)
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass"
        case ast.Continue() | ast.Break():
            yield "pass"
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield "return None"
        case ast.Try(handlers=handlers) if handlers:
            yield from _changed_handlers(node)


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"


def _without(node: ast.BoolOp, number: int) -> ast.expr:
    left = [*node.values[:number], *node.values[number + 1 :]]
    return left[0] if len(left) == 1 else ast.BoolOp(node.op, left)


def _changed_call(node: ast.Call) -> Iterator[str]:
    """One plain keyword less; one error less that is suppressed; the greatest for the least."""
    for one in node.keywords:
        if isinstance(one.value, ast.Constant) and one.arg not in _QUIET_KEYWORDS:
            yield _text(ast.Call(node.func, node.args, [k for k in node.keywords if k is not one]))
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name == "suppress":
        for number in range(len(node.args)):
            fewer = [*node.args[:number], *node.args[number + 1 :]]
            yield _text(ast.Call(node.func, fewer, []))
    if name in ("min", "max"):
        other = ast.Name({"min": "max", "max": "min"}[name])
        yield _text(ast.Call(other, node.args, node.keywords))


def _changed_handlers(node: ast.Try) -> Iterator[str]:
    """The whole statement, with one error less that is caught."""
    for number, handler in enumerate(node.handlers):
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        for kind in kinds:
            fewer = ast.Tuple([other for other in kinds if other is not kind and other], ast.Load())
            changed = ast.ExceptHandler(fewer, handler.name, handler.body)
            handlers = [*node.handlers[:number], changed, *node.handlers[number + 1 :]]
            text = ast.unparse(ast.Try(node.body, handlers, node.orelse, node.finalbody))
            yield text.replace("\n", "\n" + " " * node.col_offset)


def record(test_file: str, to: Path) -> int:
    """Run a test file, and write down which of its tests run which line, and how long they take."""
    import coverage
    import pytest

    measure = coverage.Coverage(data_file=None, include=[str(path) for path in modules()])
    seconds: dict[str, float] = defaultdict(float)
    failed: set[str] = set()

    class Recorder:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
            measure.switch_context(item.nodeid)
            return (yield)

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            seconds[report.nodeid] += report.duration
            if report.failed:
                failed.add(report.nodeid)

    measure.start()
    code = pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", test_file], [Recorder()])
    measure.stop()
    data = measure.get_data()
    lines = {
        Path(path).relative_to(ROOT).as_posix(): {
            line: [test for test in tests if test and test not in failed]
            for line, tests in data.contexts_by_lineno(path).items()
        }
        for path in data.measured_files()
    }
    sources = {path: (ROOT / path).read_text(encoding="utf-8") for path in lines}
    to.write_text(json.dumps({"lines": lines, "seconds": seconds, "sources": sources}))
    return int(code)


def modules() -> list[Path]:
    names = {name.format(kind) for name in MODULES for kind in ("comfyui", "replicate")}
    paths = [ROOT / "imagen" / f"{name}.py" for name in sorted(names)]
    return [path for path in paths if path.is_file()]


def _test_files() -> list[Path]:
    found = [path for name in TESTS for path in sorted((ROOT / "tests" / name).glob("test_*.py"))]
    return list(dict.fromkeys(found))


class Coverage:
    """Which tests run a line of the code as it is now."""

    def __init__(self, records: Sequence[Path]) -> None:
        self.seconds: dict[str, float] = {}
        self._tests: dict[tuple[str, int], list[str]] = defaultdict(list)
        self._sizes: dict[str, int] = defaultdict(int)
        for one in records:
            told = json.loads(one.read_text())
            self.seconds |= told["seconds"]
            for path, lines in told["lines"].items():
                now = _moved(told["sources"][path], path)
                for line, tests in lines.items():
                    for test in tests:
                        self._sizes[test] += 1
                        self._tests[path, now.get(int(line), 0)].append(test)

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that run it, specific ones first; PostgreSQL's where there are no others."""
        found = {test for line in mutant.lines for test in self._tests[mutant.path, line]}
        quick = {test for test in found if "postgres" not in test} or found
        return sorted(quick, key=lambda test: (self._sizes[test], test))[:_MOST_TESTS]


@cache
def _moved(old: str, path: str) -> dict[int, int]:
    """Where each line of a module is now."""
    with suppress(OSError):
        new = (ROOT / path).read_text(encoding="utf-8")
        blocks = SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
        return {
            a + i + 1: b + i + 1 for a, b, size in blocks.get_matching_blocks() for i in range(size)
        }
    return {}


def recorded(test_files: Sequence[Path], *, is_stale_fine: bool) -> list[Path]:
    """The records of these files; those that are missing or out of date are made."""
    CACHE.mkdir(exist_ok=True)
    found = []
    for path in test_files:
        name = path.relative_to(ROOT).as_posix().replace("/", "-")
        digest = sha256(path.read_bytes()).hexdigest()[:12]
        to = CACHE / f"{name}-{digest}.json"
        older = list(CACHE.glob(f"{name}-*.json"))
        if not to.exists() and not is_stale_fine:
            print(f"recording {path.relative_to(ROOT)}", file=sys.stderr)  # noqa: T201
            words = [sys.executable, __file__, "--record", str(path), str(to)]
            subprocess.run(words, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
            for one in older if to.exists() else []:
                one.unlink()
        found += [to] if to.exists() else older
    return found


class Copy:
    """A copy of the project in which one fault at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "copy"
        self._fails_anyway: dict[str, bool] = {}
        for part in ("imagen", "tests", "workflows", "scripts", "docs"):
            shutil.copytree(ROOT / part, self._folder / part)
        for file in ("pyproject.toml", "README.md", "CHANGELOG.md", "imagen.example.yaml"):
            shutil.copy(ROOT / file, self._folder)

    def try_out(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> str:
        """The test that noticed it, `time` where there was no end; "" where none did."""
        left = list(tests)
        while left:
            failed = self._run_with(mutant, left, seconds)
            if failed not in left or not self._fails_without(failed, seconds):
                return failed
            left.remove(failed)
        return ""

    def _fails_without(self, test: str, seconds: float) -> bool:
        """Whether it fails in the copy whatever is changed: what is flaky notices nothing."""
        if test not in self._fails_anyway:
            self._fails_anyway[test] = bool(self._run([test], seconds))
        return self._fails_anyway[test]

    def _run_with(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> str:
        path = self._folder / mutant.path
        source = path.read_bytes()
        try:
            path.write_bytes(source[: mutant.start] + mutant.after.encode() + source[mutant.end :])
            return self._run(tests, seconds)
        finally:
            path.write_bytes(source)
            for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
                compiled.unlink()

    def _run(self, tests: Sequence[str], seconds: float) -> str:
        """The first test that fails, or what else went wrong; "" where all pass."""
        names = self._folder / "tests.txt"
        names.write_text("\n".join(tests), encoding="utf-8")
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
        process = subprocess.Popen(
            [*words, f"@{names}"],
            cwd=self._folder,
            env=os.environ | {"PYTHONPATH": str(self._folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return "time"
        if process.returncode == 4 and any("::" in test for test in tests):  # some are gone
            return self._run(sorted({test.partition("::")[0] for test in tests}), seconds + 600)
        failed = re.findall(r"(?m)^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said)
        return failed[0] if failed else "" if process.returncode == 0 else "exit"


def equivalent() -> set[tuple[str, ...]]:
    """Path, function, text before and after of each fault that is known to change nothing."""
    rows = EQUIVALENT.read_text(encoding="utf-8").splitlines()[1:]
    return {tuple(row.split("\t")[:4]) for row in rows}


def key(mutant: Mutant) -> tuple[str, ...]:
    """What a fault is listed by: lines move."""
    return mutant.path, mutant.function, _one_line(mutant.before), _one_line(mutant.after)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:60]} … {line[-37:]}"


def chosen(seed: int, count: int, only: str) -> list[Mutant]:
    """That many faults, the same for the same seed and code."""
    known = equivalent()
    every = [m for p in modules() if only in p.as_posix() for m in mutants_of(p)]
    fresh = [mutant for mutant in every if key(mutant) not in known]
    return random.Random(seed).sample(fresh, min(count, len(fresh)))


def main() -> int:
    """Try the faults, print those that no test noticed, and the share of the others."""
    parser = argparse.ArgumentParser(description="Count the small faults that the tests notice.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the modules' paths")
    parser.add_argument("--stale", action="store_true", help="make no new records")
    parser.add_argument("--list", action="store_true", help="only list the faults")
    parser.add_argument("--record", nargs=2, metavar=("TEST", "TO"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.record:
        return record(asked.record[0], Path(asked.record[1]))
    mutants = chosen(asked.seed, asked.count, asked.only)
    if asked.list:
        print(*mutants, sep="\n")  # noqa: T201
        return 0
    coverage = Coverage(recorded(_test_files(), is_stale_fine=asked.stale))
    results = list(_tried(mutants, coverage, asked.jobs))
    noticed = sum(map(bool, results))
    share = noticed / len(results)
    print(f"seed {asked.seed}: {noticed} of {len(results)} noticed, {share:.0%}")  # noqa: T201
    return 0


def _tried(mutants: Sequence[Mutant], coverage: Coverage, jobs: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            copies.put(Copy(Path(folder, str(number))))

        def attempt(mutant: Mutant) -> str:
            tests = coverage.of(mutant)
            seconds = _PATIENCE_SECONDS + 10 * sum(coverage.seconds.get(one, 1) for one in tests)
            copy = copies.get()
            try:
                return copy.try_out(mutant, tests, seconds)
            finally:
                copies.put(copy)

        for mutant, result in zip(mutants, pool.map(attempt, mutants), strict=True):
            how = "noticed " if result else "SURVIVED"
            by = result or ("" if coverage.of(mutant) else "no test runs it")
            print(f"{how} {mutant}  ({by})" if by else f"{how} {mutant}", flush=True)  # noqa: T201
            yield result


if __name__ == "__main__":
    sys.exit(main())
