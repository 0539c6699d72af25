"""Wildcards in prompts: `{red|blue}`, `{2::a|b}`, `{1-2$$ and $$a|b|c}`, `__animals/*__`.

The syntax of sd-dynamic-prompts. A seed and a set of files give the same text everywhere.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import accumulate, pairwise, permutations, product
from typing import TYPE_CHECKING, NamedTuple

from imagen.batch.wildcard_files import WildcardFiles
from imagen.core.text import one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_DEPTH = 20
"""Braces within braces, and wildcards within the values of wildcards."""
MAX_COMBINATIONS = 100_000
MAX_CHOICES = 1000
"""Choices in one prompt, those in the values of its wildcards included."""
MAX_CHARACTERS = 1_000_000
"""Of an expanded prompt: values can repeat each other exponentially."""
_DEFAULT_SEPARATOR = ","
_ALL = 1_000_000
"""The end of a range without an end; of a wildcard, the values are not counted yet."""
_KEPT = 100
"""Parsed texts: a prompt is expanded once for each of its images."""

_NAME = r"(?:[\w*./\\-]|(?<=[^\W_]) (?=[^\W_])){1,200}?"
_TOKEN = re.compile(rf"\\[{{}}|_]|[{{}}|\[\]]|__(?=[^\W_]|\*)({_NAME})__")
_BOUNDS = re.compile(r"\s{0,9}(?:(\d{1,6})(?:\s?(-)\s?(\d{1,6})?)?|-\s?(\d{1,6}))\s?\$\$")
_SEPARATOR = re.compile(r"([^${}]*)\$\$")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s*::")
_JSON_KEY = re.compile(r"""\s*("[^"{}]*"|'[^'{}]*')\s*:""")
_SIGNS = re.compile(r"\{|__")
_ESCAPE = re.compile(r"\\([{}|_])")


@dataclass(frozen=True)
class _Choice:
    """`{…}`, or all values of a wildcard."""

    options: tuple[_Text, ...]
    weights: tuple[float, ...]
    least: int = 1
    most: int = 1
    separator: str = ""

    @property
    def bounds(self) -> tuple[int, int]:
        """How many of the options are chosen."""
        return min(self.least, len(self.options)), min(self.most, len(self.options))

    @cached_property
    def cumulative(self) -> tuple[float, ...]:
        return tuple(accumulate(self.weights))


class _Reference(NamedTuple):
    """`__name__`."""

    name: str
    place: str


_Text = tuple["str | _Choice | _Reference", ...]
"""A prompt, an option or a value, parsed."""


def may_have_wildcards(text: str) -> bool:
    """Whether a text holds signs of wildcards, in whatever place."""
    return _SIGNS.search(text) is not None


class Wildcards:
    """Expands prompts; reads the files of the wildcards that they name, once."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._files = WildcardFiles(folders)
        self._collections: dict[str, tuple[_Choice, int]] = {}
        self._matched: dict[str, _Choice] = {}
        self._depths: dict[str, int] = {}
        self._parsed: dict[str, _Text | None] = {}

    def changes(self, text: str, name: str = "prompt") -> bool:
        """Whether a text is not sent as it is; raises RequestError for a fault in it."""
        return self._parse(text, name) is not None

    def has_choices(self, text: str) -> bool:
        """Whether the seed decides something in a text; raises RequestError for a fault in it."""
        parsed = self._parse(text)
        return parsed is not None and _is_dynamic(parsed)

    def expand(self, text: str, seed: int, salt: str = "") -> str:
        """The text with a value for each of its wildcards, as the seed decides.

        Text without wildcards is returned as it is. `salt` distinguishes texts that share a seed.
        Raises RequestError with the place of a fault.
        """
        parsed = self._parse(text)
        if parsed is None:
            return text
        draw = _Draw(seed, salt)
        self._append(parsed, draw)
        return "".join(draw.words)

    def count(self, *texts: str) -> int:
        """How many combinations texts have together; raises RequestError above the limit."""
        parsed = (self._parse(text) for text in texts)
        number = math.prod(self._count(text) for text in parsed if text is not None)
        if number > MAX_COMBINATIONS:
            raise RequestError(
                f"The prompt {one_line(texts[0], limit=60)!r} has more than "
                f"{MAX_COMBINATIONS:,} combinations.",
                remedy="Use fewer or smaller wildcards, or let the seed choose.",
            )
        return number

    def combinations(self, text: str) -> Iterator[str]:
        """Every text that the wildcards allow, the last one changing fastest.

        Raises RequestError above the limit.
        """
        parsed = self._parse(text)
        if parsed is None:
            yield text
            return
        self.count(text)
        yield from self._combine(parsed)

    def _parse(self, text: str, name: str = "prompt") -> _Text | None:
        """The parsed text with its wildcards read; None if it has none."""
        place = "The negative prompt" if name == "negative" else "The prompt"
        if not may_have_wildcards(text):
            return None
        if text not in self._parsed:
            if len(self._parsed) >= _KEPT:
                self._parsed.clear()
            parsed = _Parser(text, place).parse()
            plain = _ESCAPE.sub(r"\1", text)
            if _is_dynamic(parsed):
                self._read(parsed, ())
                self._parsed[text] = parsed
            elif plain != text and _is_dynamic(_Parser(plain, place).parse()):
                self._parsed[text] = parsed  # its escapes have an effect
            else:
                self._parsed[text] = None
        return self._parsed[text]

    # --- the values of wildcards ---

    def _read(self, text: _Text, stack: tuple[str, ...]) -> int:
        """Read the values of all wildcards that a text can lead to; how deep they are nested."""
        depth = 0
        for part in text:
            if isinstance(part, _Choice):
                depth = max(depth, *(self._read(option, stack) for option in part.options))
            elif isinstance(part, _Reference):
                if part.name not in self._matched:
                    names = self._files.match(part.name, part.place)
                    read = [self._read_collection(name, stack, part.place) for name in names]
                    self._matched[part.name] = _Choice(
                        options=tuple(option for one, _ in read for option in one.options),
                        weights=tuple(weight for one, _ in read for weight in one.weights),
                    )
                    self._depths[part.name] = 1 + max(below for _, below in read)
                depth = max(depth, self._depths[part.name])
                if len(stack) + depth > MAX_DEPTH:
                    raise RequestError(
                        f"{part.place}: wildcards are nested more than {MAX_DEPTH} deep."
                    )
        return depth

    def _read_collection(
        self, name: str, stack: tuple[str, ...], place: str
    ) -> tuple[_Choice, int]:
        if name in stack:
            circle = " → ".join((*stack[stack.index(name) :], name))
            raise RequestError(f"{place}: wildcards refer to each other in a circle: {circle}.")
        if name not in self._collections:
            values = self._files.read_values(name)
            parsers = [_Parser(value.text, value.place) for value in values]
            weighted = [(parser, *parser.read_weight(0)) for parser in parsers]
            kept = [(parser, weight, start) for parser, weight, start in weighted if weight]
            if not kept:
                raise RequestError(f"{values[0].place}: every value has the weight 0.")
            choice = _Choice(
                options=tuple(parser.parse(start) for parser, _, start in kept),
                weights=tuple(weight for _, weight, _ in kept),
            )
            depth = max(self._read(option, (*stack, name)) for option in choice.options)
            self._collections[name] = choice, depth
        return self._collections[name]

    def _choice(self, part: _Choice | _Reference) -> _Choice:
        """The options of a part; those of a wildcard if it is the only option."""
        if isinstance(part, _Reference):
            return self._matched[part.name]
        if len(part.options) == 1 and len(part.options[0]) == 1:
            only = part.options[0][0]
            if isinstance(only, _Reference):
                values = self._matched[only.name]
                return _Choice(
                    values.options, values.weights, part.least, part.most, part.separator
                )
        return part

    # --- one prompt ---

    def _append(self, text: _Text, draw: _Draw) -> None:
        for part in text:
            if isinstance(part, str):
                draw.write(part)
                continue
            choice = self._choice(part)
            for number, option in enumerate(draw.choose(choice)):
                if number:
                    draw.write(choice.separator)
                self._append(option, draw)

    # --- all prompts ---

    def _count(self, text: _Text) -> int:
        """How many combinations there are; _TOO_MANY if there are more."""
        total = 1
        for part in text:
            if isinstance(part, str):
                continue
            choice = self._choice(part)
            least, most = choice.bounds
            if most >= _MANY_ORDERS:
                return _TOO_MANY
            selections = [1] + [0] * most  # the ways to select 0, 1, 2, … of the options so far
            for option in choice.options:
                forms = self._count(option)
                for number in range(most, 0, -1):
                    selections[number] += selections[number - 1] * forms
                    selections[number] = min(selections[number], _TOO_MANY)
            numbers = range(least, most + 1)
            total *= sum(selections[number] * math.factorial(number) for number in numbers)
            total = min(total, _TOO_MANY)
        return total

    def _combine(self, text: _Text) -> Iterator[str]:
        parts: list[list[str]] = []
        for part in text:
            if isinstance(part, str):
                parts.append([part])
                continue
            choice = self._choice(part)
            forms = [list(self._combine(option)) for option in choice.options]
            least, most = choice.bounds
            parts.append(
                [
                    choice.separator.join(words)
                    for number in range(least, most + 1)
                    for selected in permutations(forms, number)
                    for words in product(*selected)
                ]
            )
        return map("".join, product(*parts))


_TOO_MANY = MAX_COMBINATIONS + 1
_MANY_ORDERS = 9
"""So many options can be put into more orders than there may be combinations."""


class _Draw:
    """The draws of one prompt, from its seed alone, and its words so far."""

    def __init__(self, seed: int, salt: str) -> None:
        self._name = f"{seed}:{salt}"
        self._drawn = 0
        self._length = 0
        self.words: list[str] = []

    def write(self, word: str) -> None:
        self.words.append(word)
        self._length += len(word)
        if self._length > MAX_CHARACTERS:
            raise RequestError(f"The prompt expands to more than {MAX_CHARACTERS:,} characters.")

    def choose(self, choice: _Choice) -> list[_Text]:
        """Options of a choice in the order in which they are drawn, none of them twice."""
        least, most = choice.bounds
        number = least + (self._draw() * (most - least + 1) >> 64) if least < most else most
        if number == 1:
            return [choice.options[self._index(choice.cumulative)]]
        left = list(zip(choice.options, choice.weights, strict=True))
        chosen: list[_Text] = []
        for _ in range(number):
            option, _ = left.pop(self._index(tuple(accumulate(weight for _, weight in left))))
            chosen.append(option)
        return chosen

    def _index(self, cumulative: tuple[float, ...]) -> int:
        point = self._draw() / 2**64 * cumulative[-1]
        return min(bisect_right(cumulative, point), len(cumulative) - 1)

    def _draw(self) -> int:
        """A number of 64 bits."""
        self._drawn += 1
        if self._drawn > MAX_CHOICES:
            raise RequestError(f"The prompt needs more than {MAX_CHOICES:,} choices.")
        return int.from_bytes(sha256(f"{self._name}:{self._drawn}".encode()).digest()[:8])


class _Brace(NamedTuple):
    """An opening brace, with what is directly within it."""

    start: int
    bars: list[int]
    squares: list[int]
    """For each open `[`, how many bars came before: `[a|b]` is for the engine."""


class _Parser:
    """Parses one text; its place begins each error."""

    def __init__(self, text: str, place: str) -> None:
        self._text = text
        self._place = place
        self._tokens: list[re.Match[str]] = []
        self._starts: list[int] = []
        self._closed: dict[int, tuple[int, list[int]]] = {}
        """The end of each brace, and the bars directly within it, by its start."""

    def parse(self, start: int = 0) -> _Text:
        """The parts of the text from there on; raises RequestError."""
        self._tokens = list(_TOKEN.finditer(self._text, start))
        self._starts = [token.start() for token in self._tokens]
        opened: list[_Brace] = []
        for token in self._tokens:
            sign, at = token[0], token.start()
            if sign == "{":
                opened.append(_Brace(at, [], []))
            elif opened:
                brace = opened[-1]
                if sign == "}":
                    opened.pop()
                    self._closed[brace.start] = at, brace.bars
                elif sign == "|":
                    brace.bars.append(at)
                elif sign == "[":
                    brace.squares.append(len(brace.bars))
                elif sign == "]" and brace.squares:
                    del brace.bars[brace.squares.pop() :]
        for brace in opened:
            is_choice = brace.bars or _BOUNDS.match(self._text, brace.start + 1)
            if is_choice and not _JSON_KEY.match(self._text, brace.start + 1):
                raise self._fault(brace.start, "this brace is not closed")
        return self._build(start, len(self._text), 0)

    def read_weight(self, start: int, end: int | None = None) -> tuple[float, int]:
        """The weight before a value, and where the value starts."""
        match = _WEIGHT.match(self._text, start, len(self._text) if end is None else end)
        return (float(match[1]), match.end()) if match else (1.0, start)

    def _build(self, start: int, end: int, depth: int) -> _Text:
        """The parts of the text between two places."""
        parts: list[str | _Choice | _Reference] = []
        done = start
        for number in range(bisect_left(self._starts, start), bisect_left(self._starts, end)):
            token, at = self._tokens[number], self._starts[number]
            if at < done:
                continue
            part: str | _Choice | _Reference
            if token[1] is not None:
                part, after = _Reference(token[1], self._place_of(at)), token.end()
            elif token[0].startswith("\\"):
                part, after = token[0][1], token.end()
            elif at in self._closed and (choice := self._read_choice(at, depth)) is not None:
                part, after = choice, self._closed[at][0] + 1
            else:
                continue
            parts += [self._text[done:at], part]
            done = after
        parts.append(self._text[done:end])
        return tuple(part for part in parts if part != "")

    def _read_choice(self, at: int, depth: int) -> _Choice | None:
        """The choice in the brace at this place; None if it is not one."""
        end, bars = self._closed[at]
        start = at + 1
        bounds = _BOUNDS.match(self._text, start, end)
        if (not bars and bounds is None) or _JSON_KEY.match(self._text, start, end):
            return None
        if depth >= MAX_DEPTH:
            raise self._fault(at, f"choices are nested more than {MAX_DEPTH} deep")
        separator, least, most = "", 1, 1
        if bounds is not None:
            start, separator = bounds.end(), _DEFAULT_SEPARATOR
            if written := _SEPARATOR.match(self._text, start, end):
                start, separator = written.end(), written[1]
            low, dash, high, alone = bounds.groups()
            if alone is not None:
                least, most = min(1, int(alone)), int(alone)
            else:
                least, most = int(low), int(high or (_ALL if dash else low))
            if most < least:
                raise self._fault(at, f"the range {low}-{high} ends before it begins")
        cuts = [start - 1, *(bar for bar in bars if bar >= start), end]
        weighted = [(*self.read_weight(left + 1, right), right) for left, right in pairwise(cuts)]
        kept = [(weight, begin, stop) for weight, begin, stop in weighted if weight]
        if not kept:
            raise self._fault(at, "every option has the weight 0")
        return _Choice(
            options=tuple(self._build(begin, stop, depth + 1) for _, begin, stop in kept),
            weights=tuple(weight for weight, _, _ in kept),
            least=least,
            most=most,
            separator=separator,
        )

    def _place_of(self, at: int) -> str:
        is_prompt = self._place in ("The prompt", "The negative prompt")
        return f"{self._place}, character {at + 1}" if is_prompt else self._place

    def _fault(self, at: int, what: str) -> RequestError:
        shown = one_line(self._text[at : at + 60], limit=40)
        return RequestError(
            f"{self._place_of(at)}: {what}: {shown}",
            remedy=r"Write \{ for a brace that is meant as it is, or use --literal.",
        )


def _is_dynamic(text: _Text) -> bool:
    return any(not isinstance(part, str) for part in text)
