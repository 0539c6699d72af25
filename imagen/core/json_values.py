"""JSON from outside: parsed within limits of size, depth and count."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

MAX_BYTES = 64 * 1024**2
MAX_DEPTH = 100
MAX_VALUES = 1_000_000

_LARGEST_INTEGER = 2**64
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(
    text: str | bytes,
    *,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    max_values: int = MAX_VALUES,
    strict_numbers: bool = True,
) -> object:
    """Parse JSON that a file, a server or an image holds.

    Raises ValueError. Its message continues a sentence: "is not valid JSON: …", "is larger than
    64 MB", "is nested more than 100 levels deep". `max_values` counts commas and brackets, also
    those within strings.

    Lone surrogates, which no UTF-8 file can hold, become U+FFFD. With `strict_numbers`, NaN,
    infinities and integers beyond 64 bits are refused. ComfyUI's `/object_info` may hold such
    numbers as limits of inputs: Python's own encoder writes `Infinity`.
    """
    if len(text) > max_bytes:
        is_large = max_bytes >= 1024**2
        size = f"{max_bytes // 1024**2} MB" if is_large else f"{max_bytes // 1024} kB"
        raise ValueError(f"is larger than {size}")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError("is not UTF-8 text") from None
    if sum(map(text.count, ",[{")) > max_values:
        raise ValueError(f"holds more than {max_values:,} values")
    numbers = _StrictNumbers if strict_numbers else _AnyNumbers
    try:
        value: object = json.loads(
            text.removeprefix("\ufeff"),
            parse_int=numbers.integer,
            parse_float=numbers.fraction,
            parse_constant=numbers.constant,
        )
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        raise ValueError(f"is not valid JSON: {exc.msg} at {place}") from None
    except RecursionError:
        raise ValueError(f"is nested more than {max_depth} levels deep") from None
    _check_depth(value, max_depth)
    if _ESCAPED_SURROGATE.search(text) or _SURROGATE.search(text):
        return _replace_surrogates(value)
    return value


class _AnyNumbers:
    @staticmethod
    def integer(digits: str) -> int | float:
        """As JavaScript reads it: a number of many digits is a float."""
        return int(digits) if len(digits) <= 40 else float(digits)

    fraction = float
    constant = float


class _StrictNumbers:
    @staticmethod
    def integer(digits: str) -> int:
        if len(digits) > 21 or abs(number := int(digits)) > _LARGEST_INTEGER:
            raise ValueError(f"holds the number {digits[:20]}…, which is too large")
        return number

    @staticmethod
    def fraction(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise ValueError(f"holds the number {digits[:20]}, which is too large")
        return number

    @staticmethod
    def constant(name: str) -> NoReturn:
        raise ValueError(f"holds {name}, which JSON has no number for")


def _check_depth(value: object, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth):
        level = [
            child
            for parent in level
            for child in (
                parent.values()
                if isinstance(parent, dict)
                else parent
                if isinstance(parent, list)
                else ()
            )
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"is nested more than {max_depth} levels deep")


def _replace_surrogates(value: object) -> object:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {
            _SURROGATE.sub("\ufffd", key): _replace_surrogates(item) for key, item in value.items()
        }
    return value


def json_safe(value: object, *, keep_nul: bool = True) -> Any:
    """The value as JSON that a database takes: no NaN, infinity or lone surrogate.

    PostgreSQL's `jsonb` takes no NUL either: leave it out with `keep_nul=False`.
    """
    if isinstance(value, str):
        text = value if value.isascii() else _SURROGATE.sub("\ufffd", value)
        return text if keep_nul else text.replace("\0", "")
    if isinstance(value, Mapping):
        return {
            json_safe(str(key), keep_nul=keep_nul): json_safe(item, keep_nul=keep_nul)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [json_safe(item, keep_nul=keep_nul) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_mapping(value: object) -> dict[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def as_time(value: object) -> datetime | None:
    """The value if it is an ISO 8601 time, in UTC (assumed where it names no zone), else None."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
