"""Run `imagen sync` in the background, and keep its last failure for the next command to show.

No command waits for a delivery, and none of this loads the library or an HTTP client.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from imagen import delivery
from imagen.config.paths import make_own_folder
from imagen.core.filesystem import read_at_most, write_whole
from imagen.core.text import one_line
from imagen.errors import ImagenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from subprocess import Popen

    from imagen.config import Settings

VARIABLE = "IMAGEN_BACKGROUND_SYNC"
"""If it is `off`, nothing is started."""
_USAGE_ERROR = 2
_FAILURE_FILE = "sync-failure.txt"
_MAX_LENGTH = 500
_started: list[Popen[bytes]] = []
"""Python warns when a process object is collected while its process runs."""


@contextmanager
def sync_afterwards(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Start a sync after the block, also if it fails for another reason than wrong usage."""
    try:
        yield
    except ImagenError as error:
        if error.exit_code != _USAGE_ERROR:
            start_sync(settings, environ)
        raise
    start_sync(settings, environ)


def start_sync(settings: Settings, environ: Mapping[str, str] = os.environ) -> bool:
    """Start `imagen sync` if there is a delivery target; returns whether it was started.

    A failed start is ignored: the next command, or `imagen sync`, sends what waits.
    """
    if not settings.library.enabled or environ.get(VARIABLE, "").lower() == "off":
        return False
    with suppress(ImagenError, OSError):
        if delivery.is_any_enabled(settings, environ):
            _start_process(settings)
            return True
    return False


def _start_process(settings: Settings) -> None:
    import subprocess  # it takes a few milliseconds

    command = [sys.executable, "-P", "-m", "imagen", "sync", "--quiet", "--unless-running"]
    if settings.source is not None:
        command += ["--config", str(settings.source.absolute())]
    # Detached, so that neither Ctrl-C nor closing the terminal ends it.
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    _started.append(
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=sys.platform != "win32",
            creationflags=flags,
        )
    )


def read_sync_failure(state_dir: Path) -> str:
    """The line about deliveries that failed in the background; "" if none did."""
    try:
        data = read_at_most(state_dir / _FAILURE_FILE, 4 * _MAX_LENGTH)
    except OSError:
        return ""
    return one_line(data.decode("utf-8", "replace"), limit=_MAX_LENGTH)


def write_sync_failure(state_dir: Path, line: str) -> None:
    """Replace the line; "" removes it. Does nothing in a folder that cannot be written."""
    with suppress(OSError):
        path = state_dir / _FAILURE_FILE
        if line:
            make_own_folder(state_dir)
            write_whole(path, line.encode("utf-8", "replace"), is_private=True)
        else:
            path.unlink(missing_ok=True)
