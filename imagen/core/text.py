"""Text for people: safe for a terminal, short, and with suggestions for misspelt words."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEPT = {"\n", "\t"}
_UNSAFE = {"Cc", "Cf", "Cs"}
_LONGEST_NAME = 64
_LONG_WORD, _LONG_LINE = re.compile(r"(?<!\S)\S{501,}"), re.compile(r"(?<!.).{2001,}")
_MOST_LETTERS = 200
"""Letters that are compared, of a long name."""
_MOST_ERRORS, _SHORTEST_WORD, _SHORTEST_PART = 3, 3, 4
"""Shorter words are similar to too many others."""
_MOST_BLANKS = 100
"""Characters that are read for each one that is kept: most of a text may be blanks."""
# Joiners and directional marks that ordinary text needs, without the overriding ones.
_WRITING = {"\u200c", "\u200d", "\u200e", "\u200f"}


def printable(text: str) -> str:
    """The text without control characters, which could steer the terminal that shows it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        for character in text
        if character in _KEPT
        or character in _WRITING
        or unicodedata.category(character) not in _UNSAFE
    )


def one_line(text: str, *, limit: int = 200) -> str:
    """The text without control characters, on one line, at most `limit` characters long."""
    begin = text[: limit * _MOST_BLANKS]  # a server may send many megabytes
    line = " ".join(printable(begin).split())
    is_whole = len(begin) == len(text) and len(line) <= limit
    return line if is_whole else line[: limit - 1] + "…"


def shorten_words(text: str) -> str:
    """The text without the middle of very long words and lines, such as names of files."""

    def shorten(match: re.Match[str]) -> str:
        return f"{match[0][:250]}…{match[0][-250:]}"

    return _LONG_LINE.sub(shorten, _LONG_WORD.sub(shorten, text))


def decode_text(data: bytes) -> str:
    """Decode a file that a person wrote: UTF-8, or UTF-16 with a byte order mark.

    PowerShell's `>` and Notepad write UTF-16. Raises UnicodeDecodeError.
    """
    is_utf_16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return data.decode("utf-16" if is_utf_16 else "utf-8-sig")


def encode_like(text: str, data: bytes) -> bytes:
    """Encode text like `data`, which `decode_text` has decoded, with its byte order mark."""
    if data[:2] == b"\xfe\xff":
        return data[:2] + text.encode("utf-16-be")
    if data[:2] == b"\xff\xfe":
        return data[:2] + text.encode("utf-16-le")
    return text.encode("utf-8-sig" if data[:3] == b"\xef\xbb\xbf" else "utf-8")


def is_variable_name(text: str) -> bool:
    """Whether this may be the name of an environment variable, such as `STUDIO_TOKEN`.

    Stricter than operating systems are: the text may be the secret itself.
    """
    return len(text) <= _LONGEST_NAME and text.isupper() and text.isascii() and text.isidentifier()


def bare_address(url: str) -> str:
    """Scheme and host of a URL, `https://example.org`, without parts that may be secret."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def format_duration(seconds: float) -> str:
    """`0.04 s`, `2.6 s`, `2 min 5 s`."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    return f"{round(seconds) // 60} min {round(seconds) % 60} s"


def format_usd(usd: float) -> str:
    """`$1.25`, `$0.003`: at least two decimals, at most five."""
    if 0 < usd < 0.000_01:
        return "less than $0.00001"
    whole, _, parts = f"{usd:.5f}".rstrip("0").partition(".")
    return f"${whole}.{parts:0<2}" if usd < 1 else f"${usd:.2f}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'euler'?`, or "" if no known word is similar."""
    near = nearest(word, known)
    return f" Did you mean {near!r}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, in spite of a typing error or a missing part."""
    distances = ((word_distance(word, name), number, name) for number, name in enumerate(known))
    ranked = [one for one in distances if one[0] is not None]
    return min(ranked)[2] if ranked else None


def word_distance(word: str, name: str) -> int | None:
    """How different two names are; None if they are too different to be confused.

    Case, `_`, `-` and spaces are ignored. A short word may have few typing errors; beyond these,
    one must begin with the other, or consist of words of the other.
    """
    mine, theirs = _words(word), _words(name)
    if mine and theirs and mine[-1] == theirs[-1] and "." in word and "." in name:
        mine, theirs = mine[:-1], theirs[:-1]  # a common file ending does not count
    short, long = sorted(("".join(mine), "".join(theirs)), key=len)
    length = len(short)
    most = 0 if length < _SHORTEST_WORD else 1 if length < 7 else 2 if length < 11 else _MOST_ERRORS
    errors = _count_errors(short, long, most=most)
    if errors is not None:
        return errors
    beyond = _MOST_ERRORS + len(long) - len(short)
    if len(short) >= _SHORTEST_PART and long.startswith(short):
        return beyond
    parts = ({*mine} <= {*theirs} or {*theirs} <= {*mine}) and len(short) >= _SHORTEST_WORD
    return beyond + _MOST_LETTERS if parts else None


def _words(name: str) -> list[str]:
    plain = name[:_MOST_LETTERS].lower().replace("++", "pp")
    return [word for word in re.split(r"[^\w+]|_", plain) if word]


def _count_errors(short: str, long: str, *, most: int) -> int | None:
    """How many letters are missing, added, wrong or swapped; None if more than `most`.

    In a short word a wrong letter makes another word: `last` and `list`, `date` and `rate`.
    """
    begins_alike = short[:1] == long[:1] or short[:2] == long[1::-1]
    if len(long) - len(short) > most or (len(short) < 6 and not begins_alike):
        return None
    wrong = 2 if len(short) < 5 else 1
    before: list[int] = []
    row = list(range(len(long) + 1))
    for i, letter in enumerate(short):
        earlier, before, row = before, row, [i + 1]
        for j, other in enumerate(long):
            least = min(before[j + 1] + 1, row[j] + 1, before[j] + wrong * (letter != other))
            if i and j and letter == long[j - 1] and short[i - 1] == other:
                least = min(least, earlier[j - 1] + 1)
            row.append(least)
    return row[-1] if row[-1] <= most else None
