"""Shows pictures as planned; what fails is a sentence, since the pictures are made already."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import islice
from typing import TYPE_CHECKING

from imagen.core.text import one_line
from imagen.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from imagen.preview.drawing import Protocol
    from imagen.preview.planning import PreviewPlan

_MOST = 4
"""Of one run: nobody wants forty windows."""
_PATIENCE_SECONDS = 10
_LEAVE_OUT = "Leave it out with --no-preview, or output.preview: off."


def show_images(
    preview: PreviewPlan, pictures: Mapping[Path, str], *, stream: BinaryIO | None = None
) -> list[str]:
    """Show the first pictures, and say what went wrong, a sentence each.

    To each picture belongs the title of its window; what is drawn in the terminal itself is written
    to `stream`, stdout where none is given.
    """
    first = dict(islice(pictures.items(), _MOST))
    if preview.way == "tmux":
        told = _in_windows(preview.viewer, first)
    else:
        told = _in_terminal(preview.way, first, stream or sys.stdout.buffer)
    left_out = len(pictures) - _MOST
    return [*told, f"Shown are the first {_MOST} of {len(pictures)}."] if left_out > 0 else told


def _in_windows(viewer: Sequence[str], pictures: Mapping[Path, str]) -> list[str]:
    for picture, title in pictures.items():
        wrong = _refusal(tmux_words(viewer, picture, title))
        if wrong:
            return [f"The preview can't be shown: {wrong}. {_LEAVE_OUT}"]
    if shutil.which(viewer[0]) is None:
        return [
            f"The preview's viewer {viewer[0]!r} is not on the PATH; its window may have closed "
            f"at once. Name another in output.preview_command. {_LEAVE_OUT}"
        ]
    return []


def tmux_words(viewer: Sequence[str], picture: Path, title: str) -> list[str]:
    """The command that opens a window; tmux runs several words as they are, without a shell.

    https://man.openbsd.org/tmux#COMMAND_PARSING_AND_EXECUTION
    """
    name = one_line(f"img:{title}").replace("#", "")  # which begins a format
    command = [*viewer, str(picture.absolute())]
    return ["tmux", "new-window", "-d", "-n", name, "--", *map(_one_word, command)]


def _one_word(word: str) -> str:
    """A semicolon at the end of a word would begin tmux's next command."""
    return f"{word[:-1]}\\;" if word.endswith(";") else word


def _refusal(command: Sequence[str]) -> str:
    """Why tmux opened no window; "" where it did."""
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return "there is no tmux on the PATH"
    except subprocess.TimeoutExpired:
        return "tmux does not answer"
    except OSError as error:
        return f"tmux can't be run: {error.strerror}"
    said = one_line(ran.stderr.decode(errors="replace")) or f"exit code {ran.returncode}"
    return f"tmux says: {said.rstrip('.')}" if ran.returncode else ""


def _in_terminal(protocol: Protocol, pictures: Iterable[Path], stream: BinaryIO) -> list[str]:
    from imagen.preview.drawing import draw_image  # Pillow, which no window needs
    from imagen.preview.terminal import measure_terminal

    told: list[str] = []
    for picture in pictures:
        try:
            stream.write(draw_image(picture, protocol, measure_terminal(stream.fileno())) + b"\n")
            stream.flush()
        except RequestError as error:
            told.append(error.message)
    return told
