"""Text for people: other people's words made safe for a terminal, and the nearest known word."""

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
"""Of a name that is compared with others."""
_MOST_SLIPS, _SHORTEST_WORD, _SHORTEST_PART = 3, 3, 4
"""Shorter words are like too many others."""
_MOST_BLANKS = 100
"""Characters that are read for each one of a line: most of a text may be blanks."""
# Joiners and directional marks that ordinary writing needs; the overriding ones are not among them.
_WRITING = {"\u200c", "\u200d", "\u200e", "\u200f"}


def printable(text: str) -> str:
    """Without control characters: what a server says must not steer the terminal it is shown on."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if _is_safe(c))


def _is_safe(character: str) -> bool:
    return (
        character in _KEPT
        or character in _WRITING
        or unicodedata.category(character) not in _UNSAFE
    )


def one_line(text: str, *, limit: int = 200) -> str:
    """Safe, on one line, and at most `limit` characters long."""
    begin = text[: limit * _MOST_BLANKS]  # a server's words may be many megabytes
    line = " ".join(printable(begin).split())
    is_whole = len(begin) == len(text) and len(line) <= limit
    return line if is_whole else line[: limit - 1] + "…"


def shorten_words(text: str) -> str:
    """With the middle of long words and lines left out: a file's name may have any length."""
    return _LONG_LINE.sub(_without_middle, _LONG_WORD.sub(_without_middle, text))


def _without_middle(found: re.Match[str]) -> str:
    return f"{found[0][:250]}…{found[0][-250:]}"


def decode_text(data: bytes) -> str:
    """The text of a file that a person wrote: UTF-8, or UTF-16 where its first bytes say so.

    PowerShell's `>` and Notepad write UTF-16. Raises UnicodeDecodeError.
    """
    is_utf_16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return data.decode("utf-16" if is_utf_16 else "utf-8-sig")


def encode_like(text: str, data: bytes) -> bytes:
    """The text in the encoding of `data`, with its byte order mark: what `decode_text` reads."""
    if data[:2] == b"\xfe\xff":
        return data[:2] + text.encode("utf-16-be")
    if data[:2] == b"\xff\xfe":
        return data[:2] + text.encode("utf-16-le")
    return text.encode("utf-8-sig" if data[:3] == b"\xef\xbb\xbf" else "utf-8")


def is_variable_name(text: str) -> bool:
    """Whether this may name an environment variable: `STUDIO_TOKEN`.

    Narrower than what systems take: what stands where a name belongs may be the secret itself.
    """
    return len(text) <= _LONGEST_NAME and text.isupper() and text.isascii() and text.isidentifier()


def bare_address(url: str) -> str:
    """`https://example.org`: an address without what may be a secret in it."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def format_duration(seconds: float) -> str:
    """`0.04 s`, `2.6 s`, `2 min 5 s`: as exact as anyone wants to know."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    return f"{round(seconds) // 60} min {round(seconds) % 60} s"


def format_usd(usd: float) -> str:
    """`$1.25`, `$0.003`: two digits at least, five at most."""
    if 0 < usd < 0.000_01:
        return "less than $0.00001"
    whole, _, parts = f"{usd:.5f}".rstrip("0").partition(".")
    return f"${whole}.{parts:0<2}" if usd < 1 else f"${usd:.2f}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'euler'?`, or nothing where no known word is near."""
    near = nearest(word, known)
    return f" Did you mean {near!r}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant: with a slip of the pen, or only in part."""
    unlike = ((unlikeness(word, name), number, name) for number, name in enumerate(known))
    ranked = [one for one in unlike if one[0] is not None]
    return min(ranked)[2] if ranked else None


def unlikeness(word: str, name: str) -> int | None:
    """How far apart two names are; None where they are too different to be confused.

    Case, `_`, `-` and spaces count for nothing. Few slips of the pen are allowed in a short word;
    beyond that, one must begin with the other, or consist of words of the other.
    """
    mine, theirs = _words(word), _words(name)
    if mine and theirs and mine[-1] == theirs[-1] and "." in word and "." in name:
        mine, theirs = mine[:-1], theirs[:-1]  # what all files of a kind end with is no likeness
    short, long = sorted(("".join(mine), "".join(theirs)), key=len)
    slips = _slips(short, long, most=_allowed_slips(len(short)))
    if slips is not None:
        return slips
    beyond = _MOST_SLIPS + len(long) - len(short)
    if len(short) >= _SHORTEST_PART and long.startswith(short):
        return beyond
    parts = ({*mine} <= {*theirs} or {*theirs} <= {*mine}) and len(short) >= _SHORTEST_WORD
    return beyond + _MOST_LETTERS if parts else None


def _words(name: str) -> list[str]:
    plain = name[:_MOST_LETTERS].lower().replace("++", "pp")
    return [word for word in re.split(r"[^\w+]|_", plain) if word]


def _allowed_slips(length: int) -> int:
    return 0 if length < _SHORTEST_WORD else 1 if length < 7 else 2 if length < 11 else _MOST_SLIPS


def _slips(short: str, long: str, *, most: int) -> int | None:
    """How many letters are missing, added, wrong or swapped; None for more than `most`.

    In a short word another letter makes another word: `last` and `list`, `date` and `rate`.
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
