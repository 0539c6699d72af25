"""Sentences for others: they name files, and never where those lie on this machine."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = r"(?:file:/{0,2})?(?:~|[A-Za-z]:)?[\\/]"
_QUOTED = re.compile(rf"""(?<=['"]){_ROOT}[^'"\n]*[\\/](?=[^'"\\/\n]+['"])""")
"""Between quotes a folder may have blanks in its name."""
_FOLDERS = re.compile(rf"""(?<![\w/:.]){_ROOT}(?:[^\s\\/'"<>|]+[\\/])+(?=[^\s\\/])""")


def strip_paths(sentence: str) -> str:
    """A sentence with the bare names of files for their paths."""
    return _FOLDERS.sub("", _QUOTED.sub("", _without_home(sentence)))


def _without_home(sentence: str) -> str:
    try:
        home = Path.home()
    except RuntimeError:  # a user that the system does not know
        return sentence
    return sentence.replace(str(home), "~") if home.name else sentence
