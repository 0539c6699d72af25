"""A configuration file as YAML: strict values, and the line of each key.

ruamel.yaml would find duplicate keys and lines by itself. But the limits on depth and aliases, the
translation of its errors, and the insertion of text that changes nothing else would remain, and it
reads a file ten times slower than libyaml.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import Reader

from imagen.config.paths import BACKSLASH_REMEDY
from imagen.core.filesystem import read_at_most
from imagen.core.text import decode_text, one_line
from imagen.core.validation import Problem
from imagen.core.yaml_values import Loader, fault, parse_yaml
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.core.validation import Path as KeyPath

_MAX_BYTES = 2**20
_ESCAPE_WORDS = ("escape", "hexdecimal")
"""Words, as libyaml spells them, in its errors about a backslash in double quotes."""
_TYPE_NAMES = {list: "a list", str: "text", int: "a number", float: "a number"}
_TEXT_TAG, _MERGE_TAG = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class ConfigDocument:
    """The content of a configuration file."""

    source: Path
    text: str
    values: dict[str, Any]

    @cached_property
    def root(self) -> yaml.Node | None:
        """The syntax tree; None for an empty file."""
        return yaml.compose(self.text, Loader=_StrictLoader)

    @property
    def backends(self) -> dict[str, Any]:
        """The blocks of the backends."""
        blocks = self.values.get("backends")
        return blocks if isinstance(blocks, dict) else {}

    def line(self, path: KeyPath) -> int | None:
        """The line of the key at `path`, or of the nearest key above it."""
        node, line = self.root, None
        for part in path:
            key = None
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                key = node = node.value[part] if part < len(node.value) else None
            elif isinstance(node, yaml.MappingNode):
                if id(node) not in self._keys:
                    self._keys[id(node)] = {k.value: (k, value) for k, value in node.value}
                key, node = self._keys[id(node)].get(str(part), (None, None))
            if key is None:
                return line
            line = key.start_mark.line + 1
        return line

    @cached_property
    def _keys(self) -> dict[int, dict[str, tuple[yaml.Node, yaml.Node]]]:
        """The keys of each mapping that was searched: a file may have thousands of problems."""
        return {}


def read_bytes(source: Path) -> bytes:
    """The file's content. Raises ConfigError if it cannot be read or is too large."""
    try:
        data = read_at_most(source, _MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"Cannot read {source}: {error.strerror}.") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(
            f"{source} is not a configuration: it is larger than {_MAX_BYTES >> 20} MB."
        )
    return data


def read(source: Path) -> ConfigDocument:
    """The document in this file. Raises ConfigError as `read_bytes` and `parse` do."""
    return parse(source, read_bytes(source))


def parse(source: Path, data: bytes) -> ConfigDocument:
    """The document of a file with this content.

    Raises ConfigError, with line and column, if it is not a YAML mapping whose keys are texts.
    """
    try:
        text = decode_text(data)
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise _error(source, "this is not UTF-8 text", *place, "Save it as UTF-8.") from error
    try:
        values = parse_yaml(text, _StrictLoader) if text.strip() else {}  # YAML refuses a lone tab
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(source, text, error) from error
    except yaml.reader.ReaderError as error:
        match = Reader.NON_PRINTABLE.search(text)
        if match is None:
            what = "contains a character that YAML does not allow"
            raise _error(source, what) from error
        what = f"the character U+{ord(match[0]):04X} is not allowed in YAML"
        head = text[: match.start()]
        place = head.count("\n") + 1, len(head) - head.rfind("\n")
        raise _error(source, what, *place) from error
    except ValueError as error:
        raise _error(source, str(error)) from error
    if not isinstance(values, dict | None):
        kind = _TYPE_NAMES.get(type(values), "a single value")
        what = f"must contain keys and values, such as `default_backend: mock`, not {kind}"
        raise _error(source, what)
    return ConfigDocument(source, text, values or {})


class _StrictLoader(Loader):
    """Refuses keys that are not texts, and duplicate keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called for every mapping before it is built, and before `<<` merges others into it."""
        if id(node) not in self._checked:
            self._checked.add(id(node))
            lines: dict[str, int] = {}
            for key, _ in node.value:
                is_text = isinstance(key.value, str)
                name = f"the key {one_line(key.value, limit=60)!r}" if is_text else "this key"
                if key.tag not in (_TEXT_TAG, _MERGE_TAG):
                    raise fault(key, f"{name} is not text; put it in quotes")
                if key.value in lines:
                    first = lines[key.value]
                    raise fault(key, f"{name} is already on line {first}; keep one")
                lines[key.value] = key.start_mark.line + 1
        super().flatten_mapping(node)


def _syntax_error(source: Path, text: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return _error(source, str(error.problem))
    line, column = mark.line + 1, mark.column + 1
    lines = text.split("\n")
    if mark.line < len(lines) and lines[mark.line][mark.column : mark.column + 1] == "\t":
        return _error(source, "YAML allows spaces here, but not a tab", line, column)
    context = error.context or ""
    if error.context_mark and error.context_mark.line != mark.line:
        context += f" that starts on line {error.context_mark.line + 1}"
    what = ", ".join(part for part in (context, error.problem) if part)
    is_escape = any(word in (error.problem or "") for word in _ESCAPE_WORDS)
    return _error(source, one_line(what), line, column, BACKSLASH_REMEDY if is_escape else "")


def _error(
    source: Path, what: str, line: int | None = None, column: int = 0, remedy: str = ""
) -> ConfigError:
    place = "" if line is None else f"line {line}, column {column}: "
    message = f"{source}, {place}{what}." if place else f"{source} {what}."
    problem = Problem((), f"{f'column {column}: ' if column else ''}{what}", remedy, line)
    return ConfigError(message, remedy=remedy, problems=[problem])
