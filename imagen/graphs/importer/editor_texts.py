"""Texts as the editor sends them: without comments, choices drawn, placeholders filled in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_PLACEHOLDER = re.compile(r"%([^%]+)%")
_DATE_PART = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyy?y?")
_LINE_END = re.compile(r"[\n\r\u2028\u2029]")
_NOT_IN_NAMES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


def strip_comments(text: str) -> str:
    """Take `/* … */` and `// …` out of a text."""
    kept: list[str] = []
    at = 0
    while at < len(text):
        line, block = text.find("//", at), text.find("/*", at)
        end = text.find("*/", block + 2) if block >= 0 else -1
        if end >= 0 and not 0 <= line < block:
            kept.append(text[at:block])
            at = end + 2
        elif line >= 0:
            kept.append(text[at:line])
            found = _LINE_END.search(text, line)
            at = found.start() if found else len(text)
        else:
            break
    return "".join([*kept, text[at:]])


def draw_choices(text: str) -> tuple[str, int]:
    """The text with the first of each `{a|b}`, and how many choices it had.

    The editor draws one at random for each run; an imported workflow has one default, and the first
    is the draw that anybody can repeat. `\\{`, `\\|` and `\\}` become the character itself.
    """
    written: list[str] = []
    options: list[int] = []  # for each open brace the number of the option that is being read
    choices = skipping = at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "\\" and at < len(text):
            character = text[at] if text[at] in "{|}" else text[at - 1 : at + 1]
            at += 1
        elif character == "{":
            options.append(0)
            choices += 1
            continue
        elif character == "}" and options:
            skipping -= options.pop() > 0
            continue
        elif character == "|" and options:
            options[-1] += 1
            skipping += options[-1] == 1
            continue
        if not skipping:
            written.append(character)
    return "".join(written), choices


def fill_placeholders(text: str, find_widget: Callable[[str, str], object], now: datetime) -> str:
    """Fill in `%date:yyyy-MM-dd%` and `%Node.widget%`, and leave what the server fills in.

    `find_widget` gives the value of a node's widget, and raises LookupError where there is none.
    """

    def replacement(match: re.Match[str]) -> str:
        node, *widgets = match[1].split(".")
        if len(widgets) != 1:
            return format_date(node[5:], now) if node.startswith("date:") else match[0]
        try:
            value = find_widget(node, widgets[0])
        except LookupError:
            return match[0]
        return _NOT_IN_NAMES.sub("_", _as_text(value))

    return _PLACEHOLDER.sub(replacement, text)


def format_date(pattern: str, now: datetime) -> str:
    """`yyyy-MM-dd` and the like, filled in; other letters stay."""
    numbers = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def part(match: re.Match[str]) -> str:
        letters = match[0]
        if letters[0] != "y":
            return str(numbers[letters[0]]).zfill(len(letters))
        return {2: f"{now.year:04}"[2:], 4: str(now.year)}.get(len(letters), letters)

    return _DATE_PART.sub(part, pattern)


def _as_text(value: object) -> str:
    """A value as JavaScript writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole and isinstance(value, float) else value)
