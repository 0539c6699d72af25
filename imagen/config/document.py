"""A YAML file as read: its values, and on which line each key stands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import Reader

from imagen.config.places import BACKSLASH
from imagen.errors import ConfigError
from imagen.filesystem import read_at_most
from imagen.invalid import Problem
from imagen.text import decode_text, one_line
from imagen.yaml_values import Loader, fault, parse_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.invalid import Path as KeyPath

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


def read(source: Path) -> Document:
    """The document of this file.

    Raises ConfigError, with line and column, for what is no YAML mapping of text keys.
    """
    text = _text(source)
    try:
        values = parse_yaml(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise _refused(source, text, error) from error
    except yaml.reader.ReaderError as error:
        raise _unprintable(source, text) from error
    except ValueError as error:
        raise _problem(source, str(error)) from error
    if not isinstance(values, dict | None):
        what = "must hold keys and values, such as `backend: mock`"
        raise _problem(source, f"{what}, not {_NAMES.get(type(values), 'a single value')}")
    return Document(source, text, values or {})


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


def _text(source: Path) -> str:
    try:
        data = read_at_most(source, _LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{source} can't be read: {error.strerror}.") from error
    if len(data) > _LARGEST:
        raise ConfigError(f"{source} is larger than {_LARGEST >> 20} MB: not a configuration.")
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
