"""Preview images in the terminal or in a tmux window: decide how beforehand, then show them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from imagen.core.text import one_line
from imagen.errors import ConfigError, RequestError
from imagen.preview.terminal import measure_terminal, supports_sixel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from imagen.config import OutputSettings

__all__ = ["PreviewPlan", "plan_preview", "show_images", "supports_sixel"]

Way = Literal["tmux", "kitty", "iterm2", "sixel"]

_KITTY_TERMS = {"xterm-kitty", "xterm-ghostty"}
_PROTOCOLS: dict[str, Way] = {
    "kitty": "kitty",
    "ghostty": "kitty",
    "iTerm.app": "iterm2",
    "WezTerm": "iterm2",
}
"""The image protocol of a terminal, by TERM_PROGRAM."""
_MULTIPLEXERS = ("screen", "tmux")
"""Values of TERM that hide the terminal behind them."""
_NO_TERMINAL = """\
Run it inside tmux, or in kitty, Ghostty, iTerm2, WezTerm or a terminal with sixel support. \
Or turn it off: --no-preview, or output.preview: auto."""
_MOST_IMAGES = 4
_TMUX_TIMEOUT_SECONDS = 10
_TURN_OFF = "Turn it off with --no-preview, or output.preview: off."


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPlan:
    """How images will be shown."""

    way: Way
    viewer: tuple[str, ...] = ()
    """The command of the viewer that runs in a tmux window."""


def plan_preview(
    settings: OutputSettings,
    *,
    environ: Mapping[str, str],
    is_tty: bool,
    asked: bool | None = None,
    quiet: bool = False,
    ask_terminal: Callable[[], bool] = lambda: False,
) -> PreviewPlan | None:
    """Decide how to show images; None if they are not shown.

    `is_tty` says whether stdout is a terminal, `asked` is the flag; `ask_terminal` asks the
    terminal whether it supports sixel. Raises ConfigError if a preview is required and impossible.
    """
    switch = settings.preview if asked is None else ("on" if asked else "off")
    required = switch == "on"
    if switch == "off" or not (required or is_tty):
        return None
    if environ.get("TMUX"):
        program, *arguments = split_command(settings.preview_command)
        found = shutil.which(program, path=environ.get("PATH"))
        if found is None and not required:
            return None
        return PreviewPlan(way="tmux", viewer=(found or program, *arguments))
    way = None
    if is_tty and (required or not quiet):
        way = _detect_protocol(environ, ask_terminal)
    if way is None and required:
        where = "this terminal cannot show images" if is_tty else "stdout is not a terminal"
        raise ConfigError(f"A preview is required, but {where}.", remedy=_NO_TERMINAL)
    return None if way is None else PreviewPlan(way=way)


def split_command(command: str) -> list[str]:
    """The words of the viewer's command. Raises ConfigError if it is not valid or empty."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        shown = one_line(command)
        raise ConfigError(
            f"output.preview_command {shown!r} is not a valid command: {error}."
        ) from error
    if not words:
        raise ConfigError("output.preview_command is empty.", remedy="Name a program there.")
    return words


def _detect_protocol(environ: Mapping[str, str], ask_terminal: Callable[[], bool]) -> Way | None:
    """From the environment, or else from the terminal's answer."""
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if term in ("", "dumb") and "TERM_PROGRAM" not in environ:
        return None
    # A multiplexer passes the variables of the terminal on, but not its images.
    is_multiplexed = term.startswith(_MULTIPLEXERS) or environ.get("STY") or environ.get("ZELLIJ")
    if not is_multiplexed:
        if term in _KITTY_TERMS or environ.get("KITTY_WINDOW_ID"):
            return "kitty"
        if environ.get("LC_TERMINAL") == "iTerm2":
            return "iterm2"
        if program in _PROTOCOLS:
            return _PROTOCOLS[program]
    return "sixel" if ask_terminal() else None


def show_images(
    preview: PreviewPlan, images: Mapping[Path, str], *, stream: BinaryIO | None = None
) -> list[str]:
    """Show the first images, and return a sentence for each failure.

    Each image has a title for its window. Terminal protocols write to `stream`, by default stdout.
    Failures are not errors: the images are saved already.
    """
    first = dict(islice(images.items(), _MOST_IMAGES))
    problems: list[str] = []
    if preview.way == "tmux":
        for image, title in first.items():
            problem = _run_tmux(tmux_command(preview.viewer, image, title))
            if problem:
                problems.append(f"The preview cannot be shown: {problem}. {_TURN_OFF}")
                break
        else:
            if shutil.which(preview.viewer[0]) is None:
                problems.append(
                    f"The preview's viewer {preview.viewer[0]!r} is not on the PATH, so its window "
                    "may have closed immediately. Name another in output.preview_command. "
                    f"{_TURN_OFF}"
                )
    else:
        from imagen.preview.protocols import draw_image  # Pillow, which tmux windows do not need

        stream = stream or sys.stdout.buffer
        for image in first:
            try:
                size = measure_terminal(stream.fileno())
                stream.write(draw_image(image, preview.way, size) + b"\n")
                stream.flush()
            except RequestError as error:
                problems.append(error.message)
    if len(images) > _MOST_IMAGES:
        problems.append(f"The preview shows the first {_MOST_IMAGES} of {len(images)} images.")
    return problems


def tmux_command(viewer: Sequence[str], image: Path, title: str) -> list[str]:
    """The command that opens a window; tmux runs several words without a shell.

    https://man.openbsd.org/tmux#COMMAND_PARSING_AND_EXECUTION
    """
    name = one_line(f"img:{title}").replace("#", "")  # which starts a format
    words = [*viewer, str(image.absolute())]
    # A semicolon at the end of a word would start tmux's next command.
    words = [f"{word[:-1]}\\;" if word.endswith(";") else word for word in words]
    return ["tmux", "new-window", "-d", "-n", name, "--", *words]


def _run_tmux(command: Sequence[str]) -> str:
    """Why tmux opened no window; "" if it did."""
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TMUX_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return "tmux is not on the PATH"
    except subprocess.TimeoutExpired:
        return "tmux does not answer"
    except OSError as error:
        return f"tmux cannot be run: {error.strerror}"
    if not process.returncode:
        return ""
    reason = one_line(process.stderr.decode(errors="replace")) or f"exit code {process.returncode}"
    return f"tmux says: {reason.rstrip('.')}"
