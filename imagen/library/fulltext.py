"""Full-text search that means the same in SQLite and PostgreSQL.

Words are split here, so neither database's tokenizer or stemming counts: `Café` finds `cafe`, and
a Japanese word is found in a text without spaces.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import groupby

from imagen.errors import RequestError

_MAX_TEXT = 100_000
_MAX_WORDS = 16_000
"""PostgreSQL numbers positions up to 16383."""
_MAX_WORD_LENGTH = 200
_MAX_POSITIONS = 255
"""Of one word, in PostgreSQL."""
_MAX_QUERY_WORDS = 500
"""Below the limits of both databases, and more than anyone types."""
_SPACELESS = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff]"
)
"""Scripts without spaces between words: each character is a word."""
_ACCENTS = {1, 7, *range(10, 37), *range(200, 241)}
"""Combining classes of accents, which are ignored. Marks of other classes are vowels of Indic and
other scripts, and count."""
_ZERO_WIDTH_SPACES = {"\u200b", "\u200c"}
"""They separate words or parts of one."""
_IGNORED = re.compile("[\u034f\u0640\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Variation selectors and characters that stretch a word."""
_QUOTES = {ord(quote): '"' for quote in "“”„"}
_TERM = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """Consecutive words; the last may be a prefix, and all may be excluded."""

    words: tuple[str, ...]
    is_prefix: bool = False
    is_excluded: bool = False


def tokenize(text: str) -> list[str]:
    """The words of a text, without case, accents and punctuation."""
    folded = unicodedata.normalize("NFKD", text[:_MAX_TEXT]).casefold()
    decomposed = unicodedata.normalize("NFKD", _IGNORED.sub("", folded))
    bare = "".join(
        c
        for c in decomposed
        if unicodedata.combining(c) not in _ACCENTS
        and (unicodedata.category(c) != "Cf" or c in _ZERO_WIDTH_SPACES)
    )
    spaced = _SPACELESS.sub(r" \g<0> ", unicodedata.normalize("NFC", bare))
    words = "".join(
        c if (c.isalnum() or unicodedata.category(c) in ("Mn", "Mc")) else " " for c in spaced
    ).split()
    return [word[:_MAX_WORD_LENGTH] for word in words[:_MAX_WORDS]]


def parse_query(query: str) -> tuple[SearchTerm, ...]:
    """`red "in snow" -cat fo*`: words, phrases, excluded words and prefixes.

    Raises RequestError if there is nothing to search for.
    """
    parsed = (
        SearchTerm(tuple(words), is_prefix=word.endswith("*"), is_excluded=bool(minus))
        for minus, phrase, word in _TERM.findall(query.translate(_QUOTES))
        if (words := tokenize(phrase or word))
    )
    terms = tuple(parsed)
    if sum(len(term.words) for term in terms) > _MAX_QUERY_WORDS:
        raise RequestError(f"The search is too long: at most {_MAX_QUERY_WORDS} words.")
    if terms and all(term.is_excluded for term in terms):
        raise RequestError(f"{query!r} only excludes words; add a word to search for.")
    if query.strip() and not terms:
        raise RequestError(f"{query!r} has no word to search for.")
    return terms


def sqlite_query(terms: tuple[SearchTerm, ...]) -> str:
    """The query of FTS5."""

    def quote(term: SearchTerm) -> str:
        return f'"{" ".join(term.words)}"' + ("*" if term.is_prefix else "")

    wanted = [quote(term) for term in terms if not term.is_excluded]
    excluded = [quote(term) for term in terms if term.is_excluded]
    query = f"({' AND '.join(wanted)})"
    return f"{query} NOT ({' OR '.join(excluded)})" if excluded else query


def postgres_query(terms: tuple[SearchTerm, ...]) -> str:
    """The same as a tsquery."""

    def quote(term: SearchTerm) -> str:
        phrase = " <-> ".join(f"'{word}'" for word in term.words)
        return ("!" if term.is_excluded else "") + f"({phrase}{':*' if term.is_prefix else ''})"

    return " & ".join(map(quote, terms))


def postgres_vector(words: list[str]) -> str:
    """The words as a tsvector: each with its positions."""
    pairs = sorted((word, position) for position, word in enumerate(words, start=1))
    return " ".join(
        f"'{word}':{','.join(str(position) for _, position in list(same)[:_MAX_POSITIONS])}"
        for word, same in groupby(pairs, key=lambda pair: pair[0])
    )


def is_match(text: str, terms: tuple[SearchTerm, ...]) -> bool:
    """Whether a text that is in no index matches."""
    words = f" {' '.join(tokenize(text))} " if terms else ""
    return all((term_pattern(term) in words) != term.is_excluded for term in terms)


def term_pattern(term: SearchTerm) -> str:
    """What a text of words, with a space around each, contains if it matches the term."""
    return " " + " ".join(term.words) + ("" if term.is_prefix else " ")
