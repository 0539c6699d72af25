"""Full-text search that means the same in SQLite and in PostgreSQL: we cut the words ourselves.

Each database is given words that have been cut already, so neither its own idea of a word nor its
stemming counts: `Café` finds `cafe`, and a Japanese word is found in a text without spaces.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_TEXT = 100_000
_MOST_WORDS = 16_000
"""PostgreSQL numbers the places of words up to 16383."""
_LONGEST_WORD = 200
_MOST_PLACES = 255
"""Of one word, in PostgreSQL."""
_SPACELESS = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff]"
)
"""Scripts that put no space between words: each character counts as one."""
_TERM = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand next to each other; the last may be a beginning, and all may be unwanted."""

    words: tuple[str, ...]
    is_prefix: bool = False
    is_excluded: bool = False


def cut(text: str) -> list[str]:
    """The words of a text, without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text[:_LONGEST_TEXT].casefold())
    bare = "".join(c for c in plain if unicodedata.category(c) != "Mn")
    spaced = _SPACELESS.sub(r" \g<0> ", unicodedata.normalize("NFKC", bare))
    words = "".join(c if c.isalnum() else " " for c in spaced).split()
    return [word[:_LONGEST_WORD] for word in words[:_MOST_WORDS]]


def terms(query: str) -> tuple[Term, ...]:
    """`red "in snow" -cat fo*`: words, phrases, what must not stand there, and beginnings.

    Raises RequestError where there is nothing to look for.
    """
    found = tuple(_terms(query))
    if found and all(term.is_excluded for term in found):
        raise RequestError(f"{query!r} says only what is not wanted; add a word to look for.")
    if query.strip() and not found:
        raise RequestError(f"{query!r} holds no word to look for.")
    return found


def _terms(query: str) -> Iterator[Term]:
    for minus, phrase, word in _TERM.findall(query):
        words = tuple(cut(phrase or word))
        if words:
            yield Term(words, is_prefix=word.endswith("*"), is_excluded=bool(minus))


def for_sqlite(found: tuple[Term, ...]) -> str:
    """The query of FTS5."""
    wanted = [_quoted(term) for term in found if not term.is_excluded]
    unwanted = [_quoted(term) for term in found if term.is_excluded]
    return " NOT ".join([f"({' AND '.join(wanted)})", *unwanted])


def _quoted(term: Term) -> str:
    return f'"{" ".join(term.words)}"' + ("*" if term.is_prefix else "")


def for_postgres(found: tuple[Term, ...]) -> str:
    """The same as a tsquery that PostgreSQL takes as it stands."""
    return " & ".join(map(_followed, found))


def _followed(term: Term) -> str:
    phrase = " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.is_prefix else "")
    return ("!" if term.is_excluded else "") + f"({phrase})"


def vector(words: list[str]) -> str:
    """A tsvector as PostgreSQL writes one: each word with its places."""
    placed = sorted((word, place) for place, word in enumerate(words, start=1))
    return " ".join(
        f"'{word}':{','.join(str(place) for _, place in list(places)[:_MOST_PLACES])}"
        for word, places in groupby(placed, key=lambda pair: pair[0])
    )
