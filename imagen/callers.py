"""Who asked for a picture, in the ledger."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from imagen.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = ("IMAGEN_CALLER", "MAI_FROM_ID")
_LONGEST = 200
_TMUX_SECONDS = 1.0


def caller(environ: Mapping[str, str] = os.environ) -> str:
    """IMAGEN_CALLER, else MAI_FROM_ID, else the option `@mai-name` of the pane in tmux; or ""."""
    named = next((environ[name] for name in _NAMED if environ.get(name)), None)
    return one_line(_of_pane(environ) if named is None else named, limit=_LONGEST)


def _of_pane(environ: Mapping[str, str]) -> str:
    pane = environ.get("TMUX_PANE", "")
    if not (pane and environ.get("TMUX")):
        return ""
    words = ["tmux", "display-message", "-p", "-t", pane, "#{@mai-name}"]
    try:
        ran = subprocess.run(
            words, env=dict(environ), capture_output=True, timeout=_TMUX_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.decode("utf-8", "replace") if ran.returncode == 0 else ""
