"""Measures of the source: size, helpers with one caller, `Any`, class names, phrases.

python tests/support/measures.py    prints the table
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "imagen"
PHRASES = (
    *(r"(?<![Tt]here )(?:is|are) no (?!longer\b|more\b)[a-z]+", r"(?<!there )is none\b"),
    *(
        r"(?:is|are|be|was) told(?! apart)",
        r"tells",
        r"[Nn]obody",
        r"mend(?:s|ed|ing)?",
        r"be rid of",
    ),
    *(r"did cost", r"what there is", r"of (?:ours|yours)", r"came to nothing"),
    r"(?:has|have) not (?!been\b|yet\b|[a-z]+(?:ed|en|wn|ne)\b)[a-z]+",
    *(r"[Pp]ictures?", r"likest", r"as it stands", r"in hand", r"makes nobody"),
    *(r"lies? (?:in|at|on|there|where)", r"stands? (?:in|at|where|there)"),
)
"""Words and turns that the language of the project does not use."""
_PHRASE = re.compile(rf"\b(?:{'|'.join(PHRASES)})")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file and its syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def functions(self) -> list[_Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, _Function)]

    @property
    def one_caller_helpers(self) -> list[str]:
        """Private functions that the module uses exactly once."""
        names = (node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name))
        attributes = (node.attr for node in ast.walk(self.tree) if isinstance(node, ast.Attribute))
        uses = Counter([*names, *attributes])
        private = [f.name for f in self.functions if re.match(r"_(?!_)", f.name)]
        return [name for name in private if uses[name] == 1]

    @property
    def any_count(self) -> int:
        """Uses of `Any` outside the import lines."""
        names = (node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name))
        return sum(name == "Any" for name in names)


def modules(folder: Path = PACKAGE) -> list[Module]:
    """Every module below a folder."""
    texts = ((path, path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py")))
    return [Module(path, text, ast.parse(text)) for path, text in texts]


def long_functions(limit: int) -> list[str]:
    """The functions of the package with more lines than this."""
    return [
        f"{module.name}:{function.name}"
        for module in modules()
        for function in module.functions
        if (function.end_lineno or 0) - function.lineno + 1 > limit
    ]


def duplicate_classes() -> dict[str, list[str]]:
    """Class names that the package defines more than once, with the modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module.name)
    return {name: found for name, found in places.items() if len(found) > 1}


def phrases(paths: list[Path]) -> Iterator[str]:
    """`path:line: phrase` for each phrase in the files that the project does not use."""
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.endswith("# in job files of earlier versions"):
                continue
            for found in _PHRASE.finditer(line):
                yield f"{path.relative_to(ROOT).as_posix()}:{number}: {found[0]}"


def main() -> None:
    """Print the table."""
    package = modules()
    functions = sum(len(module.functions) for module in package)
    helpers = sum(len(module.one_caller_helpers) for module in package)
    lines = sum(module.lines for module in package)
    uses_of_any = sum(module.any_count for module in package)
    rows = {
        "modules": str(len(package)),
        "lines": f"{lines:,}",
        "functions": f"{functions:,}",
        "private helpers with one caller": f"{helpers} ({100 * helpers / functions:.1f} %)",
        "functions over 60 lines": str(len(long_functions(60))),
        "modules over 700 lines": str(sum(module.lines > 700 for module in package)),
        "uses of Any per 1000 lines": f"{1000 * uses_of_any / lines:.1f}",
        "class names defined twice": str(len(duplicate_classes())),
        "phrases in the package": str(len(list(phrases([m.path for m in package])))),
    }
    for name, value in rows.items():
        print(f"{name:35}{value:>16}")  # noqa: T201


if __name__ == "__main__":
    main()
