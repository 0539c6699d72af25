"""Who asked for a picture, in the ledger."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from imagen.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagen.config import UsageSettings

_LONGEST = 200
_TMUX_SECONDS = 1.0


def find_caller(usage: UsageSettings, environ: Mapping[str, str] = os.environ) -> str:
    """The value of the first variable that is set, else of the option of the tmux pane; or ""."""
    named = next((environ[name] for name in usage.caller_env if environ.get(name)), None)
    if named is None:
        named = _option_of_pane(usage.caller_tmux_option, environ)
    return one_line(named, limit=_LONGEST)


def _option_of_pane(option: str, environ: Mapping[str, str]) -> str:
    pane = environ.get("TMUX_PANE", "")
    if not (option and pane and environ.get("TMUX")):
        return ""
    words = ["tmux", "display-message", "-p", "-t", pane, f"#{{{option}}}"]
    try:
        ran = subprocess.run(
            words, env=dict(environ), capture_output=True, timeout=_TMUX_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.decode("utf-8", "replace") if ran.returncode == 0 else ""
