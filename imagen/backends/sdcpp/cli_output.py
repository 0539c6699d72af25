"""The output of sd-cli: log lines and progress bars, and what its exit status means."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from imagen.core.text import one_line
from imagen.errors import BackendError, Failed, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_ENDS = re.compile(rb"[\r\n]+")
_COLOR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_LOG_LINE = re.compile(r"\[(INFO|WARN|ERROR|DEBUG) ?\] \S+:\d+ *- (.*)", re.DOTALL)
_BAR = re.compile(r"\|[=>#\s]*\|\s+(\d+)/(\d+) - [\d.]+ ?(s/it|it/s|[KMGT]?B/s)")
_LONGEST_LINE = 1 << 16
_KEPT_LINES = 200
_KEPT_OTHER_LINES = 8

_GENERATING = re.compile(r"generating image: (\d+)/(\d+) - seed (-?\d+)")
_DECODED = re.compile(r"latent (\d+) decoded")
_SAVED = re.compile(r"save result image (\d+) to '(.*)' \((success|failure)\)", re.DOTALL)
_VERSION = re.compile(r"Version: (.+)")
_SECONDS = re.compile(r"generate_image completed in ([\d.]+)s")
_LOADED, _SAMPLED, _DECODING = 0.1, 0.9, 0.08
"""The fraction when the model is loaded and when all steps are done; the share of decoding."""

_REJECTION = re.compile(r"error: (.*)|load image from '.*' failed")
_UNREADABLE_FILE = re.compile(r"load(?:ing)? (.{1,300}?) from .* failed")
_LORA_NOT_FOUND = re.compile(r"can not found lora (.*)")
_LORA_PARTLY_APPLIED = re.compile(r"Only \((\d+) / (\d+)\) LoRA tensors have been applied")
_UPSCALE_FAILURES = ("new_upscaler_ctx failed", "upscale failed", "esrgan compute failed")
_OUT_OF_MEMORY = re.compile(r"out of memory|failed to alloc|alloc\w{0,40} failed", re.IGNORECASE)
_LESS_MEMORY = (
    "If it ran out of memory: use a smaller size, or set `offload`, `vae_tiling`, "
    "`flash_attention` or a smaller `weight_type`."
)
_CRASH_LINES = 3
_LONG_PROMPT = 20_000
_SHORTER_PROMPT = "Shorten the prompt: one of 40000 characters crashes the program."


class LogLine(NamedTuple):
    """One line of the log, without its place in the source, which differs by version."""

    level: str
    text: str


class CliProgressBar(NamedTuple):
    """One state of a progress bar: of steps, or of bytes that are loaded."""

    done: int
    total: int
    is_steps: bool


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """One image that the program says it wrote, or could not write."""

    index: int
    name: str
    is_written: bool


class LineSplitter:
    """The lines of a stream that arrives in pieces; the line of a progress bar ends with \\r."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that are complete now; an endless line is cut before it fills the memory."""
        *lines, self._rest = _LINE_ENDS.split(self._rest + piece)
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        return (_decode_line(line) for line in lines if line)

    def end(self) -> Iterator[str]:
        """The rest, when the stream has ended."""
        rest, self._rest = self._rest, b""
        return (_decode_line(line) for line in (rest,) if line)


def _decode_line(line: bytes) -> str:
    return _COLOR.sub("", line.decode("utf-8", "replace"))


def parse_line(line: str) -> LogLine | CliProgressBar | None:
    """A line of the log or a progress bar; None for any other line."""
    if bar := _BAR.search(line):
        return CliProgressBar(int(bar[1]), int(bar[2]), bar[3] in ("s/it", "it/s"))
    if log := _LOG_LINE.match(line):
        return LogLine(log[1], log[2].strip())
    return None


class CliOutput:
    """Everything that one run has printed so far.

    The steps of an upscale are not announced: with `is_upscale` they count from the start.
    """

    def __init__(self, *, is_upscale: bool = False) -> None:
        self.is_sampling = is_upscale
        self.has_begun = is_upscale
        self.image, self.images = (1, 1) if is_upscale else (0, 0)
        self.step: int | None = None
        self.steps: int | None = None
        self.is_sampled = False
        self.fraction = 0.0
        self.seeds: list[int] = []
        self.written: list[WrittenImage] = []
        self.version = ""
        self.seconds: float | None = None
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self.other_lines: list[str] = []
        """The last lines outside the log: the words of a crash."""

    def add_line(self, line: str) -> None:
        match parse_line(line):
            case CliProgressBar(done, total, True) if self.is_sampling:
                self.step, self.steps = done, total
                images_done = (self.image - 1 + done / max(total, 1)) / max(self.images, 1)
                self._raise_fraction(_LOADED + (_SAMPLED - _LOADED) * min(images_done, 1.0))
            case CliProgressBar(done, total, False) if not self.has_begun:
                self._raise_fraction(_LOADED * min(done / max(total, 1), 1.0))
            case CliProgressBar():  # of tiles that are decoded, or of weights loaded in between
                pass
            case LogLine("WARN", text):
                self.warnings = [*self.warnings, text][-_KEPT_LINES:]
            case LogLine("ERROR", text):
                self.errors = [*self.errors, text][-_KEPT_LINES:]
            case LogLine(_, text):
                if match := _GENERATING.match(text):
                    self.is_sampling = self.has_begun = True
                    self.image, self.images = int(match[1]), int(match[2])
                    self.step = self.steps = None
                    self.seeds.append(int(match[3]))
                    images_done = (self.image - 1) / max(self.images, 1)
                    self._raise_fraction(_LOADED + (_SAMPLED - _LOADED) * min(images_done, 1.0))
                elif text.startswith("sampling completed"):
                    self.is_sampling = False
                    self.is_sampled = self.image >= self.images
                elif match := _DECODED.match(text):
                    images_done = int(match[1]) / max(self.images, 1)
                    self._raise_fraction(_SAMPLED + _DECODING * min(images_done, 1.0))
                elif match := _SAVED.match(text):
                    self.written.append(
                        WrittenImage(int(match[1]), match[2], match[3] == "success")
                    )
                elif match := _SECONDS.match(text):
                    self.seconds = float(match[1])
                elif match := _VERSION.match(text):
                    self.version = match[1].strip()
            case None:
                self.other_lines = [*self.other_lines, line][-_KEPT_OTHER_LINES:]

    def _raise_fraction(self, fraction: float) -> None:
        self.fraction = max(self.fraction, fraction)


def exit_error(code: int, output: CliOutput, name: str, prompt: str = "") -> BackendError | None:
    """The error that an exit status means; None for a success."""
    if code == 0:
        # sd-cli continues without a VAE, and keeps an image that it could not upscale.
        for text in output.warnings:
            if match := _UNREADABLE_FILE.match(text):
                return Failed(f"The {one_line(match[1])} could not be read: {_clean(text)}.")
        for text in output.errors:
            if text.startswith(_UPSCALE_FAILURES):
                return Failed(f"The image was not upscaled: {_clean(output.errors[0])}.")
        if not any(image.is_written for image in output.written):
            return Failed(f"No image was generated{_append_reason(_failure_reason(output))}")
        return None
    reason = _failure_reason(output)
    if code < 0 or code > 255:
        remedy = _SHORTER_PROMPT if len(prompt) > _LONG_PROMPT else _LESS_MEMORY
        if code > 255:  # a status of Windows
            end = f"crashed (0x{code & 0xFFFFFFFF:08X})"
        else:
            known = [one.name for one in signal.Signals if one == -code]
            end = f"was ended by {known[0] if known else f'the signal {-code}'}"
        return Failed(f"{name} {end}{_append_reason(reason)}", remedy=remedy)
    rejections = [text for text in output.errors if _REJECTION.match(text)]
    if rejections:
        return Rejected(f"{name} rejected the request: {_clean(rejections[0])}.")
    if output.written and not any(image.is_written for image in output.written):
        return Failed(
            f"{name} could not write the image.", remedy="Check the space for temporary files."
        )
    remedy = _LESS_MEMORY if any(map(_OUT_OF_MEMORY.search, output.errors)) else ""
    message = f"{name} failed with exit status {code}{_append_reason(reason)}"
    return Failed(message, remedy=remedy)


def _failure_reason(output: CliOutput) -> str:
    if output.errors:
        return _clean(output.errors[-1])
    return _clean(" ".join(line.strip() for line in output.other_lines[-_CRASH_LINES:]))


def _append_reason(reason: str) -> str:
    return f": {reason}." if reason else ", without a message."


def _clean(text: str) -> str:
    return one_line(text.removeprefix("error: ")).rstrip(".")


def run_warnings(output: CliOutput) -> Iterator[str]:
    """What the user should know about a successful run."""
    for text in output.warnings:
        if match := _LORA_NOT_FOUND.match(text):
            name = one_line(re.split(r"[\\/]", match[1])[-1])
            yield f"The LoRA {name!r} in the prompt cannot be read and was ignored."
        if match := _LORA_PARTLY_APPLIED.match(text):
            yield f"Only {match[1]} of {match[2]} tensors of a LoRA fit this model."
    failed = sum(not image.is_written for image in output.written)
    if failed:
        yield f"{failed} of {len(output.written)} images could not be written."
