"""One line about deliveries that failed in the background, for the next command to show.

`imagen sync` writes it into the state folder. Reading it needs no library, and no network.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from imagen.config.paths import make_own_folder
from imagen.core.filesystem import read_at_most, write_whole
from imagen.core.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "sync-failure.txt"
_LONGEST = 500


def read_failure(state_dir: Path) -> str:
    """The line; "" where nothing failed."""
    try:
        data = read_at_most(state_dir / _FILE, 4 * _LONGEST)
    except OSError:
        return ""
    return one_line(data.decode("utf-8", "replace"), limit=_LONGEST)


def write_failure(state_dir: Path, line: str) -> None:
    """Replace the line; "" removes it. A folder that cannot be written keeps what it has."""
    with suppress(OSError):
        if line:
            make_own_folder(state_dir)
            write_whole(state_dir / _FILE, line.encode("utf-8", "replace"), is_private=True)
        else:
            (state_dir / _FILE).unlink(missing_ok=True)
