"""YAML that a person wrote, parsed within limits of depth, number and length."""

from __future__ import annotations

from typing import Any

import yaml

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without libyaml: slower, the same otherwise
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

MAX_DEPTH = 60
MAX_VALUES = 100_000
MAX_NUMBER = 100
"""The most characters of a number: parsing a very long integer takes Python very long."""
_TEXT_UNIT = 64
"""This many characters of text count as one more value: aliases can repeat long texts."""

_TOO_DEEP = f"is nested in itself, or more than {MAX_DEPTH} levels deep"
_TOO_DEEP_FOR_LIBYAML = "exceeded maximum nesting depth"
"""The message of newer libyaml versions for more than a thousand levels."""
_SMALL = 1000
"""A shorter text cannot be nested deeply enough to harm the parser."""
_TAGS = {"str", "int", "float", "bool", "null", "seq", "map", "merge"}
_OF_YAML = "tag:yaml.org,2002:"


class Loader(_Base):
    """A safe loader with the types of JSON: a date is text."""

    # PyYAML recognises the type `=` of YAML 1.1, but cannot construct it.
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [
            (tag, regexp) for tag, regexp in resolvers if not tag.endswith((":timestamp", ":value"))
        ]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names, each key once: nested merges would grow exponentially."""
        super().flatten_mapping(node)
        pairs = {
            key.value if _is_scalar(key) else id(key): (key, value) for key, value in node.value
        }
        node.value = list(pairs.values())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.removeprefix(_OF_YAML)
        if (
            node.tag.startswith(_OF_YAML)
            and kind not in _TAGS
            and ":" not in kind
            and "/" not in kind
        ):
            raise fault(node, f"!!{kind} is not supported; write the value as text")
        if kind in ("int", "float") and _is_scalar(node) and len(node.value) > MAX_NUMBER:
            raise fault(node, f"this number is longer than {MAX_NUMBER} characters")
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            # PyYAML raises these for `!!int x`, `!!bool x`, …
            raise fault(node, "this value does not fit its type") from error


def parse_yaml(text: str, loader: type[Loader] = Loader) -> object:
    """Parse one document.

    Raises yaml.YAMLError, and ValueError with the end of a sentence: "contains more than 100,000
    values with its aliases expanded".
    """
    try:
        if len(text) > _SMALL and _too_deep_to_parse(text, loader):
            raise ValueError(_TOO_DEEP)
        value: object = yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        if error.problem == _TOO_DEEP_FOR_LIBYAML:
            raise ValueError(_TOO_DEEP) from error
        raise
    _measured(value, 0, {})
    return value


def fault(node: yaml.Node, what: str) -> yaml.constructor.ConstructorError:
    """An error at the place of a node."""
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _measured(value: object, depth: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The depth of a value, and how many values it contains with its aliases expanded."""
    if not isinstance(value, dict | list):
        return 0, 1 + (len(value) // _TEXT_UNIT if isinstance(value, str) else 0)
    height, size = known.get(id(value), (0, 0))
    if depth + height >= MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    if size:
        return height, size
    for inner in value.values() if isinstance(value, dict) else value:
        inner_height, inner_size = _measured(inner, depth + 1, known)
        height, size = max(height, inner_height), size + inner_size
        if size > MAX_VALUES:
            raise ValueError(f"contains more than {MAX_VALUES:,} values with its aliases expanded")
    known[id(value)] = height + 1, size + 1
    return height + 1, size + 1


def _too_deep_to_parse(text: str, loader: type[Loader]) -> bool:
    """Whether libyaml, which recurses, would crash the process; its events do not recurse."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return True
    return False
