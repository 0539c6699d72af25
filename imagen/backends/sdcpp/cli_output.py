"""What sd-cli writes while it works, as events: its log, and its bars told apart."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.text import one_line
from imagen.errors import BackendError, Failed, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator


_ENDS = re.compile(rb"[\r\n]+")
_COLOUR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_LOG = re.compile(r"\[(INFO|WARN|ERROR|DEBUG) ?\] \S+:\d+ *- (.*)", re.DOTALL)
_BAR = re.compile(r"\|[=>#\s]*\|\s+(\d+)/(\d+) - [\d.]+ ?(s/it|it/s|[KMGT]?B/s)")
_LONGEST_LINE = 1 << 16


class LogLine(NamedTuple):
    """One line of its log, without the place in its source, which differs by version."""

    level: str
    text: str


class CliProgressBar(NamedTuple):
    """One state of a bar: of steps, or of bytes that are loaded."""

    done: int
    total: int
    is_steps: bool


class LineSplitter:
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


def parse_line(line: str) -> LogLine | CliProgressBar | None:
    """What one line says; None for what is neither log nor bar."""
    if bar := _BAR.search(line):
        return CliProgressBar(int(bar[1]), int(bar[2]), bar[3] in ("s/it", "it/s"))
    if log := _LOG.match(line):
        return LogLine(log[1], log[2].strip())
    return None


@dataclass(frozen=True, slots=True)
class WrittenImage:
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


class CliOutput:
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
        self.kept: list[WrittenImage] = []
        self.version = ""
        self.seconds: float | None = None
        self.warned: list[str] = []
        self.errors: list[str] = []
        self.loose: list[str] = []
        """The last lines that are neither log nor bar: what a crash says."""

    def take(self, line: str) -> None:
        """Note what one line says."""
        match parse_line(line):
            case CliProgressBar(done, total, is_steps):
                self._take_bar(done, total, is_steps)
            case LogLine("WARN", text):
                self.warned = [*self.warned, text][-_MOST_LINES:]
            case LogLine("ERROR", text):
                self.errors = [*self.errors, text][-_MOST_LINES:]
            case LogLine(_, text):
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
            self.kept.append(WrittenImage(int(found[1]), found[2], found[3] == "success"))
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


_REFUSALS = re.compile(r"error: (.*)|load image from '.*' failed")
_UNREAD = re.compile(r"load(?:ing)? (.{1,300}?) from .* failed")
_NO_LORA = re.compile(r"can not found lora (.*)")
_PART_LORA = re.compile(r"Only \((\d+) / (\d+)\) LoRA tensors have been applied")
_NOT_ENLARGED = ("new_upscaler_ctx failed", "upscale failed", "esrgan compute failed")
_MEMORY = re.compile(r"out of memory|failed to alloc|alloc\w{0,40} failed", re.IGNORECASE)
_LESS_MEMORY = (
    "If memory ran out: ask for a smaller size, or set `offload`, `vae_tiling`, "
    "`flash_attention` or a smaller `weight_type`."
)

_LAST_LINES = 3
"""A crash is told over several."""
_LONG_PROMPT = 20_000
_SHORTER = "Shorten the prompt: one of 40000 characters makes the program break down."


def exit_error(code: int, record: CliOutput, name: str, prompt: str = "") -> BackendError | None:
    """The error that an exit status stands for; None where the program says that all went well."""
    if code == 0:
        return _hidden(record)
    words = _words(record)
    if code < 0 or code > 255:
        remedy = _SHORTER if len(prompt) > _LONG_PROMPT else _LESS_MEMORY
        return Failed(f"{name} {_how(code)}{_said(words)}", remedy=remedy)
    refused = [text for text in record.errors if _REFUSALS.match(text)]
    if refused:
        return Rejected(f"{name} refused the request: {_bare(refused[0])}.")
    if record.kept and not any(kept.is_written for kept in record.kept):
        return Failed(
            f"{name} made the picture and could not write it.",
            remedy="Is there room for temporary files?",
        )
    remedy = _LESS_MEMORY if any(map(_MEMORY.search, record.errors)) else ""
    return Failed(f"{name} failed with exit status {code}{_said(words)}", remedy=remedy)


def _how(code: int) -> str:
    if code > 255:  # Windows gives its own numbers for what ends a program
        return f"broke down (0x{code & 0xFFFFFFFF:08X})"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by the signal {-code}"


def _words(record: CliOutput) -> str:
    """The last that it said of what went wrong."""
    if record.errors:
        return _bare(record.errors[-1])
    return _bare(" ".join(line.strip() for line in record.loose[-_LAST_LINES:]))


def _said(words: str) -> str:
    return f": {words}." if words else ", and said nothing."


def _bare(text: str) -> str:
    return one_line(text.removeprefix("error: ")).rstrip(".")


def _hidden(record: CliOutput) -> BackendError | None:
    """It goes on without a VAE, and keeps a picture that it could not enlarge."""
    for text in record.warned:
        if found := _UNREAD.match(text):
            return Failed(f"The {one_line(found[1])} could not be read: {_bare(text)}.")
    for text in record.errors:
        if text.startswith(_NOT_ENLARGED):
            return Failed(f"The picture was not enlarged: {_bare(record.errors[0])}.")
    if not any(kept.is_written for kept in record.kept):
        return Failed(f"No picture was made{_said(_words(record))}")
    return None


def run_warnings(record: CliOutput) -> Iterator[str]:
    """What the user would want to know of a run that gave its pictures."""
    for text in record.warned:
        if found := _NO_LORA.match(text):
            which = one_line(re.split(r"[\\/]", found[1])[-1])
            yield f"The prompt asks for a LoRA {which!r} that can't be read; it was left out."
        if found := _PART_LORA.match(text):
            yield f"Only {found[1]} of the {found[2]} parts of a LoRA fit this model."
    lost = sum(not kept.is_written for kept in record.kept)
    if lost:
        yield f"{lost} of {len(record.kept)} pictures could not be written."
