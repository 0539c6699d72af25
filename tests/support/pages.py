"""The documentation: its code blocks, headings and links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^( *)```(\S+)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    about: str
    """The rest of the info string: `file=NAME`, or a word."""
    text: str

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The name of the file, if the block is a complete one."""
        return self.about.removeprefix("file=") if self.about.startswith("file=") else ""


def blocks(language: str) -> list[Block]:
    """Every block of a language, on every page."""
    return [block for page in PAGES for block in _blocks(page) if block.language == language]


def commands() -> list[tuple[str, list[str]]]:
    """Every line of a shell block that begins with `imagen`: its place, and its words."""
    return [
        (f"{block.id} {line}", _words(line))
        for block in blocks("sh")
        for line in block.text.splitlines()
        if "imagen " in line and not line.startswith(("python", "_IMAGEN", "eval"))
    ]


def section(page: str, heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found is not None, f"{page} has no heading {heading!r}"
    level = len(found[1])
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{level}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def links() -> list[tuple[str, Path, str]]:
    """Every link within the project: its page, the file, and the anchor."""
    return [
        (f"{page.name} {target}", _file(page, target), target.partition("#")[2])
        for page in PAGES
        for target in dict.fromkeys(_LINK.findall(_prose(page)))
        if "://" not in target
    ]


def anchors(page: Path) -> set[str]:
    """The anchors of a page, as GitHub builds them."""
    return {_anchor(heading) for heading in _HEADING.findall(_prose(page))}


def messages() -> list[str]:
    """What connect-comfyui.md says that imagen prints: each piece between the variable parts."""
    rows = section("docs/how-to/connect-comfyui.md", "When something is wrong").splitlines()
    first_cells = [row.split("|")[1] for row in rows if row.startswith("| ")][2:]
    quoted = chain.from_iterable(re.findall(r"`([^`]+)`", cell) for cell in first_cells)
    pieces = chain.from_iterable(text.split("…") for text in quoted)
    return sorted({piece.strip() for piece in pieces if len(piece.strip()) > 5})


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        indent, language, about, body = found.groups()
        line = text.count("\n", 0, found.start()) + 1
        plain = re.sub(rf"(?m)^{indent}", "", body)
        yield Block(page.name, line, language, about.strip(), plain)


def _words(line: str) -> list[str]:
    """The words after `imagen`, up to a redirection or a pipe."""
    _, _, rest = line.partition("imagen ")
    words = shlex.split(rest, comments=True)
    return words[: next((i for i, word in enumerate(words) if word in (">", "|", "&&")), None)]


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _file(page: Path, target: str) -> Path:
    name = target.partition("#")[0]
    return (page.parent / name).resolve() if name else page


def _anchor(heading: str) -> str:
    text = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def accept_command(words: list[str]) -> None:
    """Parse a command of imagen as the command line does."""
    import click

    from imagen.cli import cli

    parent = click.Context(cli, help_option_names=["-h", "--help"])
    command = cli.get_command(parent, words[0])
    assert command is not None, words
    command.make_context(words[0], words[1:], parent=parent)
