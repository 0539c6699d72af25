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
_MOST_SOUGHT = 500
"""Words of a query: databases have limits of their own, far above what anybody types."""
_SPACELESS = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff]"
)
"""Scripts that put no space between words: each character counts as one."""
_ACCENTS = {1, 7, *range(10, 37), *range(200, 241)}
"""Classes of signs on letters, without which a word is still the same; of the others, which Indic
and other scripts write vowels with, it isn't."""
_SPACES = {"\u200b", "\u200c"}
"""They join nothing and have no width, but stand between two words or parts of one."""
_NOTHING = re.compile("[\u034f\u0640\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""They say how a character looks, or stretch a word."""
_QUOTES = {ord(quote): '"' for quote in "“”„"}
_TERM = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """Words that stand next to each other; the last may be a beginning, and all may be unwanted."""

    words: tuple[str, ...]
    is_prefix: bool = False
    is_excluded: bool = False


def tokenize(text: str) -> list[str]:
    """The words of a text, without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text[:_LONGEST_TEXT]).casefold()
    bare = "".join(filter(_counts, unicodedata.normalize("NFKD", _NOTHING.sub("", plain))))
    spaced = _SPACELESS.sub(r" \g<0> ", unicodedata.normalize("NFC", bare))
    words = "".join(c if _is_of_a_word(c) else " " for c in spaced).split()
    return [word[:_LONGEST_WORD] for word in words[:_MOST_WORDS]]


def _counts(character: str) -> bool:
    if unicodedata.combining(character) in _ACCENTS:
        return False
    return unicodedata.category(character) != "Cf" or character in _SPACES


def _is_of_a_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) in ("Mn", "Mc")


def parse_query(query: str) -> tuple[SearchTerm, ...]:
    """`red "in snow" -cat fo*`: words, phrases, what must not stand there, and beginnings.

    Raises RequestError where there is nothing to look for.
    """
    found = tuple(_terms(query.translate(_QUOTES)))
    if sum(len(term.words) for term in found) > _MOST_SOUGHT:
        raise RequestError(f"That is too much to look for: at most {_MOST_SOUGHT} words.")
    if found and all(term.is_excluded for term in found):
        raise RequestError(f"{query!r} says only what is not wanted; add a word to look for.")
    if query.strip() and not found:
        raise RequestError(f"{query!r} holds no word to look for.")
    return found


def _terms(query: str) -> Iterator[SearchTerm]:
    for minus, phrase, word in _TERM.findall(query):
        words = tuple(tokenize(phrase or word))
        if words:
            yield SearchTerm(words, is_prefix=word.endswith("*"), is_excluded=bool(minus))


def sqlite_query(found: tuple[SearchTerm, ...]) -> str:
    """The query of FTS5."""
    wanted = [_quoted(term) for term in found if not term.is_excluded]
    unwanted = [_quoted(term) for term in found if term.is_excluded]
    query = f"({' AND '.join(wanted)})"
    return f"{query} NOT ({' OR '.join(unwanted)})" if unwanted else query


def _quoted(term: SearchTerm) -> str:
    return f'"{" ".join(term.words)}"' + ("*" if term.is_prefix else "")


def term_pattern(term: SearchTerm) -> str:
    """What a text of words that are cut holds, with a blank around it, where the term is in it."""
    return " " + " ".join(term.words) + ("" if term.is_prefix else " ")


def postgres_query(found: tuple[SearchTerm, ...]) -> str:
    """The same as a tsquery that PostgreSQL takes as it stands."""
    return " & ".join(map(_followed, found))


def _followed(term: SearchTerm) -> str:
    phrase = " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.is_prefix else "")
    return ("!" if term.is_excluded else "") + f"({phrase})"


def postgres_vector(words: list[str]) -> str:
    """A tsvector as PostgreSQL writes one: each word with its places."""
    placed = sorted((word, place) for place, word in enumerate(words, start=1))
    return " ".join(
        f"'{word}':{','.join(str(place) for _, place in list(places)[:_MOST_PLACES])}"
        for word, places in groupby(placed, key=lambda pair: pair[0])
    )
