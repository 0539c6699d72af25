"""A YAML file: its values, the line of each key, and its text with backends added."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import Reader

from imagen.config.paths import BACKSLASH
from imagen.config.write import format_yaml
from imagen.core.filesystem import read_at_most
from imagen.core.text import decode_text, one_line
from imagen.core.validation import Problem
from imagen.core.yaml_values import Loader, fault, parse_yaml
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagen.core.validation import Path as KeyPath

_LARGEST = 2**20
_ESCAPES = ("escape", "hexdecimal")
"""Words, spelled as libyaml spells them, in what it says of a backslash in double quotes."""


_Pair = tuple[yaml.Node | None, yaml.Node | None]


@dataclass(frozen=True)
class Document:
    """What a configuration file holds."""

    source: Path
    text: str
    values: dict[str, Any]

    def line(self, path: KeyPath) -> int | None:
        """The line on which the key at `path`, or the nearest one above it, stands."""
        node, line = self._node, None
        for part in path:
            key, node = self._step(node, part)
            if key is None:
                return line
            line = key.start_mark.line + 1
        return line

    @property
    def backends(self) -> dict[str, Any]:
        """The blocks of the backends; none where the key is missing or empty."""
        blocks = self.values.get("backends")
        return blocks if isinstance(blocks, dict) else {}

    @cached_property
    def _node(self) -> yaml.Node | None:
        return yaml.compose(self.text, Loader=_Loader)

    @cached_property
    def _keys(self) -> dict[int, dict[str, tuple[yaml.Node, yaml.Node]]]:
        """The keys of each mapping that was looked into."""
        return {}

    def _step(self, node: yaml.Node | None, part: str | int) -> _Pair:
        """The node of this key, and that of its value."""
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            return (node.value[part], node.value[part]) if part < len(node.value) else (None, None)
        if not isinstance(node, yaml.MappingNode):
            return None, None
        if id(node) not in self._keys:
            self._keys[id(node)] = {key.value: (key, value) for key, value in node.value}
        return self._keys[id(node)].get(str(part), (None, None))


def read_bytes(source: Path) -> bytes:
    """The file's content; raises ConfigError where it can't be read or is too large."""
    try:
        data = read_at_most(source, _LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{source} can't be read: {error.strerror}.") from error
    if len(data) > _LARGEST:
        raise ConfigError(f"{source} is larger than {_LARGEST >> 20} MB: not a configuration.")
    return data


def read(source: Path) -> Document:
    """The document of this file; raises ConfigError as `read_bytes` and `parse` do."""
    return parse(source, read_bytes(source))


def parse(source: Path, data: bytes) -> Document:
    """The document of a file with this content.

    Raises ConfigError, with line and column, where it is not a YAML mapping of text keys.
    """
    text = _text(source, data)
    try:
        values = parse_yaml(text, _Loader) if text.strip() else {}  # YAML refuses a tab alone
    except yaml.MarkedYAMLError as error:
        raise _refused(source, text, error) from error
    except yaml.reader.ReaderError as error:
        raise _unprintable(source, text) from error
    except ValueError as error:
        raise _problem(source, str(error)) from error
    if not isinstance(values, dict | None):
        what = "must hold keys and values, such as `default_backend: mock`"
        raise _problem(source, f"{what}, not {_NAMES.get(type(values), 'a single value')}")
    return Document(source, text, values or {})


def insert_backends(document: Document, new: Mapping[str, Any]) -> str:
    """The document's text with these blocks below its own backends, and nothing else changed.

    Raises ConfigError where that can't be done.
    """
    text = _inserted(document, new)
    try:
        values = parse(document.source, text.encode()).values
    except ConfigError:
        values = {}
    if values != document.values | {"backends": {**document.backends, **new}}:
        lines = "\n".join(f"  {line}" for line in format_yaml(new))
        raise ConfigError(
            f"{document.source} can't take new backends without a change to other settings, "
            "and is left as it is.",
            remedy=f"Add this to `backends` in it by hand:\n{lines}",
        )
    return text


def _inserted(document: Document, new: Mapping[str, Any]) -> str:
    """The text with these blocks in it; whether it still means the same is not checked."""
    text, root = document.text, document._node
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    at = next((i for i, (key, _) in enumerate(pairs) if key.value == "backends"), None)
    mapping = root if at is None else pairs[at][1]
    values = {"backends": new} if at is None else new
    if isinstance(mapping, yaml.MappingNode) and mapping.flow_style:  # {a: {type: mock}}
        start = mapping.start_mark.index + 1
        inner = json.dumps(values, ensure_ascii=False)[1:-1]
        return f"{text[:start]}{inner}{', ' if mapping.value else ''}{text[start:]}"
    end, column = len(text), 0
    if at is not None:
        column = pairs[at][0].start_mark.column + 2
        if isinstance(mapping, yaml.MappingNode):
            column = mapping.start_mark.column
        following = [key.start_mark for key, _ in pairs[at + 1 :]]
        end = min((mark.index - mark.column for mark in following), default=end)
    before = text[:end].splitlines(keepends=True)
    while before and not _belongs(before[-1], column):
        before.pop()
    head = "".join(before)
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = [" " * column + line + line_end for line in format_yaml(values)]
    gap = "" if head.endswith("\n") or not head else line_end
    return head + gap + line_end * (at is None) + "".join(lines) + text[len(head) :]


def _belongs(line: str, column: int) -> bool:
    """Whether this line is part of the mapping at this column, or a comment within it."""
    indent = len(line) - len(line.lstrip())
    return bool(line.strip()) and (line[indent] != "#" or indent >= column)


_NAMES = {list: "a list", str: "a text", int: "a number", float: "a number"}


class _Loader(Loader):
    """Strict where YAML is lax: keys are texts, and none stands twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Comes before every mapping is made, and before `<<` mixes others into it."""
        if id(node) not in self._checked:
            self._checked.add(id(node))
            _check_keys(node)
        super().flatten_mapping(node)


_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if key.tag not in (_TEXT, _MERGE):
            raise fault(key, f"{_written(key)} is not a text; put it in quotes")
        if key.value in lines:
            first = lines[key.value]
            raise fault(key, f"{_written(key)} stands here and on line {first}; keep one")
        lines[key.value] = key.start_mark.line + 1


def _written(key: yaml.Node) -> str:
    shown = isinstance(key.value, str)
    return f"the key {one_line(key.value, limit=60)!r}" if shown else "this key"


def _text(source: Path, data: bytes) -> str:
    try:
        return decode_text(data)
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = error.start - before.rfind(b"\n")
        raise _problem(
            source, "this is not UTF-8 text", before.count(b"\n") + 1, column, "Save it as UTF-8."
        ) from error


def _refused(source: Path, text: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return _problem(source, str(error.problem))
    line, column = mark.line + 1, mark.column + 1
    if _character(text, mark) == "\t":
        return _problem(source, "a tab stands where YAML takes spaces only", line, column)
    what = ", ".join(part for part in (_context(error, line), error.problem) if part)
    remedy = BACKSLASH if any(word in (error.problem or "") for word in _ESCAPES) else ""
    return _problem(source, one_line(what), line, column, remedy)


def _context(error: yaml.MarkedYAMLError, line: int) -> str:
    """`while parsing a flow sequence begun on line 3`."""
    began = error.context_mark.line + 1 if error.context_mark else line
    return f"{error.context} begun on line {began}" if began != line else error.context or ""


def _character(text: str, mark: yaml.Mark) -> str:
    lines = text.split("\n")
    return lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""


def _unprintable(source: Path, text: str) -> ConfigError:
    match = Reader.NON_PRINTABLE.search(text)
    if match is None:
        return _problem(source, "holds a character that YAML does not allow")
    before = text[: match.start()]
    what = f"the character U+{ord(match[0]):04X} is not allowed in YAML"
    return _problem(source, what, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _problem(
    source: Path, what: str, line: int | None = None, column: int = 0, remedy: str = ""
) -> ConfigError:
    where = "" if line is None else f"line {line}, column {column}: "
    message = f"{source}, {where}{what}." if where else f"{source} {what}."
    found = Problem((), f"{f'column {column}: ' if column else ''}{what}", remedy, line)
    return ConfigError(message, remedy=remedy, problems=[found])
