"""A YAML file as read: its values, and on which line each key stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import Reader

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without libyaml: slower, the same otherwise
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

from imagen.errors import ConfigError
from imagen.invalid import Problem
from imagen.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from imagen.invalid import Path as KeyPath

_DEEPEST = 60
_TOO_DEEP_FOR_LIBYAML = "exceeded maximum nesting depth"
"""What newer libyaml says of more than a thousand levels, before it gives us a single event."""
_SMALL = 1000
"""What is no longer can't nest deeply enough to harm the parser."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a configuration file holds."""

    source: Path
    text: str
    values: dict[str, Any]

    def line(self, path: KeyPath) -> int | None:
        """The line on which the key at `path`, or the nearest one above it, stands."""
        node, line = yaml.compose(self.text, Loader=_Loader), None
        for part in path:
            key, node = _step(node, part)
            if key is None:
                return line
            line = key.start_mark.line + 1
        return line


def read(source: Path) -> Document:
    """The document of this file.

    Raises ConfigError, with line and column, for what is no YAML mapping of text keys.
    """
    text = _text(source)
    too_deep = _problem(source, f"is nested in itself, or more than {_DEEPEST} levels deep")
    try:
        if len(text) > _SMALL and _too_deep_to_parse(text):
            raise too_deep
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        if error.problem == _TOO_DEEP_FOR_LIBYAML:
            raise too_deep from error
        raise _refused(source, text, error) from error
    except yaml.reader.ReaderError as error:
        raise _unprintable(source, text) from error
    if not isinstance(values, dict | None):
        what = "must hold keys and values, such as `backend: mock`"
        raise _problem(source, f"{what}, not {_NAMES.get(type(values), 'a single value')}")
    if _too_deep(values, _DEEPEST):
        raise too_deep
    return Document(source, text, values or {})


_NAMES = {list: "a list", str: "a text", int: "a number", float: "a number"}


class _Loader(_Base):
    """Safe, and strict where YAML is lax: keys are texts, and none stands twice."""

    # A date is nothing that a setting can be, and 2024-13-01 would end in a ValueError.
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Comes before every mapping is made, and before `<<` mixes others into it."""
        if id(node) not in self._checked:
            self._checked.add(id(node))
            _check_keys(node)
        super().flatten_mapping(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            # What PyYAML lets through for `!!int x`, `!!bool x`, a number of 5000 digits, …
            raise _fault(node, "this value does not fit its type") from error


_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if key.tag not in (_TEXT, _MERGE):
            raise _fault(key, f"{_written(key)} is not a text; put it in quotes")
        if key.value in lines:
            first = lines[key.value]
            raise _fault(key, f"{_written(key)} stands here and on line {first}; keep one")
        lines[key.value] = key.start_mark.line + 1


def _fault(node: yaml.Node, what: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _written(key: yaml.Node) -> str:
    shown = isinstance(key.value, str)
    return f"the key {one_line(key.value, limit=60)!r}" if shown else "this key"


def _step(node: Any, part: str | int) -> tuple[Any, Any]:
    """The node of this key, and that of its value."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next(((key, value) for key, value in pairs if key.value == part), (None, None))


def _text(source: Path) -> str:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise ConfigError(f"{source} can't be read: {error.strerror}.") from error
    # PowerShell's `>` writes UTF-16, and `imagen config init > imagen.yaml` is the first use.
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
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
    return _problem(source, one_line(what), line, column)


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


def _too_deep(value: Any, left: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return left == 0 or any(_too_deep(item, left - 1) for item in inner)


def _too_deep_to_parse(text: str) -> bool:
    """Whether libyaml, which recurses, would end the process; its events don't recurse."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            return True
    return False
