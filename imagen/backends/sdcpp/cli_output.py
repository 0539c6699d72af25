"""What sd-cli writes while it works, as events: its log, and its bars told apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDS = re.compile(rb"[\r\n]+")
_COLOUR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_LOG = re.compile(r"\[(INFO|WARN|ERROR|DEBUG) ?\] \S+:\d+ *- (.*)", re.DOTALL)
_BAR = re.compile(r"\|[=>#\s]*\|\s+(\d+)/(\d+) - [\d.]+ ?(s/it|it/s|[KMGT]?B/s)")
_LONGEST_LINE = 1 << 16


class Log(NamedTuple):
    """One line of its log, without the place in its source, which differs by version."""

    level: str
    text: str


class Bar(NamedTuple):
    """One state of a bar: of steps, or of bytes that are loaded."""

    done: int
    total: int
    is_steps: bool


class Lines:
    """The lines of one stream, which arrives in pieces; a bar ends its own with \\r."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that are whole by now; a line without an end is cut before it fills memory."""
        *whole, self._rest = _ENDS.split(self._rest + piece)
        if len(self._rest) > _LONGEST_LINE:
            whole.append(self._rest)
            self._rest = b""
        return (_text(line) for line in whole if line)

    def end(self) -> Iterator[str]:
        """What is left when the stream has ended."""
        rest, self._rest = self._rest, b""
        return (_text(line) for line in (rest,) if line)


def _text(line: bytes) -> str:
    return _COLOUR.sub("", line.decode("utf-8", "replace"))


def event(line: str) -> Log | Bar | None:
    """What one line says; None for what is neither log nor bar."""
    if bar := _BAR.search(line):
        return Bar(int(bar[1]), int(bar[2]), bar[3] in ("s/it", "it/s"))
    if log := _LOG.match(line):
        return Log(log[1], log[2].strip())
    return None


@dataclass(frozen=True, slots=True)
class Kept:
    """One picture that the program says it wrote, or could not write."""

    index: int
    name: str
    is_written: bool


_IMAGE = re.compile(r"generating image: (\d+)/(\d+) - seed (-?\d+)")
_DECODED = re.compile(r"latent (\d+) decoded")
_SAVED = re.compile(r"save result image (\d+) to '(.*)' \((success|failure)\)", re.DOTALL)
_VERSION = re.compile(r"Version: (.+)")
_SECONDS = re.compile(r"generate_image completed in ([\d.]+)s")

_LOADED, _SAMPLED = 0.1, 0.9
"""How far along the whole is when the model is loaded, and when all steps are done."""


class Record:
    """All that was heard of one run so far."""

    def __init__(self, *, counts_at_once: bool = False) -> None:
        """`counts_at_once`: the steps are those of enlarging, which nothing announces."""
        self.samples = counts_at_once
        self.has_begun = counts_at_once
        self.image, self.images = (1, 1) if counts_at_once else (0, 0)
        self.step: int | None = None
        self.steps: int | None = None
        self.is_sampled = False
        self.fraction = 0.0
        self.seeds: list[int] = []
        self.kept: list[Kept] = []
        self.version = ""
        self.seconds: float | None = None
        self.warned: list[str] = []
        self.errors: list[str] = []
        self.loose: list[str] = []
        """The last lines that are neither log nor bar: what a crash says."""

    def take(self, line: str) -> None:
        """Note what one line says."""
        match event(line):
            case Bar(done, total, is_steps):
                self._take_bar(done, total, is_steps)
            case Log("WARN", text):
                self.warned = [*self.warned, text][-_MOST_LINES:]
            case Log("ERROR", text):
                self.errors = [*self.errors, text][-_MOST_LINES:]
            case Log(_, text):
                self._take_word(text)
            case None:
                self.loose = [*self.loose, line][-_FEW_LINES:]

    def _take_bar(self, done: int, total: int, is_steps: bool) -> None:
        """Bars of loading come between those of steps too, and tiles are decoded with one."""
        if is_steps and self.samples:
            self.step, self.steps = done, total
            share = (self.image - 1 + done / max(total, 1)) / max(self.images, 1)
            self._reach(_LOADED + (_SAMPLED - _LOADED) * min(share, 1.0))
        elif not is_steps and not self.has_begun:
            self._reach(_LOADED * min(done / max(total, 1), 1.0))

    def _take_word(self, text: str) -> None:
        if found := _IMAGE.match(text):
            self._begin(int(found[1]), int(found[2]), int(found[3]))
        elif text.startswith("sampling completed"):
            self.samples = False
            self.is_sampled = self.image >= self.images
        elif found := _DECODED.match(text):
            self._reach(_SAMPLED + 0.08 * min(int(found[1]) / max(self.images, 1), 1.0))
        elif found := _SAVED.match(text):
            self.kept.append(Kept(int(found[1]), found[2], found[3] == "success"))
        elif found := _SECONDS.match(text):
            self.seconds = float(found[1])
        elif found := _VERSION.match(text):
            self.version = found[1].strip()

    def _begin(self, image: int, images: int, seed: int) -> None:
        self.samples = self.has_begun = True
        self.image, self.images = image, images
        self.step = self.steps = None
        self.seeds.append(seed)
        self._reach(_LOADED + (_SAMPLED - _LOADED) * min((image - 1) / max(images, 1), 1.0))

    def _reach(self, fraction: float) -> None:
        self.fraction = max(self.fraction, fraction)


_MOST_LINES = 200
_FEW_LINES = 8
