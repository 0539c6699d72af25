"""Full-text search finds the same in both databases as a naive search does."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from support.library_samples import make_record, record_all

from imagen.errors import RequestError
from imagen.library import Query, search_images
from imagen.library.fulltext import SearchTerm, parse_query, tokenize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imagen.library import Library

_ODD_WORDS = (
    *("fox", "Fox", "foxes", "red", "RED", "re", "in", "snow", "cat", "a", "1girl", "8k", "x"),
    *("Café", "cafe\u0301", "naïve", "ÉTÉ", "Straße", "STRASSE", "ﬁne", "İstanbul", "ıssız", "Ⅷ"),
    *("㎐", "𝐀𝐛", "ℌello", "x²", "½", "Ünï", "ŻÓŁĆ", "Ελλάς", "ελλασ", "москва", "Ёлка", "ёлка"),
    *("赤い狐", "狐", "雪の中の狐", "ﾊﾟﾝ", "パン", "ハン", "猫と犬", "𠮷野家"),
    *("사과", "사과를", "여우"),
    *("हिन्दी", "हिन्दुस्तान", "हाथी", "हथिनी", "தமிழ்", "বাংলা", "ภาษาไทย", "กิน", "ខ្មែរ", "བོད་སྐད"),
    *("كِتَاب", "كتاب", "مـحـمـد", "محمد", "می\u200cخواهم", "שָׁלוֹם", "שלום", "𞤀𞤣", "ꮳꮃꭹ", "ᏣᎳᎩ"),
    *("fox's", "rock'n'roll", "o’clock", "state-of-the-art", "snake_case", "a.b.c", "(red:1.2)"),
    *("<lora:ink:0.8>", "C++", "C#", "50%", "100%_", "$9", "\\", "\\'", "'", "''", '"', '"a"', "*"),
    *("AND", "OR", "NOT", "NEAR", "NEAR(", "fo*", "^fox", "col:fox", "words:fox", "&", "|", "!"),
    *("<->", ";", "\t", "\n", "0", "007", "1.5", "１２３", "٣٤", "x" * 250, "ff\u0000ff"),
    *("-", "--", "-fox", "-red", "DROP", "--x", "%", "_", "{}", "[]", "🦊", "❤️", "👩‍💻", "☃"),
    *("soft\u00adhyphen", "\u200bzero", "\ufeffbom", "e\u0301\u0302\u0303", "\u0301"),
    *("ﷺ", "K", "Å", "ſ", "ß", "ŉ", "ǆ", "Σ", "ς"),
)  # fmt: skip


def _found(library: Library, query: str) -> list[int]:
    """The numbers of the generations whose images are found."""
    found = search_images(library, Query(text=query), limit=10_000).images
    return sorted(int(image.generation[:8], 16) for image in found)


def _holds(words: Sequence[str], term: SearchTerm) -> bool:
    """Whether the words of the term are consecutive in the text."""
    *first, last = term.words
    for start in range(len(words) - len(first)):
        found = words[start + len(first)]
        same = found.startswith(last) if term.is_prefix else found == last
        if same and list(words[start : start + len(first)]) == first:
            return True
    return False


def _naive(texts: Sequence[str], query: str) -> list[int]:
    wanted = parse_query(query)
    return [
        number
        for number, text in enumerate(texts)
        if all(_holds(tokenize(text), term) is not term.is_excluded for term in wanted)
    ]


def _texts(random: Random) -> Iterator[str]:
    """Prompts of unusual words, each of which is in one of them at least."""
    yield from _ODD_WORDS
    for _ in range(160):
        yield random.choice((" ", ", ", "")).join(
            random.choices(_ODD_WORDS, k=random.randint(2, 9))
        )


def _queries(random: Random, texts: Sequence[str]) -> Iterator[str]:
    """Words, beginnings, phrases, parts of the prompts themselves, and what is not wanted."""
    several = (
        " ".join(_part(random, texts) for _ in range(random.randint(1, 3))) for _ in range(450)
    )
    yield from (query for query in (*_ODD_WORDS, *several) if _says_what_is_wanted(query))


def _says_what_is_wanted(query: str) -> bool:
    try:
        return bool(parse_query(query))
    except RequestError:
        return False


def _part(random: Random, texts: Sequence[str]) -> str:
    word, text = random.choice(_ODD_WORDS), random.choice(texts)
    start = random.randrange(len(text))
    piece = text[start : start + random.randint(1, 12)]
    forms = (word, f"{word}*", f"-{word}", f'"{word} {random.choice(_ODD_WORDS)}"', piece)
    return random.choice((*forms, f'"{piece}"', f'-"{piece}"', f"{word[:2]}*"))


def test_both_databases_find_what_a_naive_search_finds(library: Library) -> None:
    random = Random(20261127)
    texts = list(_texts(random))
    record_all(library, [make_record(number, text) for number, text in enumerate(texts)])
    answers = [(query, _found(library, query), _naive(texts, query))
               for query in _queries(random, texts)]  # fmt: skip
    assert len(answers) > 400
    assert sum(bool(found) for _, found, _ in answers) > 200
    assert [answer for answer in answers if answer[1] != answer[2]] == []


_PROMPTS = (
    "a red fox in snow",
    "a red cat in the snow, masterpiece",
    "Café at night, naïve painting",
    "雪の中の赤い狐",
    "눈 속의 붉은 여우",
    "हिन्दी में हाथी",
    "كِتَاب على الطاولة",
    "the fox's den; C:\\foxes\\den",
    "100% wool AND cotton",
)


@pytest.fixture
def prompts(library: Library) -> Library:
    """Nine prompts of all kinds."""
    record_all(library, [make_record(number, prompt) for number, prompt in enumerate(_PROMPTS)])
    return library


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        pytest.param("red", [0, 1], id="a word"),
        pytest.param("RED", [0, 1], id="in capitals"),
        pytest.param("red snow", [0, 1], id="two words"),
        pytest.param("snow red", [0, 1], id="in any order"),
        pytest.param("red -cat", [0], id="without another"),
        pytest.param('snow -"in the"', [0], id="without a phrase"),
        pytest.param("-cat red -owl -fox", [], id="without several"),
        pytest.param('"in snow"', [0], id="a phrase"),
        pytest.param('"in snow', [0], id="a phrase that is not closed"),
        pytest.param("“in snow”", [0], id="a phrase in curly quotes"),
        pytest.param('"snow in"', [], id="a phrase the wrong way round"),
        pytest.param("sno*", [0, 1], id="a beginning"),
        pytest.param("sno", [], id="no whole word"),
        pytest.param("now", [], id="no end of a word"),
        pytest.param("cafe", [2], id="without its accent"),
        pytest.param("CAFÉ NAIVE", [2], id="with accents"),
        pytest.param("狐", [3], id="a Japanese word"),
        pytest.param("赤い狐", [3], id="two of them"),
        pytest.param("狐赤い", [], id="the wrong way round"),
        pytest.param("여우", [4], id="a Korean word"),
        pytest.param("붉*", [4], id="a Korean beginning"),
        pytest.param("हिन्दी", [5], id="a Hindi word"),
        pytest.param("हि*", [5], id="a Hindi beginning"),
        pytest.param("हथी", [], id="a Hindi word with another vowel"),
        pytest.param("كتاب", [6], id="an Arabic word without its points"),
        pytest.param("fox's", [7], id="an apostrophe"),
        pytest.param("fox'", [0, 7], id="an apostrophe alone"),
        pytest.param("C:\\foxes", [7], id="a backslash"),
        pytest.param("AND", [8], id="an operator of FTS5 is a word"),
        pytest.param("100%", [8], id="a sign of LIKE"),
        pytest.param("wool & cotton", [8], id="an operator of tsquery"),
        pytest.param("wool | cat", [], id="another"),
        pytest.param("!wool", [8], id="and another"),
        pytest.param("words:fox", [], id="a column of FTS5"),
        pytest.param("fox NEAR snow", [], id="a function of FTS5"),
        pytest.param("^a", [0, 1], id="the first of FTS5"),
        pytest.param("'; DROP TABLE images; --fox", [], id="an injection"),
        pytest.param("", [0, 1, 2, 3, 4, 5, 6, 7, 8], id="nothing"),
        pytest.param("   ", [0, 1, 2, 3, 4, 5, 6, 7, 8], id="blanks"),
    ],
)  # fmt: skip
def test_a_query_finds_matching_prompts(prompts: Library, query: str, numbers: list[int]) -> None:
    assert _found(prompts, query) == numbers


@pytest.mark.parametrize("query", ["...", "🦊", "-", '""', "*"])
def test_a_query_without_a_word_is_refused(prompts: Library, query: str) -> None:
    with pytest.raises(RequestError) as caught:
        _found(prompts, query)
    assert caught.value.message == f"{query!r} has no word to search for."


def test_a_query_with_only_exclusions_is_refused(prompts: Library) -> None:
    with pytest.raises(RequestError) as caught:
        _found(prompts, '-cat -"in snow"')
    assert caught.value.message == (
        "'-cat -\"in snow\"' only excludes words; add a word to search for."
    )


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        pytest.param(" ".join(f"w{n}" for n in range(499)) + " fox", True, id="words"),
        pytest.param('"' + " ".join(f"w{n}" for n in range(500)) + '"', True, id="a phrase"),
        pytest.param("fox " + " ".join(f"-x{n}" for n in range(499)), True, id="exclusions"),
        pytest.param(" ".join(f"w{n}" for n in range(499)) + " owl", False, id="one is not there"),
    ],
)
def test_a_query_of_500_words_is_answered(library: Library, query: str, is_found: bool) -> None:
    record_all(library, [make_record(1, " ".join(f"w{n}" for n in range(1000)) + " fox")])
    assert _found(library, query) == [1][: int(is_found)]


def test_a_query_of_more_than_500_words_is_refused(library: Library) -> None:
    with pytest.raises(RequestError) as caught:
        _found(library, "fox " * 501)
    assert caught.value.message == "The search is too long: at most 500 words."


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("fox " * 25_000, id="one word"),
        pytest.param("fox " + " ".join(f"w{n}" for n in range(15_000)), id="many words"),
        pytest.param("fox " + "x" * 100_000, id="a word without end"),
        pytest.param("fox " + "".join(map(chr, range(0x20000, 0x29000))), id="ideographs"),
        pytest.param("fox " + "ﷺ" * 99_000, id="ligatures of several words"),
        pytest.param(
            "fox " + "".join(f"{chr(0x1E900 + n % 30)}{n:x}ﬃ𝐀 " for n in range(13_000)), id="wide"
        ),
    ],
)
def test_a_prompt_of_100_kb_is_found(library: Library, prompt: str) -> None:
    record_all(library, [make_record(1, prompt)])
    assert _found(library, "fox") == [1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("A Red-Fox, (snow:1.2)", ["a", "red", "fox", "snow", "1", "2"], id="English"),
        pytest.param("Straße STRASSE", ["strasse", "strasse"], id="sharp s"),
        pytest.param("Ελλάς ΕΛΛΑΣ", ["ελλασ", "ελλασ"], id="final sigma"),
        pytest.param("ﬁne ㎐ 𝐀 ℌ ５", ["fine", "hz", "a", "h", "5"], id="forms of letters"),
        pytest.param("cafe\u0301 café", ["cafe", "cafe"], id="both forms of an accent"),
        pytest.param("パン ﾊﾟﾝ", ["パ", "ン", "パ", "ン"], id="half-width kana"),
        pytest.param("ハン", ["ハ", "ン"], id="kana keep their voice"),
        pytest.param("赤い狐と fox", ["赤", "い", "狐", "と", "fox"], id="Japanese"),
        pytest.param("사과를 먹는", ["사과를", "먹는"], id="Korean"),
        pytest.param("हिन्दी हाथी", ["हिन्दी", "हाथी"], id="Hindi"),
        pytest.param("தமிழ்", ["தமிழ்"], id="Tamil"),
        pytest.param("كِتَابٌ أحمد مـحـمـد", ["كتاب", "احمد", "محمد"], id="Arabic"),
        pytest.param("می\u200cخواهم", ["می", "خواهم"], id="Persian"),
        pytest.param("שָׁלוֹם", ["שלום"], id="Hebrew"),
        pytest.param("Ёлка елка", ["елка", "елка"], id="Russian"),
        pytest.param("soft\u00adhyphen", ["softhyphen"], id="soft hyphen"),
        pytest.param("❤️ fox 🦊", ["fox"], id="emoji"),
        pytest.param("x" * 300, ["x" * 200], id="a long word"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_tokenize_splits_a_text_into_words(text: str, words: list[str]) -> None:
    assert tokenize(text) == words
