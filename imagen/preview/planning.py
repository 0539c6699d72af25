"""Whether and how a picture will be shown: settled before anything is made."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imagen.core.text import one_line
from imagen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagen.config import OutputSettings

Way = Literal["tmux", "kitty", "iterm2", "sixel"]

_KITTY = {"xterm-kitty", "xterm-ghostty"}
_PROGRAMS: dict[str, Way] = {
    "kitty": "kitty",
    "ghostty": "kitty",
    "iTerm.app": "iterm2",
    "WezTerm": "iterm2",
}
"""What TERM_PROGRAM may hold, and the pictures that this terminal takes."""
_WITHIN = ("screen", "tmux")
"""Kinds of TERM that hide the terminal behind them."""
_NOWHERE = """\
Inside tmux a window shows it; so do kitty, Ghostty, iTerm2, WezTerm, and what draws sixels. \
Or leave it out: --no-preview, or output.preview: auto."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPlan:
    """How a picture will be shown."""

    way: Way
    viewer: tuple[str, ...] = ()
    """The words of the program that shows it, in a window of tmux."""


def plan_preview(
    settings: OutputSettings,
    *,
    environ: Mapping[str, str],
    is_tty: bool,
    asked: bool | None = None,
    quiet: bool = False,
    ask_terminal: Callable[[], bool] = lambda: False,
) -> PreviewPlan | None:
    """How to show pictures, or None where they are not to be shown.

    `is_tty` says whether stdout is a person's terminal, `asked` what a flag says; `ask_terminal`
    asks the terminal whether it draws sixels. Raises ConfigError where pictures must be shown and
    can't be.
    """
    switch = settings.preview if asked is None else ("on" if asked else "off")
    must = switch == "on"
    if switch == "off" or not (must or is_tty):
        return None
    if environ.get("TMUX"):
        return _window(settings.preview_command, environ, must=must)
    way = _inline(environ, ask_terminal) if is_tty and (must or not quiet) else None
    if way is None and must:
        where = "this terminal shows none" if is_tty else "there is no terminal to show it on"
        raise ConfigError(f"A preview is asked for, but {where}.", remedy=_NOWHERE)
    return None if way is None else PreviewPlan(way=way)


def _window(command: str, environ: Mapping[str, str], *, must: bool) -> PreviewPlan | None:
    """A viewer that is not there shows nothing; only where it must, it is tried all the same."""
    program, *arguments = split_command(command)
    found = shutil.which(program, path=environ.get("PATH"))
    if found is None and not must:
        return None
    return PreviewPlan(way="tmux", viewer=(found or program, *arguments))


def split_command(command: str) -> list[str]:
    """The words of the viewer's command; raises ConfigError where they are none."""
    try:
        found = shlex.split(command)
    except ValueError as error:
        shown = one_line(command)
        raise ConfigError(f"output.preview_command {shown!r} is no command: {error}.") from error
    if not found:
        raise ConfigError("output.preview_command is empty.", remedy="Name a program there.")
    return found


def _inline(environ: Mapping[str, str], ask_terminal: Callable[[], bool]) -> Way | None:
    """What the terminal takes: as its environment tells, or else as it says itself."""
    if environ.get("TERM", "") in ("", "dumb") and "TERM_PROGRAM" not in environ:
        return None
    known = None if _is_within_another(environ) else _by_name(environ)
    return known or ("sixel" if ask_terminal() else None)


def _is_within_another(environ: Mapping[str, str]) -> bool:
    """Whether a multiplexer stands before the terminal, whose variables it passes on."""
    named = environ.get("TERM", "").startswith(_WITHIN)
    return named or bool(environ.get("STY") or environ.get("ZELLIJ"))


def _by_name(environ: Mapping[str, str]) -> Way | None:
    if environ.get("TERM") in _KITTY or environ.get("KITTY_WINDOW_ID"):
        return "kitty"
    if environ.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    return _PROGRAMS.get(environ.get("TERM_PROGRAM", ""))
