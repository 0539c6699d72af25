"""The axes of a comparison on the command line: `steps=4..12/4`, `prompt=@file`, `{a=1,b=2},…`."""

from __future__ import annotations

import csv
import os
import re
from decimal import Decimal
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.core.typed_values import TEXT_PARAMETERS, parse_scalar, require_json
from imagen.errors import RequestError

if TYPE_CHECKING:
    from imagen.comparison.axes import Axis

_TEXT_NAMES = TEXT_PARAMETERS | {"size", "lora", "backend"}
_NUMBER = r"\s*([+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15}))\s*"
_RANGE = re.compile(rf"{_NUMBER}\.\.{_NUMBER}(?:/{_NUMBER})?")
_RANGE_LIKE = re.compile(r"[+-]?[\d.]*\d\.\..*")
_FIELD = re.compile(r'(?:"[^"]*"|[^",])+')
_GROUP = re.compile(r'\s*\{((?:"[^"]*"|[^"{}])*)\}\s*(,|$)')


def parse_axis(text: str, option: str = "--vary") -> Axis:
    """An axis: one parameter and its values, or groups of parameters that change together.

    A value is a text, a number or a range; one with commas is in double quotes. `name=@file` has
    a value in each line of the file. Raises RequestError.
    """
    from imagen.batch.prompt_files import read_prompts
    from imagen.comparison.axes import Axis

    if text.lstrip().startswith("{"):
        return _parse_groups(text, option)
    name, equals, rest = text.partition("=")
    name = name.strip()
    if rest.startswith("@") and not rest.startswith("@@"):
        fields = read_prompts(os.path.expanduser(rest[1:]))
    else:
        try:
            fields = next(csv.reader([rest], skipinitialspace=True, strict=True), [])
        except csv.Error:
            fields = []  # an unclosed quote
        fields = [field.removeprefix("@") if n == 0 else field for n, field in enumerate(fields)]
    if not equals or not name or not fields:
        raise RequestError(
            f"{option} {text!r} is not an axis. Write it as name=value1,value2, as "
            "name=first..last/step, or as '{name1=value,name2=value},{…}'."
        )
    values: list[object] = []
    for field in fields:
        numbers = _parse_range(field.strip(), name, option)
        texts = [field] if numbers is None else numbers
        values += [_parse_value(name, one, option) for one in texts]
    return Axis(name=name, values=tuple({repr(value): value for value in values}.values()))


def _parse_value(name: str, text: str, option: str) -> object:
    if name == "lora":
        return os.path.expanduser(text.strip())
    if name in _TEXT_NAMES:
        return text
    return require_json(f"{option} {name}", parse_scalar(text.strip()))


def _parse_range(text: str, name: str, option: str) -> list[str] | None:
    """`4..12/4` as 4, 8 and 12, exact in decimals; None if it is not a range."""
    from imagen.comparison.axes import MOST_CELLS

    if not _RANGE_LIKE.fullmatch(text) or (name in _TEXT_NAMES and name != "size"):
        return None
    match = _RANGE.fullmatch(text)
    width = abs(Decimal(match[3] or "1")) if match else Decimal(0)
    if match is None or width == 0:
        raise RequestError(
            f"{option} {name}: {one_line(text, limit=60)!r} is not a range. Write it as "
            "first..last or first..last/step, such as 4..12/4; the step is above 0."
        )
    first, end = Decimal(match[1]), Decimal(match[2])
    count = int(abs(end - first) / width) + 1
    if count > MOST_CELLS:
        raise RequestError(
            f"{option} {name}: {one_line(text, limit=60)!r} has {count:,} values; at most "
            f"{MOST_CELLS:,} are possible.",
            remedy="Use a larger step.",
        )
    width = width if end >= first else -width
    return [f"{(first + number * width).normalize():f}" for number in range(count)]


def _parse_groups(text: str, option: str) -> Axis:
    """`{size=512x512,steps=4},{size=1024x1024,steps=8}`: each group is one value."""
    from imagen.comparison.axes import Axis

    wrong = RequestError(
        f"{option} {text!r} is not an axis of parameters that change together. Write it in quotes, "
        "as '{size=512x512,steps=4},{size=1024x1024,steps=8}'."
    )
    groups: list[dict[str, object]] = []
    at, end = 0, ","
    while end == ",":
        match = _GROUP.match(text, at)
        if match is None:
            raise wrong
        group: dict[str, object] = {}
        for field in _FIELD.findall(match[1]):
            name, equals, value = field.strip().partition("=")
            name = name.strip()
            if not equals or not name or name in group or "+" in name:
                raise wrong
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1].replace('""', '"')
            group[name] = _parse_value(name, value, option)
        groups.append(group)
        at, end = match.end(), match[2]
    first = [*groups[0]]
    for number, group in enumerate(groups, start=1):
        if {*group} != {*first} or len(first) < 2:
            raise RequestError(
                f"{option}: group {number} sets {' and '.join(group) or 'nothing'}, and each group "
                f"must set the same parameters, at least two: {' and '.join(first)}."
            )
    values = {repr(group): group for group in ({name: g[name] for name in first} for g in groups)}
    return Axis(name="+".join(first), values=tuple(values.values()))
