"""What an end means: an exit status and the words before it, as one of our errors or a warning."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.errors import BackendError, Failed, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.backends.sdcpp.cli_output import Record

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


def ended(code: int, record: Record, name: str, prompt: str = "") -> BackendError | None:
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


def _words(record: Record) -> str:
    """The last that it said of what went wrong."""
    if record.errors:
        return _bare(record.errors[-1])
    return _bare(" ".join(line.strip() for line in record.loose[-_LAST_LINES:]))


def _said(words: str) -> str:
    return f": {words}." if words else ", and said nothing."


def _bare(text: str) -> str:
    return one_line(text.removeprefix("error: ")).rstrip(".")


def _hidden(record: Record) -> BackendError | None:
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


def warnings(record: Record) -> Iterator[str]:
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
